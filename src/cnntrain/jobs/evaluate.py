"""job=evaluate: measure a run's best network on a split, of its own data set or of another."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..assemble import evaluation_batches, place, restored_preprocessing
from ..checkpoint import State
from ..config.checks import evaluation_problems
from ..config.network_input import network_input
from ..config.root import Config
from ..data.images import ImageSet
from ..data.preprocessing import Preprocess
from ..data.splits import Splits
from ..device import Compute, prepare
from ..durable import write_text
from ..errors import ConfigError, DataError
from ..evaluate import Measured, measure
from ..metrics import in_words
from ..model.dense import SlidingNetwork
from ..run_folder import RunFolder
from ..trained import restored_network
from ..views import build_views, measure_views

# Dense evaluation is compared with crops on this many images.
COMPARED = 2


@dataclass(frozen=True)
class Dense:
    """How the network was slid, and how its scores compare with those of crops cut out at each place."""

    places: tuple[int, int]
    stride: int
    input_size: tuple[int, int]
    mean_difference: float
    largest_difference: float
    largest_score: float
    seconds: float
    seconds_of_crops: float

    def lines(self) -> list[str]:
        """Return the comparison in words."""
        rows, columns = self.places
        height, width = self.input_size
        why = ", as zeros pad a crop's maps where its neighbours were" if self.differs() else ""
        return [
            f"dense: {rows}x{columns} places of {height}x{width} in steps of {self.stride}, scores averaged",
            f"       a place's scores differ from its crop's by {self.mean_difference:.2g} in the mean, at "
            f"most {self.largest_difference:.2g} (largest score {self.largest_score:.3g}){why}",
            f"       on {COMPARED} images, one pass took {1000 * self.seconds:.3g} ms, "
            f"the crops {1000 * self.seconds_of_crops:.3g} ms",
        ]

    def differs(self) -> bool:
        """Return whether scores differ by more than rounding."""
        return self.largest_difference > 1e-4 * self.largest_score


def evaluate(path: Path, config: Config) -> None:
    """Print and store accuracy, per-class accuracy and confusion matrix of a run's best network."""
    if problems := list(evaluation_problems(config)):
        raise ConfigError(problems)
    folder = RunFolder(path)
    state = folder.checkpoints.load_best()
    compute = prepare(config.trainer)
    splits = config.data.load(config.seed)
    images = getattr(splits, config.evaluate.split)
    _check(state["names"], state["image_shape"], splits, config)

    network, criterion = restored_network(config, state, config.evaluate.weights)
    place(network, compute)
    criterion.to(compute.device)
    preprocess = restored_preprocessing(config, state, compute.device)
    dense = None
    if config.evaluate.dense:
        network, preprocess = _slid(network, preprocess, state, images, config, compute)
        dense = _compared_with_crops(network, preprocess, images, compute)
    batches = evaluation_batches(images, config, compute)
    measured = measure(network, preprocess, criterion, batches, compute)
    views = build_views(config.evaluate, network_input(config, tuple(state["image_shape"])))
    of_views = (
        None if views is None else measure_views(network, preprocess, criterion, batches, compute, views)
    )

    kind = "evaluate-dense" if dense else "evaluate"
    name = f"{kind}-{config.data.name}-{config.evaluate.split}.json"
    result = {
        "data": config.data.name,
        "split": config.evaluate.split,
        "images": len(images),
        "loss": measured.loss,
        **measured.result.values,
        "views": None if of_views is None else {"kind": config.evaluate.views} | of_views.values,
        "dense": None if dense is None else asdict(dense),
        "names": splits.names,
        **measured.result.details,
        "precision": compute.precision,
    }
    write_text(folder.path / name, json.dumps(result, indent=2, allow_nan=False) + "\n")
    print("\n".join(_report(config, measured, splits.names, len(images))) + "\n")
    if views is not None and of_views is not None:
        words = ", ".join(in_words(name, value) for name, value in of_views.values.items())
        print(f"{views.words}, predictions averaged: {words}\n")
    if dense:
        print("\n".join(dense.lines()) + "\n")
    print(f"{folder.path / name}")


def _check(names: list[str], image_shape: list[int], splits: Splits, config: Config) -> None:
    split = config.evaluate.split
    images = getattr(splits, split)
    if not len(images):
        raise ConfigError([f"evaluate.split={split}: this data set has no {split} images"])
    same = list(images.shape) == list(image_shape)
    fits = config.evaluate.dense and images.shape[2] == image_shape[2]
    if not (same or fits):
        ours, theirs = "x".join(map(str, images.shape)), "x".join(map(str, image_shape))
        hint = ""
        if images.shape[2] == image_shape[2] and images.shape[0] >= image_shape[0]:
            hint = "; evaluate.dense=true slides it over larger images"
        raise DataError(
            f"data={config.data.name}: images of {ours}, the network was trained on {theirs}{hint}"
        )
    if len(splits.names) != len(names):
        kind = config.data.target_kind()
        raise DataError(f"data={config.data.name}: has {len(splits.names)} {kind}, the network {len(names)}")


