"""Networks of timm, an optional package (N14)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import adapt_input_conv, group_parameters
from torch import nn

from ..errors import ConfigError
from ..settings.nearest_name import did_you_mean
from .external import load_state, not_downloaded, read_state, set_dropout
from .fine_tuning import freeze, freeze_problems, head_parameter_names, heads

DEFAULT = "default"


def pretrained_cfg(arch: str, weights: str | None = None) -> Any:
    """Return timm's pretrained_cfg of a network with these weights; None if timm has no such network."""
    return timm.models.get_pretrained_cfg(_full_name(arch, weights)) if timm.is_model(arch) else None


def timm_problems(arch: str, weights: str | None, frozen: list[str]) -> list[str]:
    """Return the errors in the names of a network of timm, of its weights and of layers to freeze."""
    name, dot, tag = arch.partition(".")
    if dot and timm.is_model(name):
        return [f"model.arch={arch}: names weights too; write model.arch={name} model.weights={tag}"]
    if not timm.is_model(arch):
        return [f"model.arch={arch}: timm has no such network; {did_you_mean(arch, timm.list_models())}"]
    if pretrained_cfg(arch) is None or not pretrained_cfg(arch).classifier:
        return [f"model.arch={arch}: is no classification network: it has no head"]
    if not (weights is None or weights in _published(arch) or Path(weights).is_file()):
        hint = did_you_mean(weights, _published(arch)) if _published(arch) else "timm publishes none"
        return [f"model.weights={weights}: no file, and no weights of {arch}; {hint}"]
    if not frozen:
        return []
    with torch.device("meta"):
        return freeze_problems(timm.create_model(arch), frozen)


def timm_network(
    arch: str,
    weights: str | None,
    in_channels: int,
    classes: int,
    dropout: float | None,
    frozen: list[str],
    load: bool = True,
) -> nn.Module:
    """Return a network of timm for `in_channels` and `classes`; without `load`, `weights` are not loaded.

    With pretrained weights, a head for another number of classes has new initial weights, and timm adapts
    the first filters to the number of channels. Raises ConfigError for names that do not exist or a file of
    another network, DataError for weights that cannot be read or downloaded.
    """
    problems = timm_problems(arch, weights if load else None, frozen)
    if problems:
        raise ConfigError(problems)
    name = _full_name(arch, weights)
    options: dict[str, Any] = {"in_chans": in_channels, "num_classes": classes}
    if load and weights in _published(arch):
        retries = logging.getLogger("huggingface_hub")
        level = retries.level
        try:
            retries.setLevel(logging.ERROR)
            network = timm.create_model(name, pretrained=True, **options)
        except Exception as error:  # the type depends on the hub's client
            address = f" ({pretrained_cfg(arch, weights).hf_hub_id or 'timm'})"
            raise not_downloaded(str(weights), address, error) from error
        finally:
            retries.setLevel(level)
    else:
        network = timm.create_model(name, **options)
        if load and weights is not None:
            _load_file(network, arch, Path(weights), in_channels)
    assert isinstance(network, nn.Module)
    if heads(network)[-1] not in dict(network.named_modules()):
        raise ConfigError([f"model.arch={arch}: is no classification network: it has no head"])
    set_dropout(network, dropout, heads(network)[-1])
    freeze(network, frozen)
    return network


def timm_layer_depths(network: nn.Module) -> dict[str, int]:
    """Return the depth of each parameter below the head, by timm's own groups of layers (its layer_decay)."""
    matcher = network.group_matcher(coarse=False)  # type: ignore[operator]
    groups: dict[str, int] = group_parameters(network, matcher, reverse=True)
    head, last = head_parameter_names(network), max(groups.values())
    return {name: 0 if name in head else last - groups[name] for name, _ in network.named_parameters()}


def _published(arch: str) -> list[str]:
    """Return the names of the weights that timm can download: default, and the tags of the network."""
    names = timm.models.list_pretrained(f"{arch}.*")
    return [DEFAULT, *(name.partition(".")[2] for name in names)] if names else []


def _full_name(arch: str, weights: str | None) -> str:
    """Return timm's name of a network with its weights' tag, which can imply another image size."""
    tagged = weights is not None and weights != DEFAULT and weights in _published(arch)
    return f"{arch}.{weights}" if tagged else arch


def _load_file(network: nn.Module, arch: str, path: Path, in_channels: int) -> None:
    """Load a state dict; its head may be for other classes, and three-channel filters are adapted."""
    state, initial = read_state(path), network.state_dict()
    first = pretrained_cfg(arch).first_conv or ()
    for name in [first] if isinstance(first, str) else first:
        key = f"{name}.weight"
        if key in state and key in initial and state[key].shape[1] == 3 != initial[key].shape[1]:
            state[key] = adapt_input_conv(in_channels, state[key])
    load_state(network, arch, path, state, heads(network))
