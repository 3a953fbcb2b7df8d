"""Optimizers of the user's own: what is accepted, and what the trial of small weights finds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from cnntrain.errors import ConfigError
from cnntrain.optim.optimizer_stages import LR_SCALE
from cnntrain.optim.settings import Custom


class Plain(Optimizer):
    """Gradient descent, the base of those that do something wrong."""

    def __init__(self, params: Any, lr: float):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                weight.sub_(self.rate(group, weight) * weight.grad)

    def rate(self, group: dict[str, Any], weight: Tensor) -> float:
        return float(group["lr"])


class Counting(Plain):
    """Its rate depends on a number that no state_dict has."""

    count = 0

    def rate(self, group: dict[str, Any], weight: Tensor) -> float:
        self.count += 1
        return super().rate(group, weight) / self.count


class WithSet(Plain):
    def rate(self, group: dict[str, Any], weight: Tensor) -> float:
        self.state[weight]["seen"] = {1}
        return super().rate(group, weight)


class Still(Plain):
    def rate(self, group: dict[str, Any], weight: Tensor) -> float:
        return 0.0


def of_one_weight(params: list[Tensor], lr: float) -> Optimizer:
    return Plain(params[:1], lr)


def without_groups(params: list[Any], lr: float) -> Optimizer:
    entries = [entry["params"] if isinstance(entry, dict) else [entry] for entry in params]
    return SGD([weight for entry in entries for weight in entry], lr=lr)


def with_slow_biases(params: list[Tensor], lr: float) -> Optimizer:
    slow = [weight for weight in params if weight.ndim == 1]
    fast = [weight for weight in params if weight.ndim > 1]
    return SGD([{"params": fast}, {"params": slow, "lr": lr / 10}], lr=lr)


def a_number(params: list[Tensor], lr: float) -> int:
    return 3


def build(name: str, weights: Any, **settings: Any) -> Optimizer:
    path = name if ":" in name else f"{__name__}:{name}"
    return Custom(factory=path, lr=0.1, **settings).build(weights, fused=False)


def weights() -> list[Tensor]:
    return [nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(3))]


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("a_number", {}, "returned an int; it must return a torch.optim.Optimizer"),
        ("of_one_weight", {}, "its parameter groups have 1 of 3 weights; pass params on as they are"),
        ("Counting", {}, "goes on otherwise after state_dict() and load_state_dict()"),
        ("WithSet", {}, "its state_dict() has a set; checkpoints hold tensors, numbers and text only"),
        ("Still", {}, "3 updates of small weights, with gradients, change none of them"),
        (
            "torch.optim:LBFGS",
            {},
            "its step() needs a closure, which computes loss and gradients anew; write op",
        ),
        ("torch.optim:SparseAdam", {}, "failed: RuntimeError: SparseAdam does not support dense gradients"),
        ("torch.optim:SGD", {"arguments": {"momentun": 0.9}}, "has no argument momentun; did you mean mom"),
        (
            "torch.optim:SGD",
            {"arguments": {"lr": 0.9}},
            "lr is passed by the program; take it out of optim.arg",
        ),
        (
            "torch.optim:SGD",
            {"arguments": {"momentum": -1}},
            "failed: ValueError: Invalid momentum value: -1",
        ),
    ],
)
def test_what_cannot_train_or_be_resumed_is_refused_with_the_reason(
    name: str, settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build(name, weights(), **settings)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["Adamax", "ASGD", "Adadelta", "Adafactor", "NAdam", "RAdam", "Rprop"])
def test_optimizers_of_torch_are_accepted(name: str) -> None:
    assert type(build(f"torch.optim:{name}", weights())) is getattr(torch.optim, name)


def test_lbfgs_and_its_line_search_are_accepted_with_a_closure() -> None:
    built = build("torch.optim:LBFGS", weights(), closure=True, arguments={"line_search_fn": "strong_wolfe"})
    assert isinstance(built, torch.optim.LBFGS)
    with pytest.raises(ConfigError, match="its step\\(\\) takes no closure"):
        build("Closureless", weights(), closure=True)


class Closureless(Plain):
    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        super().step()


def test_rates_of_layers_are_kept_or_missed() -> None:
    first, second = weights()
    groups = [{"params": [first], LR_SCALE: 0.5}, {"params": [second], LR_SCALE: 1.0}]
    assert [group[LR_SCALE] for group in build("torch.optim:NAdam", groups).param_groups] == [0.5, 1.0]
    with pytest.raises(ConfigError, match=r"lose the learning rates of layers \(model.layer_decay"):
        build("without_groups", [dict(group) for group in groups])


def test_a_rate_of_a_group_relative_to_lr_is_a_factor() -> None:
    built = build("with_slow_biases", weights())
    assert [group.get(LR_SCALE, 1.0) for group in built.param_groups] == [1.0, pytest.approx(0.1)]
