"""The costs of a configuration's network: its layers, and memory in training and prediction (M1–M4, L9)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..assemble import build_criterion, checked_network_input, rebuild_network
from ..errors import ConfigError
from ..loss.criterion import Criterion
from ..settings.fields import describe_option
from ..settings.tree import Config
from ..training.device import prepare
from .arithmetic import LayerCost, layer_table, size_notices
from .memory import Simulation, TrainingMemory
from .units import format_bytes


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
class NetworkCosts:
    """The costs of a network, layer by layer and in memory."""

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


def network_costs(config: Config) -> NetworkCosts:
    """Return the costs of a configuration's network; images are read only where their size is unknown.

    Raises ConfigError where the network does not fit the data.
    """
    image, criterion = _image_and_criterion(config)
    if config.summary.image_size is not None:
        image = (config.summary.image_size, config.summary.image_size, image[2])
    network_input = checked_network_input(config, image)
    channels, size = network_input.channels, network_input.size
    problems = config.model.input_problems(channels, criterion.outputs, size)
    if problems:
        raise ConfigError(problems)
    compute = prepare(config.trainer)
    # Without values, but for a user's own network, which may need them.
    with torch.device("cpu" if config.model.name == "custom" else "meta"):
        network = rebuild_network(config, criterion, network_input)
    rows = layer_table(network, channels, size)
    notices = [*network_input.notices(), *size_notices(rows)]
    if config.optim.line_search:
        kept = 2 * config.optim.history * 4 * sum(row.weights + row.biases for row in rows)
        notices.append(
            f"optim={config.optim.name}: its history, up to {format_bytes(kept)}, is not counted above, "
            "as its steps depend on values"
        )
    simulation = Simulation(config, network, compute, network_input, criterion)
    return NetworkCosts(
        network=describe_option(config.model),
        input=(channels, *size),
        outputs=criterion.outputs,
        rows=rows,
        memory=_memory(simulation, config),
        optimizer=config.optim.name,
        compute=compute.describe(),
        notices=notices,
    )


def _image_and_criterion(config: Config) -> tuple[tuple[int, int, int], Criterion]:
    """Return (height, width, channels) of the images, and the loss; reads the data where it must."""
    info = config.data.info()
    if info is not None and not config.loss.needs_data():
        names = [str(number) for number in range(info.outputs)]
        statistics = config.loss.label_statistics(names, torch.empty(0, dtype=torch.int64))
        return (info.height, info.width, info.channels), build_criterion(config, names, statistics)
    splits = config.data.load(config.seed)
    statistics = config.loss.label_statistics(splits.names, splits.train.labels)
    return splits.train.shape, build_criterion(config, splits.names, statistics)


def _memory(simulation: Simulation, config: Config) -> Memory:
    batch_size = config.data.batch_size
    training, resident = simulation.training(batch_size), simulation.resident(batch_size)
    limit, largest = config.summary.memory_gb, None
    if limit is not None:
        # Heap fragmentation grows with what is alive; measuring it for every batch size would take minutes.
        used = 1.0 if resident is None else training.peak / resident
        largest = largest_batch(lambda size: simulation.training(size).peak, limit * 1e9 * used)
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
