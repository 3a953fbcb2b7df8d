"""The costs of a configuration's network: its layers, and memory in training and prediction (M1–M4, L9)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..assemble.parts import build_criterion, checked_network_input
from ..assemble.restore import rebuild_network
from ..config.cross_checks import training_images
from ..config.resolve_batch_size import with_batch_size
from ..errors import ConfigError
from ..loss.criterion import Criterion
from ..settings.config_tree import Config
from ..settings.fields import describe_changes
from ..training.device import prepare
from ..training.memory_use import all_memory
from .layer_costs import LayerCost, layer_table, size_notices
from .memory import Simulation, TrainingMemory
from .units import format_bytes


@dataclass(frozen=True)
class Memory:
    """Bytes of training with the configured batch size, optimizer and precision, and of predicting a batch.

    resident: the peak of training with heap fragmentation, None if not on a CPU with glibc. largest_batch:
    None if no limit is set, 0 if not even one image fits; at most the training images.
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

    def total(self, number: Callable[[LayerCost], int], with_auxiliary: bool = False) -> int:
        """Return the sum of a number over all layers; those used in training only if `with_auxiliary`."""
        return sum(number(row) for row in self.rows if with_auxiliary or not row.training_only)


def network_costs(config: Config) -> NetworkCosts:
    """Return the costs of a configuration's network; the data are read only if image size or loss need them.

    Raises ConfigError where the network does not accept the images.
    """
    config = with_batch_size(config, training_images(config))
    image, criterion = _image_and_criterion(config)
    if config.summary.image_size is not None:
        image = (config.summary.image_size, config.summary.image_size, image[2])
    network_input = checked_network_input(config, image)
    channels, size = network_input.channels, network_input.size
    problems = config.model.input_problems(channels, criterion.outputs, size)
    if problems:
        raise ConfigError(problems)
    compute = prepare(config.trainer)
    # On the meta device, except a user-defined network, which may need values.
    with torch.device("cpu" if config.model.name == "custom" else "meta"):
        network = rebuild_network(config, criterion, network_input)
    rows = layer_table(network, channels, size)
    notices = [*network_input.notices(), *size_notices(rows)]
    if config.optim.name == "custom":
        notices.append("optim=custom: its state is not included above, as its updates may depend on values")
    elif config.optim.line_search:
        history = 2 * config.optim.history * 4 * sum(row.weights + row.biases for row in rows)
        notices.append(
            f"optim={config.optim.name}: its history, up to {format_bytes(history)}, is not included above, "
            "as its updates depend on values"
        )
    simulation = Simulation(config, network, compute, network_input, criterion)
    memory = _memory(simulation, config)
    notices += _too_much(memory, all_memory(compute.device))
    return NetworkCosts(
        network=describe_changes(config.model),
        input=(channels, *size),
        outputs=criterion.outputs,
        rows=rows,
        memory=memory,
        optimizer=config.optim.name,
        compute=compute.describe(),
        notices=notices,
    )


def _image_and_criterion(config: Config) -> tuple[tuple[int, int, int], Criterion]:
    """Return (height, width, channels) of the images, and the loss; the data are read only if needed."""
    info = config.data.info()
    if info is not None and not config.loss.needs_data():
        names = [str(number) for number in range(info.outputs)]
        statistics = config.loss.label_statistics(names, torch.empty(0, dtype=torch.int64))
        return (info.height, info.width, info.channels), build_criterion(config, names, statistics)
    splits = config.data.load(config.seed)
    statistics = config.loss.label_statistics(splits.names, splits.train.labels)
    return splits.train.shape, build_criterion(config, splits.names, statistics)


def _too_much(memory: Memory, there_is: int | None) -> list[str]:
    """Return a notice if training needs more memory than the device has."""
    needed = memory.resident or memory.training.peak
    if there_is is None or needed <= there_is:
        return []
    return [
        f"training needs {format_bytes(needed)}, this machine has {format_bytes(there_is)}; lower "
        "data.batch_size, and raise trainer.accumulate_steps for the same updates"
    ]


def _memory(simulation: Simulation, config: Config) -> Memory:
    batch_size = config.data.batch_size
    training, resident = simulation.training(batch_size), simulation.resident(batch_size)
    limit, largest = config.summary.memory_gb, None
    if limit is not None:
        # Fragmentation is taken as proportional to live memory: measuring it per batch size takes minutes.
        fraction_live = 1.0 if resident is None else training.peak / resident
        largest = largest_batch(lambda size: simulation.training(size).peak, limit * 1e9 * fraction_live)
        images = training_images(config)
        if images is not None:
            largest = min(largest, images // config.trainer.accumulate_steps)
    return Memory(training, resident, simulation.prediction(batch_size), largest)


def largest_batch(peak: Callable[[int], int], limit: float) -> int:
    """Return the largest batch size whose peak is at most `limit`, 0 if not even one image fits.

    The peak is nearly linear in the batch size: extrapolate linearly until a batch is too large, then
    interpolate between the largest that fits and the smallest that does not.
    """
    low, low_peak = 1, peak(1)
    if low_peak > limit:
        return 0
    size, size_peak = 64, peak(64)
    slope = max(1.0, (size_peak - low_peak) / (size - low))
    high = high_peak = 0
    for iteration in itertools.count():
        if size_peak <= limit:
            slope = max(1.0, (size_peak - low_peak) / (size - low)) if size > low else slope
            low, low_peak = size, size_peak
        else:
            high, high_peak = size, size_peak
        if high - low == 1:
            return low
        if high:
            # Bisect at every third iteration, in case the peak is far from linear.
            fraction = 0.5 if iteration % 3 == 2 else (limit - low_peak) / (high_peak - low_peak)
            size = min(max(low + int(fraction * (high - low)), low + 1), high - 1)
        else:
            size = low + max(1, int((limit - low_peak) / slope) + 1)
        size_peak = peak(size)
    raise AssertionError("unreachable")
