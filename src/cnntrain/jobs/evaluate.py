"""job=evaluate: evaluate a run's best network on a split of its own or another data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..assemble.parts import evaluation_batches
from ..assemble.restore import check_configuration, restore_preprocessing
from ..assemble.trained_run import restore_network
from ..config.resolve_batch_size import with_batch_size
from ..config.resolve_network_input import resolve_network_input
from ..data.fingerprint import normalized
from ..data.image_set import ImageSet
from ..errors import ConfigError, DataError
from ..loss.class_losses import RejectingSoftmax
from ..loss.criterion import Criterion
from ..metrics import format_metric, printed
from ..output_streams import print_labelled, print_result
from ..report.evaluation_table import evaluation_lines
from ..report.predictions_file import predictions_file, writes_predictions
from ..runs.atomic_write import write_text
from ..runs.checkpoint import State
from ..runs.metrics_file import finite
from ..runs.run_folder import RunFolder
from ..settings.config_tree import Config
from ..training.dense_evaluation import DenseComparison, compare_with_crops, slide_network
from ..training.device import Earlier, move_to_device, prepare
from ..training.evaluate_split import Evaluation, evaluate_split
from ..training.test_time_augmentation import build_views, evaluate_views


@dataclass(frozen=True)
class _Measured:
    """What was measured of a run's network on a split.

    images: how many. views, dense: None where they were not asked for. files: written while it was measured.
    """

    images: int
    names: list[str]
    evaluation: Evaluation
    views: _OverViews | None
    dense: DenseComparison | None
    precision: str
    files: list[Path]


@dataclass(frozen=True)
class _OverViews:
    """Metrics of predictions averaged over several views of each image."""

    description: str
    metrics: dict[str, float | None]


def evaluate(path: Path, stored: Config, config: Config) -> None:
    """Print and store a run's metrics on a split, overall and per class, and the confusion matrix.

    stored: the configuration of the run. config: the same with other data, perhaps.
    """
    state = RunFolder(path).checkpoints.load_best()
    check_configuration(stored, state, path)
    file = path / f"{_file_name(stored, config)}.json"
    _write(file, _measured(path, state, config, file.with_suffix(".csv")), config)


def _measured(path: Path, state: State, config: Config, table: Path) -> _Measured:
    """Evaluate the best network of the run in a folder; its predictions are written into `table` if asked."""
    compute = prepare(config.trainer, Earlier.of(state))
    names: list[str] = state["names"]
    images = _images(config, names, state["image_shape"])
    network, criterion = restore_network(config, state, config.evaluate.weights)
    network_input = resolve_network_input(config, tuple(state["image_shape"]))
    preprocess = restore_preprocessing(config, state, f"{path}: checkpoint").to(compute.device)
    move_to_device(network, compute)
    criterion.to(compute.device)
    dense = None
    if config.evaluate.dense:
        network, preprocess = slide_network(
            network, preprocess, network_input, images.shape, config.evaluate, compute
        )
        move_to_device(network, compute)
        dense = compare_with_crops(network, preprocess, images, compute)
    views = build_views(config.evaluate, network_input)
    batches = evaluation_batches(images, with_batch_size(config, None, state.get("batch_size")), compute)
    files = [table] if writes_predictions(config.evaluate.predictions, names) else []
    with _predictions(table, images, criterion, config) if files else nullcontext() as observe:
        evaluation = evaluate_split(network, preprocess, criterion, batches, compute, observe)
    over_views = None
    if views is not None:
        metrics = evaluate_views(network, preprocess, criterion, batches, compute, views)
        over_views = _OverViews(views.description, metrics)
    return _Measured(len(images), names, evaluation, over_views, dense, compute.precision, files)


def _images(config: Config, names: list[str], image_shape: list[int]) -> ImageSet:
    """Return the images of the split with the labels of the network; raises ConfigError and DataError."""
    images, found_names, notices = config.data.load_split(config.evaluate.split, config.seed)
    if notices:
        print_labelled([f"notice    {notice}" for notice in notices])
    _check_images(images, image_shape, config)
    return with_labels_of(images, found_names, names, config)


def _write(file: Path, measured: _Measured, config: Config) -> None:
    """Print what was measured, and write it into a JSON file."""
    evaluation, views, dense = measured.evaluation, measured.views, measured.dense
    content = {
        "data": config.data.name,
        "source": config.data.source(),
        "split": config.evaluate.split,
        "weights": config.evaluate.weights,
        "images": measured.images,
        "loss": finite(evaluation.loss),
        **evaluation.metrics,
        "views": None if views is None else {"kind": config.evaluate.views} | views.metrics,
        "dense": None if dense is None else asdict(dense),
        "names": measured.names,
        **evaluation.details,
        "precision": measured.precision,
    }
    title = f"{config.data.name} {config.evaluate.split}: {measured.images} images"
    metrics = {**evaluation.metrics, "loss": evaluation.loss}
    print("\n".join(evaluation_lines(title, metrics, evaluation.details, measured.names)) + "\n")
    if views is not None:
        print(f"{views.description}, predictions averaged: {_printed_line(views.metrics)}\n")
    if dense is not None:
        print("\n".join(dense.lines()) + "\n")
    write_text(file, json.dumps(content, indent=2, allow_nan=False) + "\n")
    print("\n".join(map(str, (file, *measured.files))))
    print_result(f"{file}: {title}, {_printed_line(metrics)}")


@contextmanager
def _predictions(
    path: Path, images: ImageSet, criterion: Criterion, config: Config
) -> Iterator[Callable[[Tensor], None]]:
    """Yield the function that writes the predictions of a batch of scores into a CSV file."""
    rejects = isinstance(criterion, RejectingSoftmax)
    target = config.data.target_kind()
    with predictions_file(path, images, target, criterion.names, rejects) as rows:
        yield lambda scores: rows.add(
            criterion.probabilities(scores), criterion.predictions(scores).argmax(1)
        )


def _printed_line(metrics: dict[str, float | None]) -> str:
    """Return metrics as printed, on one line."""
    return ", ".join(format_metric(name, metrics[name]) for name in printed(list(metrics), best_by=None))


def _file_name(stored: Config, config: Config) -> str:
    """Return the name of the result's files without ending: different for each thing that is evaluated."""
    settings = config.evaluate
    kind = "evaluate-dense" if settings.dense else "evaluate"
    weights = "" if settings.weights == "best" else f"-{settings.weights}"
    return f"{kind}-{_data_name(stored, config)}-{settings.split}{weights}"


