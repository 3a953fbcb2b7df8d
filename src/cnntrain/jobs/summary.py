"""job=summary: what a network costs, layer by layer and in memory, before it is trained (M1–M4, L9)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..assemble import build_criterion, build_rates, input_of, rebuild_network
from ..config import stored
from ..config.checks import training_images
from ..config.root import Config
from ..device import prepare
from ..durable import write_text
from ..errors import ConfigError
from ..loss.criterion import Criterion
from ..memory import Simulation, Subject, TrainingMemory
from ..model.arithmetic import LayerCost, layer_table, size_notices
from ..optim.stages import Rates
from ..pictures.of_run import SCHEDULE, draw_rates
from ..run_folder import RunFolder, create

STEPS_IN_PICTURE = 100


@dataclass(frozen=True)
class Memory:
    """Bytes of training with the chosen batch, optimizer and precision, and of predicting such a batch.

    resident: the training's peak with the holes of the C library's heap; None where that has no say.
    """

    training: TrainingMemory
    resident: int | None
    prediction_peak: int
    largest_batch: int | None


@dataclass(frozen=True)
class NetworkSummary:
    """All that job=summary says of a network."""

    network: str
    input: tuple[int, int, int]
    outputs: int
    rows: list[LayerCost]
    memory: Memory
    optimizer: str
    compute: str
    notices: list[str]

    def total(self, what: Callable[[LayerCost], int], with_auxiliary: bool = False) -> int:
        """Return the sum over all layers, those of auxiliary heads only if asked for."""
        return sum(what(row) for row in self.rows if with_auxiliary or not row.training_only)


def summarize(config: Config, path: Path, named_by_user: bool) -> None:
    """Print a network's costs and write them into a new folder: network.md, network.json, config.yaml."""
    found = examine(config)
    folder = create(path, named_by_user, with_checkpoints=False)
    with folder.locked():
        write_text(folder.config, stored.to_yaml(config))
        _report(found, folder, config)


def summarize_run(path: Path, config: Config) -> None:
    """Print the costs of an earlier run's network and write them into its folder."""
    found = examine(config)
    _report(found, RunFolder(path), config)


def examine(config: Config) -> NetworkSummary:
    """Return what a configuration's network costs; images are read only where nothing else tells their size.

    Raises ConfigError where the network does not fit the data.
    """
    image, criterion = _subject(config)
    if config.summary.image_size is not None:
        image = (config.summary.image_size, config.summary.image_size, image[2])
    way = input_of(config, image)
    problems = config.model.problems(way.channels, criterion.outputs, way.size)
    if problems:
        raise ConfigError(problems)
    compute = prepare(config.trainer)
    # Without values, but for a user's own network, which may need them.
    with torch.device("cpu" if config.model.name == "custom" else "meta"):
        network = rebuild_network(config, criterion, way)
    rows = layer_table(network, way.channels, way.size)
    notices = [*way.notices(), *size_notices(rows)]
    if config.optim.searches_lines:
        kept = 2 * config.optim.history * 4 * sum(row.weights + row.biases for row in rows)
        notices.append(
            f"optim={config.optim.name}: its history, up to {gigabytes(kept)}, is not in the memory above, "
            "as its steps depend on values"
        )
    simulation = Simulation(config, network, compute, Subject(way, criterion))
    return NetworkSummary(
        network=stored.shown(config.model),
        input=(way.channels, *way.size),
        outputs=criterion.outputs,
        rows=rows,
        memory=_memory(simulation, config),
        optimizer=config.optim.name,
        compute=compute.describe(),
        notices=notices,
    )


def _subject(config: Config) -> tuple[tuple[int, int, int], Criterion]:
    """Return (height, width, channels) of the images, and the loss; reads the data where it must."""
    facts = config.data.facts()
    if facts is not None and not config.loss.needs_data():
        names = [str(number) for number in range(facts.outputs)]
        learnt = config.loss.facts(names, torch.empty(0, dtype=torch.int64))
        return (facts.height, facts.width, facts.channels), build_criterion(config, names, learnt)
    splits = config.data.load(config.seed)
    learnt = config.loss.facts(splits.names, splits.train.labels)
    return splits.train.shape, build_criterion(config, splits.names, learnt)


