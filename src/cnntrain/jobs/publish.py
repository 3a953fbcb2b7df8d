"""job=publish: a run's network with its model card on the Hugging Face hub, or in a local folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..config import stored_config
from ..errors import DataError
from ..export.card_file import write_card
from ..export.hub import upload
from ..export.model_card import model_card
from ..export.run_to_export import RunToExport, read_run
from ..export.write_export import exported, write_export
from ..output_streams import print_labelled
from ..prediction.exported import read_metadata
from ..prediction.hub import HUB
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..settings.config_tree import Config
from ..settings.fields import expanded
from ..settings.job_settings import Export

README = "README.md"


def publish(path: Path, config: Config) -> None:
    """Write weights, configuration and model card of a run's network into a folder, and upload it if asked.

    config: that of the run with the user's overrides. Raises DataError where the folder holds another
    network's files, or the hub refuses.
    """
    settings, run = config.publish, read_run(path, config)
    if settings.folder is not None:
        folder = _own_folder(expanded(settings.folder), run)
        _stage(run, folder, settings.repository)
        print_labelled([f"folder    {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}"])
        if settings.repository is not None:
            _upload(folder, settings.repository, settings.private)
    elif settings.repository is not None:
        with tempfile.TemporaryDirectory() as staged:
            _stage(run, Path(staged), settings.repository)
            _upload(Path(staged), settings.repository, settings.private)


def _own_folder(folder: Path, run: RunToExport) -> Path:
    """Create the folder to publish from; raises DataError where it holds other files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = {file.name for file in folder.iterdir()} - {file_names.MODEL, file_names.CONFIG, README}
    except OSError as error:
        raise DataError(f"publish.folder={folder}: cannot be created ({error.strerror})") from error
    weights = folder / file_names.MODEL
    is_other = weights.exists() and read_metadata(weights).weights != run.weights
    if others or is_other:
        what = f"has other files ({', '.join(sorted(others)[:5])})" if others else "holds another network"
        raise DataError(f"publish.folder={folder}: {what}, which would be published; name another folder")
    return folder


def _stage(run: RunToExport, folder: Path, repository: str | None) -> None:
    """Write the files to publish: weights, the run's configuration, and the model card as README.md."""
    made = exported(run, Export(format="safetensors"))
    write_export(folder / file_names.MODEL, made)
    write_text(folder / file_names.CONFIG, stored_config.to_yaml(run.config))
    source = f"{HUB}{repository}" if repository is not None else None
    write_card(folder / README, model_card(run, made, file_names.MODEL, source))


def _upload(folder: Path, repository: str, private: bool) -> None:
    address = upload(folder, repository, private)
    print_labelled([f"published {address}", f'load it   cnntrain.load("{HUB}{repository}")'])
