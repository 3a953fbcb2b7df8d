"""Times the layers of a network in the forward and in the backward pass.

Hooks of modules tell which one runs forward. The operations of the backward pass belong to the module that
was running when their counterparts were recorded in the graph of gradients, and a hook of each tells when it
begins. Nothing is inserted between layers, so that operations in place work as without hooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node

from ..costs.receptive_field import tensors_in
from ..instruments.instrument import BACKWARD, FORWARD
from .stopwatch import Stopwatch

# The time that the hooks themselves take.
MEASURING = "measuring"


@dataclass
class LayerTraffic:
    """What a layer has computed in the steps that were timed.

    bytes: of the inputs and outputs of all its calls. products: how many products of the size of the forward
    one a call makes: the forward one, for the gradient of its input, for that of its weights.
    """

    bytes: int = 0
    products: int = 1

    def add(self, module: nn.Module, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """Add a call."""
        of_inputs = any(tensor.requires_grad for tensor in inputs)
        of_weights = any(weight.requires_grad for weight in module.parameters())
        self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in [*inputs, *outputs])
        self.products = 1 + of_inputs + of_weights


class LayerHooks:
    """Times each module of a network, by a stopwatch whose parts are (FORWARD, name) and (BACKWARD, name)."""

    def __init__(self, network: nn.Module, watch: Stopwatch):
        self.network = network
        self.watch = watch
        self.traffic: dict[str, LayerTraffic] = {}
        self._running: list[str] = []
        self._owned: set[Node] = set()

    @contextmanager
    def registered(self) -> Iterator[None]:
        """Time the layers inside the context."""
        handles = []
        for name, module in self.network.named_modules():
            handles.append(module.register_forward_pre_hook(partial(self._enter, name), with_kwargs=True))
            handles.append(module.register_forward_hook(partial(self._leave, name), with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._running.clear()
            self._owned.clear()

    def _enter(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        if not self.watch.is_in(FORWARD):
            return
        self.watch.enter(MEASURING)
        if self._running:
            # What its inputs were computed by since the last module ended is of the module around.
            self._own(tensors_in([args, kwargs]), self._running[-1])
        self._running.append(name)
        self.watch.go_over_to((FORWARD, name))

    def _leave(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not self.watch.is_in(FORWARD):
            return
        self.watch.go_over_to(MEASURING)
        self._running.pop()
        inputs, outputs = list(tensors_in([args, kwargs])), list(tensors_in(output))
        self.traffic.setdefault(name, LayerTraffic()).add(module, inputs, outputs)
        self._own(outputs, name)
        self.watch.leave()

    def _own(self, tensors: Iterable[Tensor], name: str) -> None:
        """Let the operations by which tensors were computed, and that no module has yet, be a module's."""
        found = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
        while found:
            node = found.pop()
            if node in self._owned:
                continue
            self._owned.add(node)
            node.register_prehook(partial(self._begin_backward, (BACKWARD, name)))
            found += [before for before, _ in node.next_functions if before is not None]

    def _begin_backward(self, part: tuple[str, str], gradients: Any) -> None:
        self.watch.go_over_to(part)