def _memory(simulation: Simulation, config: Config) -> Memory:
    batch_size = config.data.batch_size
    training, resident = simulation.training(batch_size), simulation.resident(batch_size)
    limit, largest = config.summary.memory_gb, None
    if limit is not None:
        # The heap's holes are a share of what is alive; asking it anew for every batch would take minutes.
        share = 1.0 if resident is None else training.peak / resident
        largest = largest_batch(lambda size: simulation.training(size).peak, limit * 1e9 * share)
    return Memory(training, resident, simulation.prediction(batch_size), largest)


def largest_batch(peak: Callable[[int], int], limit: float) -> int:
    """Return the largest batch whose peak is at most `limit`, 0 where not even one image fits.

    A peak grows by nearly as much for each image: the line through two batches tells where the limit is
    met, and from there on what fits and what does not close in on each other.
    """
    fits, below = 1, peak(1)
    if below > limit:
        return 0
    size, at = 64, peak(64)
    slope = max(1.0, (at - below) / (size - fits))
    beyond = above = 0
    for number in itertools.count():
        if at <= limit:
            slope = max(1.0, (at - below) / (size - fits)) if size > fits else slope
            fits, below = size, at
        else:
            beyond, above = size, at
        if beyond - fits == 1:
            return fits
        if beyond:
            # Every third time the middle, in case the peak is no line at all.
            share = 0.5 if number % 3 == 2 else (limit - below) / (above - below)
            size = min(max(fits + int(share * (beyond - fits)), fits + 1), beyond - 1)
        else:
            size = fits + max(1, int((limit - below) / slope) + 1)
        at = peak(size)
    raise AssertionError("counting never ends")


def _report(found: NetworkSummary, folder: RunFolder, config: Config) -> None:
    print("\n".join(_lines(found)))
    write_text(folder.path / "network.md", _markdown(found))
    write_text(folder.path / "network.json", json.dumps(_json(found), indent=2, allow_nan=False) + "\n")
    draw_rates(folder.path / SCHEDULE, *_rates(config))
    print(f"\n{folder.path}: network.md, network.json, {SCHEDULE}", flush=True)


