"""job=data: the audit of a data set before training, as a table, data.json and data.html."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ..assemble.first_lines import data_line
from ..assemble.parts import checked_network_input, training_batches
from ..checks.check_result import passed_line
from ..checks.data.audit import Audit, audit
from ..config import stored_config
from ..config.choice_files import Choices
from ..config.equivalent_command import equivalent_command
from ..config.resolve_batch_size import with_batch_size
from ..data.image_set import ImageSet
from ..data.splits import Splits
from ..output_streams import print_labelled, print_result
from ..report.data_file import write_data_file
from ..report.data_page import MIN_SIDE, Batch, DataPage
from ..report.pictures.network_inputs import as_trained_on
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.run_folder import RunFolder, create
from ..seeding import seed_torch
from ..settings.config_tree import Config
from ..settings.fields import settings_of

# Images from which preprocessing takes its statistics for the batch on the page, and the largest such batch.
FITTED_IMAGES, MAX_BATCH = 2000, 512


def audit_data(config: Config, path: Path, named_by_user: bool) -> None:
    """Check a data set; write data.json and data.html into a new folder. Raises CheckFailed."""
    folder = create(path, named_by_user, with_checkpoints=False)
    with folder.locked():
        try:
            splits, found = _read(config)
        except BaseException:
            folder.discard()
            raise
        write_text(folder.config, stored_config.to_yaml(config))
        _report(config, splits, found, folder)


def audit_data_of_run(path: Path, config: Config) -> None:
    """Check the data of an earlier run in its splits; write into its folder. Raises CheckFailed."""
    splits, found = _read(config)
    _report(config, splits, found, RunFolder(path))


def _read(config: Config) -> tuple[Splits, Audit]:
    """Return the splits of a run, with images left in their files, and what was found in them.

    Raises ConfigError where settings do not fit the images, before these are read.
    """
    in_files = {"memory_limit_gb": 0.0, "workers": 0, "on_bad": "error"}
    data = config.data
    if in_files.keys() <= settings_of(type(data)).keys():
        data = replace(data, **in_files)
    splits = data.load(config.seed)
    checked_network_input(config, splits.train.shape)
    print_labelled([data_line(config, splits), *(f"notice    {notice}" for notice in splits.notices), ""])
    return splits, audit(splits)


def _report(config: Config, splits: Splits, found: Audit, folder: RunFolder) -> None:
    """Print the table and write data.json and data.html; raises CheckFailed if there are errors."""
    print("\n".join(result.line() for result in found.results), flush=True)
    content = write_data_file(folder.path, config, splits, found)
    page = DataPage(
        title=f"Data {config.data.name}",
        splits=splits,
        audit=found,
        content=content,
        batch=_first_batch(config, splits, found),
        command=equivalent_command(config, Choices()),
    )
    write_text(folder.path / file_names.DATA_PAGE, page.html())
    print(f"\n{folder.path}: {file_names.DATA}, {file_names.DATA_PAGE}\n", flush=True)
    print_result(f"{folder.path}: {passed_line(found.results)}")


def _first_batch(config: Config, splits: Splits, found: Audit) -> Batch | None:
    """Return the first batch of training as the network gets it, of the images that can be read.

    None where there are none, or where images are too small to be drawn.
    """
    read = torch.from_numpy(found.records["train"].is_read()).nonzero().flatten()
    if not len(read) or min(splits.train.shape[:2]) < MIN_SIDE:
        return None
    train = splits.train.subset(read)
    network_input = checked_network_input(config, train.shape)
    preprocess, _ = config.preprocessing.fit(_sample(train), network_input)
    batches = training_batches(with_batch_size(config, len(train)), train, torch.device("cpu"))
    batches.batch_size = min(batches.batch_size, len(train), MAX_BATCH)
    images, labels = next(batches.epoch(0, 0, 1))
    seed_torch(config.seed, "illustration", 0)
    return Batch(*as_trained_on(preprocess, images, labels, config.regularization, config.seed, 0))


def _sample(images: ImageSet) -> ImageSet:
    count = min(FITTED_IMAGES, len(images))
    return images.subset(torch.arange(count) * len(images) // count)
