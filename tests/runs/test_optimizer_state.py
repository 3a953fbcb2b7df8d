"""The state of an optimizer in a checkpoint: whatever lacks, is left over or has another form is refused."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnntrain.errors import DataError
from cnntrain.optim.optimizer_stages import OptimizerStages
from cnntrain.optim.settings import Adagrad, Adam, AdamW, Lbfgs, Muon, Nesterov, Optim, RmsProp, Sgd, Switch
from cnntrain.regularization.settings import Regularizers
from cnntrain.schedule.settings import Constant
from cnntrain.training.weight_update import Update

UPDATES = 3
OPTIMIZERS = [
    Sgd(),
    Sgd(final_momentum=0.99),
    Nesterov(),
    Nesterov(final_momentum=0.99),
    Adagrad(),
    RmsProp(momentum=0.9),
    Adam(),
    AdamW(),
    Muon(),
    Muon(rest="sgd"),
    Lbfgs(mini_batches=True),
    Switch(switch_epoch=0.2),
]
State = dict[str, Any]


class Network(nn.Module):
    """A convolution and a linear layer, and a layer that gets no gradient."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.used = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 2))
        self.unused = nn.Linear(4, 2)


def new_update(option: Optim, network: Network) -> Update:
    """Return the update of a network, without penalties and clipping."""
    weights = list(network.parameters())
    stages = OptimizerStages(option.stages(weights, False, 10, 1), Constant(warmup_epochs=0).build(10, 1))
    return Update(network, stages, Regularizers().build(network), None, torch.device("cpu"), False)


def trained(option: Optim) -> Update:
    """Return an update that was applied some times."""
    network = Network()
    update = new_update(option, network)
    images = torch.randn(4, 1, 4, 4)

    def backward() -> Tensor:
        loss = network.used(images).square().sum()
        loss.backward()
        return loss.detach()

    for step in range(UPDATES):
        update.apply(step, backward, recording=False)
    return update


def check(option: Optim, state: State, updates: int = UPDATES) -> None:
    new_update(option, Network()).check_state(state, "last.pt", updates)


def parts(state: State) -> Iterator[tuple[str, State]]:
    """Yield each part of the optimizers' state that has an entry of a weight, with its key."""
    for number, one in enumerate(state["optimizers"]):
        key = f"update.optimizers[{number}]"
        for name, part in {"": one}.items() if "state" in one else one.items():
            if part["state"]:
                yield f"{key}{name and '.'}{name}", part


def emptied(part: State) -> str:
    part["state"].clear()
    return ".state"


def without_a_weight(part: State) -> str:
    last = max(part["state"])
    del part["state"][last]
    return f".state.{last} is missing"


def without_a_key(part: State) -> str:
    first = min(part["state"])
    key = min(part["state"][first])
    for values in part["state"].values():
        del values[key]
    return f".state.{first}.{key} is missing"


def of_another_shape(part: State) -> str:
    first = min(part["state"])
    key = next(key for key, value in part["state"][first].items() if isinstance(value, Tensor) and value.ndim)
    part["state"][first][key] = part["state"][first][key][:-1]
    return f".state.{first}.{key} is "


def of_an_unused_weight(part: State) -> str:
    unused = len([number for group in part["param_groups"] for number in group["params"]]) - 1
    part["state"][unused] = copy.deepcopy(part["state"][min(part["state"])])
    return f".state.{unused}"


@pytest.mark.parametrize("option", OPTIMIZERS, ids=str)
@pytest.mark.parametrize(
    "damage", [emptied, without_a_weight, without_a_key, of_another_shape, of_an_unused_weight]
)
def test_a_damaged_state_is_refused_with_its_key(option: Optim, damage: Callable[[State], str]) -> None:
    whole = trained(option).state_dict()
    check(option, whole)
    assert list(parts(whole))
    for index, (key, _) in enumerate(parts(whole)):
        state = copy.deepcopy(whole)
        _, part = list(parts(state))[index]
        message = re.escape(f"last.pt: {key}{damage(part)}")
        with pytest.raises(DataError, match=message):
            check(option, state)


@pytest.mark.parametrize("option", OPTIMIZERS, ids=str)
def test_of_an_earlier_version_only_an_emptied_state_is_known_to_lack_entries(option: Optim) -> None:
    state = trained(option).state_dict()
    del state["weights_with_state"]
    check(option, state)
    key, _ = next(parts(state))
    for other, part in list(parts(state)):
        if other.startswith("update.optimizers[0]"):
            part["state"].clear()
    with pytest.raises(DataError, match=re.escape(f"{key}.state is empty")):
        check(option, state)
    check(option, new_update(option, Network()).state_dict(), updates=0)


def test_sgd_without_momentum_keeps_no_state() -> None:
    option = Sgd(momentum=0.0)
    state = trained(option).state_dict()
    assert state["weights_with_state"] == [[[]]]
    check(option, state)


def test_filters_that_were_not_trained_yet_have_no_state() -> None:
    """As in the first epochs of model.head_epochs, in which the head is trained alone."""
    option = Muon()
    state = trained(option).state_dict()
    filters = state["optimizers"][0]["filters"]["state"]
    filters.clear()
    state["weights_with_state"][0][0] = []
    check(option, state)
    del state["weights_with_state"]
    check(option, state)