def _rates(config: Config) -> tuple[Rates, int, int]:
    """Return learning rates and momenta of a run, its steps per epoch and its epochs."""
    images = training_images(config)
    per_update = config.data.batch_size * config.trainer.accumulate_steps
    # Where the number of images is not known, any number of steps gives the picture its shape.
    steps = STEPS_IN_PICTURE if images is None else max(1, images // per_update)
    steps = min(steps, config.trainer.max_steps_per_epoch or steps)
    return build_rates(config, [torch.zeros(1, 1, 1, 1)], False, steps), steps, config.trainer.epochs


def _json(found: NetworkSummary) -> dict[str, Any]:
    rows = []
    for row in found.rows:
        entry = asdict(row)
        entry.pop("slide")
        rows.append(entry)
    return {
        "network": found.network,
        "input": found.input,
        "outputs": found.outputs,
        "layers": rows,
        "activations": found.total(lambda row: row.activations),
        "weights": found.total(lambda row: row.weights, with_auxiliary=True),
        "biases": found.total(lambda row: row.biases, with_auxiliary=True),
        "parameters": found.total(lambda row: row.weights + row.biases, with_auxiliary=True),
        "multiply_adds": found.total(lambda row: row.multiply_adds),
        "optimizer": found.optimizer,
        "compute": found.compute,
        "memory": {
            "training": asdict(found.memory.training) | {"resident": found.memory.resident},
            "prediction": {"peak": found.memory.prediction_peak},
            "largest_batch": found.memory.largest_batch,
        },
        "notices": found.notices,
    }


HEAD = ("layer", "kind", "output", "sees", "step", "values", "weights", "biases", "multiply-adds")
NUMBERS = (5, 7, 8)


def _cells(found: NetworkSummary) -> list[list[str]]:
    """Return the table as text: a row for each layer, then the totals."""
    rows = []
    for row in found.rows:
        product = f"{row.product} = {spaced(row.weights)}" if row.weights else row.product or "0"
        rows.append(
            [
                f"{_short(row.name)}{' *' if row.training_only else ''}",
                row.kind,
                "x".join(str(size) for size in (*row.shape[1:], row.shape[0])),
                "" if row.receptive_field is None else _sides(row.receptive_field),
                "" if row.stride is None else _sides(row.stride),
                spaced(row.activations),
                product,
                spaced(row.biases),
                spaced(row.multiply_adds),
            ]
        )
    totals = [
        spaced(found.total(lambda row: row.activations)),
        spaced(found.total(lambda row: row.weights, with_auxiliary=True)),
        spaced(found.total(lambda row: row.biases, with_auxiliary=True)),
        spaced(found.total(lambda row: row.multiply_adds)),
    ]
    return [*rows, ["total", "", "", "", "", *totals]]


def _lines(found: NetworkSummary) -> list[str]:
    """Return the summary as it is printed."""
    cells = _cells(found)
    widths = [max(len(row[column]) for row in [list(HEAD), *cells]) for column in range(len(HEAD))]

    def line(row: list[str]) -> str:
        padded = [
            cell.rjust(width) if column in NUMBERS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    rule = "-" * len(line(list(HEAD)))
    table = [line(list(HEAD)), rule, *(line(row) for row in cells[:-1]), rule, line(cells[-1])]
    return [f"network   {found.network}", "", *table, "", *_words(found)]


def _words(found: NetworkSummary) -> list[str]:
    """Return what stands below the table: totals, memory, notices."""
    training, predicting = found.memory.training, found.memory.prediction_peak
    resident = found.memory.resident
    holes = "" if resident is None else f", with the holes in the C library's heap {gigabytes(resident)}"
    parameters = found.total(lambda row: row.weights + row.biases, with_auxiliary=True)
    values = found.total(lambda row: row.activations)
    lines = [
        f"parameters  {spaced(parameters)}; values of one image {spaced(values)}, "
        f"{gigabytes(4 * values)} in float32, twice that with their gradients",
        f"training    batches of {training.batch_size}, {found.optimizer}, {found.compute}:",
        f"              parameters {gigabytes(training.parameters)}, their gradients "
        f"{gigabytes(training.gradients)}, the optimizer's state {gigabytes(training.optimizer_state)},",
        f"              images {gigabytes(training.batch)}, kept for the backward pass "
        f"{gigabytes(training.activations)}",
        f"              at its peak {gigabytes(training.peak)}{holes}",
        f"prediction  batches of {training.batch_size}: at its peak {gigabytes(predicting)}",
    ]
    if found.memory.largest_batch is not None:
        most = found.memory.largest_batch
        lines.append(
            f"batch       the largest that fits is data.batch_size={most}"
            if most
            else "batch       not even one image fits"
        )
    if any(row.training_only for row in found.rows):
        lines.append("* in training only: not in the sums of values and multiply-adds")
    return [*lines, *(f"notice      {notice}" for notice in found.notices)]


def _markdown(found: NetworkSummary) -> str:
    marks = ["---:" if column in NUMBERS else "---" for column in range(len(HEAD))]
    rows = [list(HEAD), marks, *_cells(found)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    words = "\n".join(_words(found))
    return f"# {found.network}\n\n{table}\n\n```\n{words}\n```\n"


def spaced(number: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{number:_}".replace("_", " ")


def gigabytes(count: int) -> str:
    """Return bytes in the unit that suits them, of 1000 each."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def _short(name: str) -> str:
    """Return a layer's name without the part that all layers have in common."""
    return name.removeprefix("features.").removeprefix("head.").removesuffix(".conv")


def _sides(pair: tuple[int, int]) -> str:
    return f"{pair[0]}x{pair[1]}"