def _slid(
    network: nn.Module,
    preprocess: Preprocess,
    state: State,
    images: ImageSet,
    config: Config,
    compute: Compute,
) -> tuple[SlidingNetwork, Preprocess]:
    """Return the network made to slide, and the preprocessing for images of the size they now have.

    Images are enlarged as much as those of training were, or to evaluate.dense_size.
    """
    way = network_input(config, tuple(state["image_shape"]))
    own = way.size
    size = config.evaluate.dense_size
    factor = own[0] / (way.crop or way.image)[0] if size is None else size / min(images.shape[:2])
    target = (round(images.shape[0] * factor), round(images.shape[1] * factor))
    if target[0] < own[0] or target[1] < own[1] or target == own:
        written = "dense=true" if size is None else f"dense_size={size}"
        raise ConfigError(
            [
                f"evaluate.{written}: images of {target[0]}x{target[1]} at the network's input are not "
                f"larger than its own {own[0]}x{own[1]}; write evaluate.dense_size={own[0] * 5 // 4} or more"
            ]
        )
    larger = preprocess.for_size(target).to(compute.device)
    sliding = SlidingNetwork(network, (way.channels, *own), config.evaluate.dense_stride)
    place(sliding, compute)
    return sliding, larger


@torch.inference_mode()
def _compared_with_crops(
    network: SlidingNetwork, preprocess: Preprocess, images: ImageSet, compute: Compute
) -> Dense:
    """Return how a few images' scores at each place compare with those of crops, in float32."""
    inputs = preprocess(next(images.chunks(COMPARED)).to(compute.device))
    network.eval()
    crops = network.crops(inputs)

    def timed(function: Any, *arguments: Any) -> tuple[Tensor, float]:
        if compute.device.type == "cuda":
            torch.cuda.synchronize(compute.device)
        started = time.perf_counter()
        result = function(*arguments).cpu()
        return result, time.perf_counter() - started

    network.score_map(inputs)  # the first pass finds its algorithms
    dense, seconds = timed(network.score_map, inputs)
    of_crops, seconds_of_crops = timed(network.convolutional, crops)
    apart = of_crops.reshape(*dense.shape[2:], *dense.shape[:2]).permute(2, 3, 0, 1)
    difference = (dense - apart).abs()
    return Dense(
        places=(dense.shape[2], dense.shape[3]),
        stride=network.stride,
        input_size=network.input_size,
        mean_difference=difference.mean().item(),
        largest_difference=difference.max().item(),
        largest_score=dense.abs().max().item(),
        seconds=seconds,
        seconds_of_crops=seconds_of_crops,
    )


def _report(config: Config, measured: Measured, names: list[str], images: int) -> list[str]:
    """Return the numbers in lines: the whole, then each class, attribute or value."""
    values = [in_words(name, value) for name, value in measured.result.values.items()]
    head = f"{config.data.name} {config.evaluate.split}: {images} images, {', '.join(values)}, "
    details = measured.result.details
    if "confusion" in details:
        table = _confusion_table(names, details["per_class_accuracy"], details["confusion"])
    else:
        (table,) = [_table(entries) for entries in details.values()]
    return [f"{head}loss {measured.loss:.4f}", "", *table]


def _confusion_table(
    names: list[str], per_class: dict[str, float | None], confusion: list[list[int]]
) -> list[str]:
    """Return a line for each class, and who it was taken for where that fits on a screen."""
    lines = []
    width = max(len(name) for name in names)
    small = len(names) <= 20
    if small:
        numbers = " ".join(f"{i:>5}" for i in range(len(names)))
        lines.append(f"  {'class':<{width}}  accuracy  predicted as {numbers}")
    for name, counts in zip(names, confusion, strict=True):
        accuracy = per_class[name]
        shown = "       –" if accuracy is None else f"{accuracy:>8.2%}"
        row = " ".join(f"{count:>5}" for count in counts) if small else ""
        lines.append(f"  {name:<{width}}  {shown}               {row}".rstrip())
    return lines


def _table(entries: dict[str, dict[str, float | None]]) -> list[str]:
    """Return a line for each attribute or value."""
    width = max(len(name) for name in entries)
    return [
        f"  {name:<{width}}  "
        + ", ".join("–" if value is None else in_words(what, value) for what, value in found.items())
        for name, found in entries.items()
    ]
