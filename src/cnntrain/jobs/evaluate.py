"""job=evaluate: measure a run's best network on a split, of its own data set or of another."""

from __future__ import annotations

import json
from pathlib import Path

from ..assemble import evaluation_batches, place, restored_preprocessing
from ..config.root import Config
from ..data.splits import Splits
from ..device import prepare
from ..durable import write_text
from ..errors import ConfigError, DataError
from ..evaluate import Measured, measure
from ..run_folder import RunFolder
from ..trained import restored_network


def evaluate(path: Path, config: Config) -> None:
    """Print and store accuracy, per-class accuracy and confusion matrix of a run's best network."""
    folder = RunFolder(path)
    state = folder.checkpoints.load_best()
    compute = prepare(config.trainer)
    splits = config.data.load(config.seed)
    images = getattr(splits, config.evaluate.split)
    _check(state["class_names"], state["image_shape"], splits, config)

    network = restored_network(config, state)
    place(network, compute)
    preprocess = restored_preprocessing(state, compute.device)
    loss = config.loss.build(config.regularization.label_smoothing)
    classes = len(splits.class_names)
    batches = evaluation_batches(images, config, compute)
    measured = measure(network, preprocess, loss, batches, classes, compute)

    name = f"evaluate-{config.data.name}-{config.evaluate.split}.json"
    result = {
        "data": config.data.name,
        "split": config.evaluate.split,
        "images": len(images),
        "accuracy": measured.accuracy,
        "loss": measured.loss,
        "per_class_accuracy": dict(zip(splits.class_names, measured.per_class_accuracy(), strict=True)),
        "class_names": splits.class_names,
        "confusion": measured.confusion.tolist(),
        "precision": compute.precision,
    }
    write_text(folder.path / name, json.dumps(result, indent=2, allow_nan=False) + "\n")
    print(_report(config, measured, splits.class_names, len(images)))
    print(f"{folder.path / name}")


def _check(class_names: list[str], image_shape: list[int], splits: Splits, config: Config) -> None:
    split = config.evaluate.split
    images = getattr(splits, split)
    if not len(images):
        raise ConfigError([f"evaluate.split={split}: this data set has no {split} images"])
    if list(images.shape) != list(image_shape):
        ours, theirs = "x".join(map(str, images.shape)), "x".join(map(str, image_shape))
        raise DataError(f"data={config.data.name}: images of {ours}, the network was trained on {theirs}")
    if len(splits.class_names) != len(class_names):
        raise DataError(
            f"data={config.data.name}: has {len(splits.class_names)} classes, the network {len(class_names)}"
        )


def _report(config: Config, measured: Measured, names: list[str], images: int) -> str:
    """Return the numbers as text: the whole, each class, and the matrix where it fits on a screen."""
    lines = [
        f"{config.data.name} {config.evaluate.split}: {images} images, accuracy {measured.accuracy:.2%}, "
        f"loss {measured.loss:.4f}",
        "",
    ]
    width = max(len(name) for name in names)
    small = len(names) <= 20
    if small:
        lines.append(
            f"  {'class':<{width}}  accuracy  predicted as {' '.join(f'{i:>5}' for i in range(len(names)))}"
        )
    for i, (name, accuracy) in enumerate(zip(names, measured.per_class_accuracy(), strict=True)):
        shown = "       –" if accuracy is None else f"{accuracy:>8.2%}"
        row = " ".join(f"{count:>5}" for count in measured.confusion[i].tolist()) if small else ""
        lines.append(f"  {name:<{width}}  {shown}               {row}".rstrip())
    return "\n".join(lines) + "\n"
