"""The state of an optimizer in a checkpoint, checked against what the optimizer keeps after one step."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer

from ..errors import DataError
from ..without_compiler import make_step
from .checkpoint_schema import check_structure, describe

# What L-BFGS keeps from its second iteration on.
LATER = ("al",)


def _refusal(source: str, wrong: str) -> DataError:
    return DataError(f"{source}: {wrong}; start a new run, or restore the file")


@dataclass(frozen=True)
class _Part:
    """A part of an optimizer: Muon is made of two, most are of one.

    stored, own, example: the state in the checkpoint, that of the optimizer, and that of its copy after a
    step. weights: those that `own` numbers.
    """

    key: str
    stored: Any
    own: dict[str, Any]
    example: dict[str, Any]
    weights: list[Tensor]
    of_lbfgs: bool


def weights_with_state(state: dict[str, Any]) -> list[list[int]]:
    """Return the numbers of the weights that each part of an optimizer's state has an entry of.

    Weights that never had a gradient have none, those of an auxiliary head for example.
    """
    return [sorted(part["state"]) for part in _parts_of(state).values()]


def check_optimizer(
    stored: Any,
    optimizer: Optimizer,
    key: str,
    source: str,
    started: bool,
    numbers: list[list[int]] | None,
    any_state: bool = False,
) -> None:
    """Raise DataError if the stored state of an optimizer does not fit its weights, or lacks entries.

    started: whether it has made an update. numbers: its `weights_with_state`, None of earlier versions, of
    which a state that is empty as a whole is refused. any_state: whether what is kept of a weight may be of
    any names and shapes.
    """
    parts = list(_parts(stored, optimizer, key, source, any_state))
    if numbers is not None and len(numbers) != len(parts):
        raise _refusal(source, f"update.weights_with_state is not that of {len(parts)} parts")
    for part in parts:
        _check_groups(part, source)
    if numbers is None:
        keeps_state = any(part.example["state"] for part in parts)
        if started and keeps_state and not any(part.stored["state"] for part in parts):
            raise _refusal(source, f"{parts[0].key}.state is empty, though updates were made")
        numbers = [list(part.stored["state"]) for part in parts]
    for part, with_state in zip(parts, numbers, strict=True):
        if others := set(with_state) ^ set(part.stored["state"]):
            index = min(others)
            what = "missing" if index in with_state else "unknown"
            raise _refusal(source, f"{part.key}.state.{index} is {what}")
        if not any_state:
            for index, values in part.stored["state"].items():
                _check_entry(part, index, values, source)


def _parts_of(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if "param_groups" in state:
        return {"": state}
    return {f".{name}": part for name, part in state.items() if part is not None}


def _parts(stored: Any, optimizer: Optimizer, key: str, source: str, any_state: bool) -> Iterator[_Part]:
    """Yield the parts of an optimizer; one made of several names their groups in `groups_of_parts`."""
    own = optimizer.state_dict()
    if not isinstance(stored, dict) or stored.keys() != own.keys():
        raise _refusal(source, f"{key} must have the keys {', '.join(own)}")
    groups_of = getattr(optimizer, "groups_of_parts", None)
    groups = {"": optimizer.param_groups} if groups_of is None else groups_of()
    examples = _parts_of(own if any_state else _after_a_step(optimizer))
    for (suffix, part), of_part in zip(_parts_of(own).items(), groups.values(), strict=True):
        weights = [weight for group in of_part for weight in group["params"]]
        of_file = stored[suffix[1:]] if suffix else stored
        of_lbfgs = isinstance(optimizer, LBFGS)
        yield _Part(f"{key}{suffix}", of_file, part, examples[suffix], weights, of_lbfgs)


def _after_a_step(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of a copy of an optimizer, with weights of few numbers, after one step."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    small = [_small(weight) for weight in weights]
    in_place_of = {id(weight): other for weight, other in zip(weights, small, strict=True)}
    for one in (optimizer, *(part for part in vars(optimizer).values() if isinstance(part, Optimizer))):
        for values in one.state.values():  # Adagrad has one before its first step
            tensors = [value for value in values.values() if isinstance(value, Tensor)]
            in_place_of |= {id(tensor): _small(tensor) for tensor in tensors}
    example: Any = object.__new__(type(optimizer))
    example.__dict__ = copy.deepcopy(vars(optimizer), in_place_of)

    def half_the_squares() -> Tensor:
        for weight in small:
            weight.grad = weight.clone()
        return torch.stack([weight.square().sum() / 2 for weight in small]).sum()

    half_the_squares()
    make_step(example, half_the_squares if isinstance(optimizer, LBFGS) else None)
    state: dict[str, Any] = example.state_dict()
    return state


def _small(tensor: Tensor) -> Tensor:
    """Return a tensor of ones with as many dimensions, of two numbers each."""
    return torch.ones([2] * tensor.ndim, dtype=tensor.dtype, device=tensor.device)


def _check_groups(part: _Part, source: str) -> None:
    """Raise DataError if the state of a part is none of its weights."""
    key, stored = part.key, part.stored
    if not isinstance(stored, dict) or stored.keys() != part.own.keys():
        raise _refusal(source, f"{key} must have the keys {', '.join(part.own)}")
    check_structure(stored["param_groups"], part.own["param_groups"], f"{key}.param_groups", source)
    state = stored["state"]
    if not isinstance(state, dict) or not all(isinstance(values, dict) for values in state.values()):
        raise _refusal(source, f"{key}.state must be a mapping of mappings")
    if not set(state) <= set(range(len(part.weights))):
        raise _refusal(source, f"{key}.state is not that of {len(part.weights)} weights")


def _check_entry(part: _Part, index: int, values: dict[str, Any], source: str) -> None:
    """Raise DataError if what is stored of one weight has other keys, types or shapes than the example."""
    example = part.example["state"].get(index)
    key = f"{part.key}.state.{index}"
    if example is None:
        raise _refusal(source, f"{key} is unknown, the optimizer keeps nothing of this weight")
    optional = set(LATER)
    if part.of_lbfgs and values.get("n_iter") == 0:  # it has found no gradient to follow
        optional |= example.keys()
    for name in sorted(example.keys() ^ values.keys()):
        if name in values and name not in LATER:
            raise _refusal(source, f"{key}.{name} is unknown")
        if name in example and name not in optional:
            raise _refusal(source, f"{key}.{name} is missing")
    weight = part.weights[index]
    for name, value in values.items():
        if part.of_lbfgs:
            _check_of_all_weights(value, part.weights, f"{key}.{name}", source)
            continue
        own = example[name]
        if isinstance(own, Tensor):
            own = own if own.ndim == 0 else torch.empty_like(weight, dtype=own.dtype, device="meta")
        check_structure(value, own, f"{key}.{name}", source)


def _check_of_all_weights(value: Any, weights: list[Tensor], key: str, source: str) -> None:
    """Raise DataError unless a value of L-BFGS is a number, a vector over all weights, or a list of these."""
    for one in value if isinstance(value, list) else [value]:
        total = sum(weight.numel() for weight in weights)
        if isinstance(one, Tensor) and tuple(one.shape) not in ((), (total,)):
            raise _refusal(source, f"{key} is {describe(one)}, the weights have {total} numbers")
        if not isinstance(one, Tensor | int | float | None):
            raise _refusal(source, f"{key} is of another type than it must be")
