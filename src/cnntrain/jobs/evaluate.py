"""job=evaluate: evaluate a run's best network on a split of its own or another data set."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ..assemble import evaluation_batches, restore_preprocessing
from ..config.resolve_network_input import resolve_network_input
from ..data.splits import Splits
from ..errors import ConfigError, DataError
from ..metrics import format_metric
from ..prediction.trained import restore_network
from ..report.evaluation_table import evaluation_lines
from ..runs.atomic_write import write_text
from ..runs.run_folder import RunFolder
from ..settings.config_tree import Config
from ..training.dense_evaluation import compare_with_crops, slide_network
from ..training.device import move_to_device, prepare
from ..training.evaluate_split import evaluate_split
from ..training.test_time_augmentation import build_views, evaluate_views


def evaluate(path: Path, config: Config) -> None:
    """Print and store a run's metrics on a split, overall and per class, and the confusion matrix."""
    folder = RunFolder(path)
    state = folder.checkpoints.load_best()
    compute = prepare(config.trainer, state.get("threads"))
    splits = config.data.load(config.seed)
    images = getattr(splits, config.evaluate.split)
    _check_images(state["names"], state["image_shape"], splits, config)

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
    batches = evaluation_batches(images, config, compute)
    evaluation = evaluate_split(network, preprocess, criterion, batches, compute)
    views, view_metrics = build_views(config.evaluate, network_input), None
    if views is not None:
        view_metrics = evaluate_views(network, preprocess, criterion, batches, compute, views)

    kind = "evaluate-dense" if dense else "evaluate"
    file = folder.path / f"{kind}-{config.data.name}-{config.evaluate.split}.json"
    content = {
        "data": config.data.name,
        "split": config.evaluate.split,
        "images": len(images),
        "loss": evaluation.loss,
        **evaluation.metrics,
        "views": None if view_metrics is None else {"kind": config.evaluate.views} | view_metrics,
        "dense": None if dense is None else asdict(dense),
        "names": splits.names,
        **evaluation.details,
        "precision": compute.precision,
    }
    write_text(file, json.dumps(content, indent=2, allow_nan=False) + "\n")
    title = f"{config.data.name} {config.evaluate.split}: {len(images)} images"
    print("\n".join(evaluation_lines(title, evaluation, splits.names)) + "\n")
    if views is not None and view_metrics is not None:
        values = ", ".join(format_metric(name, value) for name, value in view_metrics.items())
        print(f"{views.description}, predictions averaged: {values}\n")
    if dense:
        print("\n".join(dense.lines()) + "\n")
    print(file)


def _check_images(names: list[str], image_shape: list[int], splits: Splits, config: Config) -> None:
    """Raise ConfigError if the split is empty, DataError if its images or classes do not fit the network."""
    split = config.evaluate.split
    images = getattr(splits, split)
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
    if len(splits.names) != len(names):
        kind = config.data.target_kind()
        raise DataError(f"data={config.data.name}: has {len(splits.names)} {kind}, the network {len(names)}")
