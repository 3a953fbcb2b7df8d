"""An optimizer of the user's own: it is built, and tried on a few small weights, resumed too."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..user_code import UserFunction, kind_of
from ..without_compiler import make_step
from .optimizer_stages import LR_SCALE

# Updates of the trial before and after its state is saved and loaded.
TRIED_STEPS = 3
# Shapes of the weights of a trial: of a convolution, a linear layer, and a bias.
TRIED_SHAPES = ((3, 2, 3, 3), (4, 3), (4,))
ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
PLAIN = (Tensor, bool, int, float, str, type(None))


def custom_optimizer(
    function: UserFunction, weights: list[Tensor] | list[dict[str, Any]], lr: float, closure: bool
) -> Optimizer:
    """Return function(weights, lr=lr, **arguments), tried on weights of TRIED_SHAPES.

    Raises ConfigError where it cannot be called, fails, does not return a torch.optim.Optimizer over all
    weights, or one that goes on otherwise after its state was saved and loaded. Learning rates of parameter
    groups other than `lr` are kept as factors on the rate of the schedule.
    """
    with function.running("a trial of its update on small weights"):
        problem = _trial_problem(function, lr, closure)
    if problem is None:
        optimizer = function.call(weights, lr=lr)
        problem = _problem(optimizer, weights)
    if problem is not None:
        raise function.wrong(problem)
    assert isinstance(optimizer, Optimizer)
    for group in optimizer.param_groups:
        if LR_SCALE not in group and group.get("lr", lr) != lr:
            group[LR_SCALE] = float(group["lr"]) / lr
    return optimizer


def _problem(optimizer: object, weights: list[Tensor] | list[dict[str, Any]]) -> str | None:
    """Return what is wrong with an optimizer of these weights, or None."""
    if not isinstance(optimizer, Optimizer):
        return f"returned {kind_of(optimizer)}; it must return a torch.optim.Optimizer (a subclass of it)"
    scales = {
        id(weight): entry.get(LR_SCALE)
        for entry in weights
        if isinstance(entry, dict)
        for weight in entry["params"]
    } or {id(weight): None for weight in weights}
    found = {id(weight): group for group in optimizer.param_groups for weight in group["params"]}
    if scales.keys() != found.keys():
        return f"its parameter groups have {len(found)} of {len(scales)} weights; pass params on as they are"
    if any(scale is not None and found[key].get(LR_SCALE) != scale for key, scale in scales.items()):
        return (
            "its parameter groups lose the learning rates of layers (model.layer_decay, model.head_lr); pass "
            "params on as they are, a list of groups"
        )
    return None


def _closure_problem(optimizer: Optimizer, closure: bool) -> str | None:
    """Return what is wrong with the setting optim.closure for an optimizer, or None."""
    accepted = inspect.signature(inspect.unwrap(type(optimizer).step)).parameters
    taken = list(accepted.values())[1:]
    is_required = any(entry.default is entry.empty and entry.kind not in ANY_NUMBER for entry in taken)
    if is_required and not closure:
        return "its step() needs a closure, which computes loss and gradients anew; write optim.closure=true"
    if closure and not taken:
        return "its step() takes no closure; write optim.closure=false"
    return None


def _trial_problem(function: UserFunction, lr: float, closure: bool) -> str | None:
    """Return what is wrong with updates of small weights, or with going on from a saved state, or None."""
    called = function.load()
    weights = _tried_weights()
    optimizer = called(weights, lr=lr, **function.arguments)
    problem = _problem(optimizer, weights) or _closure_problem(optimizer, closure)
    if problem is not None:
        return problem
    start = [weight.detach().clone() for weight in weights]
    _try(optimizer, weights, 0, closure)
    if any(weight.dtype != first.dtype for weight, first in zip(weights, start, strict=True)):
        return "its update changes the type of weights"
    if all(torch.equal(weight, first) for weight, first in zip(weights, start, strict=True)):
        return f"{TRIED_STEPS} updates of small weights, with gradients, change none of them"
    state = copy.deepcopy(optimizer.state_dict())
    if not {"state", "param_groups"} <= state.keys():
        return f"its state_dict() has the keys {', '.join(map(str, state))}; it needs state and param_groups"
    if extra := _not_plain(state):
        return f"its state_dict() has {extra}; checkpoints hold tensors, numbers and text only"
    other_weights = [weight.detach().clone().requires_grad_() for weight in weights]
    other = called(other_weights, lr=lr, **function.arguments)
    other.load_state_dict(state)
    _try(optimizer, weights, TRIED_STEPS, closure)
    _try(other, other_weights, TRIED_STEPS, closure)
    if not all(torch.equal(one, two) for one, two in zip(weights, other_weights, strict=True)):
        return (
            "goes on otherwise after state_dict() and load_state_dict(); keep all that an update depends on "
            "in self.state and self.param_groups, so that a run can be resumed"
        )
    return None


def _tried_weights() -> list[Tensor]:
    weights = (torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape) for shape in TRIED_SHAPES)
    return [weight.clone().requires_grad_() for weight in weights]


def _try(optimizer: Optimizer, weights: list[Tensor], first: int, closure: bool) -> None:
    """Make TRIED_STEPS updates that lower the sum of squares, with random numbers of `first` on."""

    def loss_and_gradients() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            losses = [((weight - number) ** 2).sum() for number, weight in enumerate(weights)]
            loss = torch.stack(losses).sum()
            torch.autograd.backward(loss)
        return loss.detach()

    for step in range(first, first + TRIED_STEPS):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(step)
            if closure:
                make_step(optimizer, loss_and_gradients)
            else:
                loss_and_gradients()
                make_step(optimizer)
    optimizer.zero_grad(set_to_none=True)


def _not_plain(state: Any) -> str | None:
    """Return the type of the first value in a state that a checkpoint cannot hold, or None."""
    if isinstance(state, dict):
        odd_key = next((kind_of(key) for key in state if not isinstance(key, str | int)), None)
        return odd_key or next((found for value in state.values() if (found := _not_plain(value))), None)
    if isinstance(state, list | tuple):
        return next((found for value in state if (found := _not_plain(value))), None)
    return None if isinstance(state, PLAIN) else kind_of(state)
