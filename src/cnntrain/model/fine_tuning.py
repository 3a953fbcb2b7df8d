"""Training a network from elsewhere in part: its head, and what is frozen (N14).

The head is the layer that gives the scores. It never freezes, so that `*` means all other layers: frozen
features under a head that trains.
"""

from __future__ import annotations

from torch import nn

from ..errors import ConfigError
from ..layer_names import is_named, layers_of, pattern_problems


def heads(network: nn.Module) -> list[str]:
    """Return the name of the head: timm says which it is (of some networks two), else the last layer."""
    facts = getattr(network, "pretrained_cfg", None)
    if facts is not None:
        names = facts["classifier"]
        return [names] if isinstance(names, str) else list(names)
    kinds = nn.Linear | nn.Conv2d
    return [[name for name, module in network.named_modules() if isinstance(module, kinds)][-1]]


def of_head(network: nn.Module) -> set[str]:
    """Return the names of the head's tensors."""
    inside = tuple(f"{head}." for head in heads(network))
    return {name for name, _ in network.named_parameters() if name.startswith(inside)}


def freeze_problems(network: nn.Module, patterns: list[str]) -> list[str]:
    """Return a line for each pattern that names no layer, or the head alone."""
    head, others = _layers(network)
    of_head_alone = [
        pattern
        for pattern in patterns
        if any(is_named(layer, [pattern]) for layer in head)
        and not any(is_named(layer, [pattern]) for layer in others)
    ]
    return [
        *(f"model.freeze: {pattern} names the head, which always trains" for pattern in of_head_alone),
        *pattern_problems("model.freeze", [one for one in patterns if one not in of_head_alone], others),
    ]


def freeze(network: nn.Module, patterns: list[str]) -> None:
    """Stop the layers that `patterns` name from training, but for the head; raises ConfigError."""
    problems = freeze_problems(network, patterns)
    if problems:
        raise ConfigError(problems)
    for layer, tensors in _layers(network)[1].items():
        if is_named(layer, patterns):
            for tensor in tensors:
                network.get_parameter(tensor).requires_grad_(False)


def training_mode(network: nn.Module) -> None:
    """Switch a network to training, and its frozen norms back: they keep their running statistics."""
    network.train()
    for module in network.modules():
        weights = list(module.parameters(recurse=False))
        frozen = bool(weights) and not any(weight.requires_grad for weight in weights)
        if frozen and any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False)):
            module.eval()


def _layers(network: nn.Module) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the layers of the head and the others, by name, with the names of their weights."""
    head = of_head(network)
    names = [name for name, _ in network.named_parameters()]
    return (
        layers_of(name for name in names if name in head),
        layers_of(name for name in names if name not in head),
    )