def _data_name(stored: Config, config: Config) -> str:
    """Return the data's part of the result's file name, different for each source of images."""
    source = config.data.source()
    if source is None or source == stored.data.source():
        return str(config.data.name)
    digest = hashlib.sha256(source.encode()).hexdigest()[:6]
    return f"{config.data.name}-{Path(source).stem}-{digest}"


def _check_images(images: ImageSet, image_shape: list[int], config: Config) -> None:
    """Raise ConfigError if there are no images, DataError if their shape does not fit the network."""
    split = config.evaluate.split
    if not len(images):
        raise ConfigError([f"evaluate.split={split}: this data set has no {split} images"])
    same_shape = list(images.shape) == list(image_shape)
    fits_dense = config.evaluate.dense and images.shape[2] == image_shape[2]
    if not (same_shape or fits_dense):
        size, trained_size = "x".join(map(str, images.shape)), "x".join(map(str, image_shape))
        hint = ""
        if images.shape[2] == image_shape[2] and images.shape[0] >= image_shape[0]:
            hint = "; write evaluate.dense=true to apply it to larger images"
        raise DataError(
            f"data={config.data.name}: images of {size}, the network was trained on {trained_size}{hint}"
        )


def with_labels_of(images: ImageSet, found: list[str], trained: list[str], config: Config) -> ImageSet:
    """Return images with the labels that the network was trained with, matched by name.

    found: the names of the images' labels; all of them must be among the names `trained`. Names that are only
    numbers, as of arrays, are matched by position if there are as many. Raises DataError.
    """
    trained = normalized(trained)
    if found == trained:
        return images
    kind = config.data.target_kind()
    if found == [str(number) for number in range(len(trained))]:
        return images
    if unknown := [name for name in found if name not in trained]:
        raise DataError(
            f"data={config.data.name}: the network does not have the {kind} {', '.join(unknown[:10])}, but "
            f"{', '.join(trained[:20])}{', …' if len(trained) > 20 else ''}; give them the same names"
        )
    if images.labels.ndim > 1:
        if len(found) != len(trained):
            raise DataError(
                f"data={config.data.name}: has {len(found)} {kind}, the network {len(trained)}; complete them"
            )
        return images.relabelled(images.labels[:, [found.index(name) for name in trained]])
    return images.relabelled(torch.tensor([trained.index(name) for name in found])[images.labels])
