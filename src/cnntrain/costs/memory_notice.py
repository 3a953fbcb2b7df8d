"""Whether training on the CPU needs more memory than there is, said before it starts.

A process that takes more is killed by the system, without a word. Networks that could need so much are
simulated (`memory.Simulation`), which takes seconds; whether one could, two bounds tell at once.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from ..assemble.restore import rebuild_network
from ..assemble.run import Parts
from ..training.memory_use import available_memory
from .memory import Simulation
from .units import format_bytes

FLOAT = 4
# Bytes of a weight, with its gradient, the state of an optimizer and its copies in other formats.
OF_A_WEIGHT = 6 * FLOAT
# More values than any of our networks gives of an image, as a multiple of its own; ResNet-101 gives 20 000 of
# a small one.
MOST_VALUES = 50_000
# Into how many parts of a batch its memory is tried.
PARTS = (2, 4, 8, 16, 32)


def memory_notice(parts: Parts) -> str | None:
    """Return what to write where training needs more memory than there is on the CPU, else None."""
    config = parts.config
    if parts.compute.device.type != "cpu" or config.model.name == "custom":
        return None  # a network of the user's own may do anything when it is built again
    available = available_memory()
    if available is None or not _could_need(parts, available):
        return None
    batch = config.data.batch_size
    try:
        simulation = _simulation(parts)
        needed = simulation.training(batch).peak
        if needed <= available:
            return None
        smaller = (count for count in PARTS if simulation.training(-(-batch // count)).peak <= available)
        count = next(smaller, None)
    except (RuntimeError, NotImplementedError):  # a network from elsewhere whose shapes depend on values
        return None
    if count is None:
        advice = "take a smaller network or smaller images (model.width, data.image_size)"
    else:
        steps = f"trainer.accumulate_steps={count * config.trainer.accumulate_steps}"
        size = "" if config.optim.needs_whole_batch() else f"data.batch_size={-(-batch // count)} "
        advice = f"for the same updates in less, write {size}{steps}"
    return (
        f"training needs about {format_bytes(needed)} of memory, {format_bytes(available)} are available, "
        f"and the system may end it; {advice}"
    )


def _simulation(parts: Parts) -> Simulation:
    criterion = copy.deepcopy(parts.step.criterion)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = rebuild_network(parts.config, criterion, parts.network_input)
    return Simulation(parts.config, network, parts.compute, parts.network_input, criterion)


def _could_need(parts: Parts, available: int) -> bool:
    """Return whether training could need so many bytes, by bounds that are above what it needs.

    Of each layer's output they have twice its size: results of functions and gradients take less than the
    outputs that are not kept.
    """
    network_input, batch = parts.network_input, int(parts.config.data.batch_size)
    weights = OF_A_WEIGHT * sum(weight.numel() for weight in parts.step.network.parameters())
    of_value = 2 * batch * (FLOAT if parts.compute.precision in ("fp32", "tf32") else FLOAT // 2)
    if weights + of_value * math.prod(network_input.shape) * MOST_VALUES <= available:
        return False
    image = torch.zeros(1, network_input.channels, *network_input.size)
    return weights + of_value * values_of(parts.step.network, image) > available


@torch.no_grad()
def values_of(network: nn.Module, image: Tensor) -> int:
    """Return how many values the layers of a network give for an image (1, C, H, W); changes nothing."""
    values = 0

    def count(layer: nn.Module, inputs: object, output: object) -> None:
        nonlocal values
        values += output.numel() if isinstance(output, Tensor) else 0

    modes = {layer: layer.training for layer in network.modules()}
    hooks = [layer.register_forward_hook(count) for layer in modes if not list(layer.children())]
    try:
        network.eval()
        network(image)
    finally:
        for hook in hooks:
            hook.remove()
        for layer, mode in modes.items():
            layer.training = mode
    return values
