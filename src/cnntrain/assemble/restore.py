"""Rebuilds the parts of an earlier run from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..config import stored_config
from ..config.resolve_network_input import resolve_network_input
from ..config.resume_overrides import difference
from ..data.fingerprint import check_fingerprint
from ..errors import DataError
from ..loss.criterion import Criterion
from ..preprocessing.preprocess import Preprocess
from ..runs.checkpoint import State
from ..runs.checkpoint_schema import check_structure, reading
from ..settings.config_tree import Config
from ..settings.fields import format_value
from ..settings.network_input import NetworkInput
from .parts import adapt_network, build_criterion


def check_configuration(config: Config, state: State, run: Path) -> None:
    """Raise DataError if a checkpoint was written with another configuration than its run's folder has."""
    written = stored_config.from_yaml(state["config"], f"{run}: checkpoint")
    found = difference(config, written)
    if found is not None:
        key, now, before = found
        raise DataError(
            f"run={run}: config.yaml has {key}={format_value(now)}, its checkpoint was written with "
            f"{key}={format_value(before)}; write {format_value(before)} into config.yaml, or start a new run"
        )


def restore_criterion(config: Config, names: list[str], state: State, source: str) -> Criterion:
    """Return the loss with the label statistics of a checkpoint; raises DataError where they do not fit."""
    with reading("loss", source):
        criterion = build_criterion(config, names, state["loss"])
        criterion.check_statistics(config.data.target_kind())
    check_structure(state["loss"], criterion.state_dict(), "loss", source)
    return criterion


def rebuild_network(config: Config, criterion: Criterion, network_input: NetworkInput) -> nn.Module:
    """Return the network of an earlier run, to load its checkpoint; files of initial weights are not read."""
    network: nn.Module = config.model.rebuild(
        network_input.channels, criterion.outputs, network_input.size, config.regularization.dropout
    )
    adapt_network(config, criterion, network)
    return network


def restore_preprocessing(config: Config, state: State, source: str) -> Preprocess:
    """Return the preprocessing stored in a checkpoint; raises DataError where it does not fit."""
    with reading("preprocess", source):
        network_input = resolve_network_input(config, tuple(state["image_shape"]))
        preprocess: Preprocess = config.preprocessing.restore(state["preprocess"], network_input)
        size = torch.Size((1, *state["image_shape"]))
        shape = tuple(preprocess(torch.zeros(size, dtype=torch.uint8)).shape[1:])
    if shape != preprocess.output_shape:
        raise DataError(f"{source}: preprocess gives {shape}, the network takes {preprocess.output_shape}")
    return preprocess


def check_data(state: State, data: dict[str, Any], run: Path) -> None:
    """Raise DataError if the data found now are not those of a checkpoint."""
    stored = state.get("data") or data  # none: written by an earlier version
    check_fingerprint(stored | {"names": state["names"], "shape": state["image_shape"]}, data, run)
