"""The features of images: the outputs of a network's penultimate layer."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from ..model.fine_tuning import heads
from ..model.nearest_neighbours import NearestNeighbours


class Penultimate(nn.Module):
    """A copy of a network, with the same weights in memory, that keeps what its head is given.

    The network itself has no hook, so that it can be traced, and used by other threads at the same time.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
        self.network = copy.deepcopy(network, shared)
        self.network.get_submodule(_head(network)).register_forward_pre_hook(self._keep)
        self._inputs: Tensor | None = None

    def forward(self, images: Tensor) -> Any:
        return self.network(images)

    def features(self) -> Tensor:
        """Return the features (N, D) of the last images, float32 on the CPU; of maps, their mean."""
        assert self._inputs is not None
        found, self._inputs = self._inputs.float(), None
        return (found.flatten(2).mean(2) if found.ndim > 2 else found).cpu()

    def _keep(self, head: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = inputs[0]


def _head(network: nn.Module) -> str:
    """Return the name of the layer that computes the scores."""
    neighbours = [name for name, part in network.named_modules() if isinstance(part, NearestNeighbours)]
    return neighbours[0] if neighbours else heads(network)[0]
