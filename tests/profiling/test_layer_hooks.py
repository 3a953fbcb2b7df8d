"""Times of layers by a clock that only chosen operations advance: what is theirs is known exactly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnntrain.instruments.instrument import BACKWARD, FORWARD
from cnntrain.profiling.layer_hooks import MEASURING, LayerHooks
from cnntrain.profiling.stopwatch import Stopwatch


class Clock:
    """A clock that stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def mark(self) -> float:
        return self.now

    def seconds(self, first: float, last: float) -> float:
        return last - first


class Slow(torch.autograd.Function):
    """The identity, which takes some seconds forward and others backward."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, clock: Clock, forward: float, backward: float) -> Tensor:
        clock.now += forward
        context.clock, context.seconds = clock, backward
        return inputs.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Any:
        context.clock.now += context.seconds
        return gradient, None, None, None


class Layer(nn.Module):
    """A layer of known duration."""

    def __init__(self, clock: Clock, forward: float, backward: float):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.times = (clock, forward, backward)

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = Slow.apply(self.inner(inputs), *self.times)
        return result


class Block(nn.Module):
    """Two layers, with operations of its own between, after and around them, in place where that may be."""

    def __init__(self, clock: Clock):
        super().__init__()
        self.clock = clock
        self.one, self.two = Layer(clock, 5, 7), Layer(clock, 11, 13)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        between = Slow.apply(self.activation(self.one(inputs)), self.clock, 100, 200)
        return Slow.apply(inputs + self.two(between), self.clock, 1000, 2000)


def test_every_second_is_of_the_layer_whose_operation_took_it() -> None:
    clock = Clock()
    network = nn.Sequential(Layer(clock, 1, 2), Block(clock), Layer(clock, 3, 4))
    watch = Stopwatch(clock, "outside")
    hooks = LayerHooks(network, watch)
    inputs = torch.ones(1, 2, requires_grad=True)
    with hooks.registered():
        for _ in range(2):  # the second step has a graph of its own
            with watch.around(FORWARD):
                output = network(inputs)
            clock.now += 50
            with watch.around(BACKWARD):
                output.sum().backward()
    clock.now += 60
    with watch.around("end"):
        pass

    seconds = {key: value for key, value in watch.seconds().items() if value}
    assert seconds == {
        (FORWARD, "0"): 2 * 1,
        (FORWARD, "1"): 2 * 1100,
        (FORWARD, "1.one"): 2 * 5,
        (FORWARD, "1.two"): 2 * 11,
        (FORWARD, "2"): 2 * 3,
        (BACKWARD, "0"): 2 * 2,
        (BACKWARD, "1"): 2 * 2200,
        (BACKWARD, "1.one"): 2 * 7,
        (BACKWARD, "1.two"): 2 * 13,
        (BACKWARD, "2"): 2 * 4,
        "outside": 2 * 50 + 60,
    }
    assert sum(seconds.values()) == clock.now
    assert MEASURING in watch.seconds()


def test_gradients_are_those_without_hooks_and_no_hook_stays() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Flatten())
    images = torch.randn(4, 1, 5, 5)
    network(images).square().sum().backward()
    expected = [weight.grad.clone() for weight in network.parameters() if weight.grad is not None]
    network.zero_grad()
    watch = Stopwatch(Clock(), "outside")
    with LayerHooks(network, watch).registered():
        with watch.around(FORWARD):
            loss = network(images).square().sum()
        with watch.around(BACKWARD):
            loss.backward()
    found = [weight.grad for weight in network.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_products_are_those_that_gradients_need() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 5))
    network[1].requires_grad_(False)
    watch = Stopwatch(Clock(), "outside")
    hooks = LayerHooks(network, watch)
    with hooks.registered(), watch.around(FORWARD):
        network(torch.ones(7, 2))
    traffic = {name: (one.products, one.bytes) for name, one in hooks.traffic.items() if name}
    # The first has no gradient of its input, the second none of its weights.
    assert traffic == {"0": (2, 4 * 7 * 5), "1": (2, 4 * 7 * 7), "2": (3, 4 * 7 * 9)}


def test_parts_that_an_exception_leaves_are_ended() -> None:
    clock = Clock()
    watch = Stopwatch(clock, "outside")

    def fail() -> None:
        watch.enter("inner")
        clock.now += 2
        raise ValueError

    with pytest.raises(ValueError), watch.around("step"):  # noqa: PT011
        fail()
    with watch.around_undivided("whole"):
        clock.now += 3
        with watch.around("part of the whole"):
            clock.now += 4
    assert watch.seconds() == {"step": 0, "inner": 2, "outside": 0, "whole": 7}
