"""Fine-tuning: the head of a network, frozen layers, and epochs in which the head trains alone (N14).

The head is the layer that computes the scores. It is never frozen, so that `*` matches all other layers:
frozen features and a trained head.
"""

from __future__ import annotations

from torch import nn

from ..errors import ConfigError
from ..layer_names import is_named, layers_of, pattern_problems
from .classifier import AuxiliaryClassifier


def heads(network: nn.Module) -> list[str]:
    """Return the names of the head's layers, from timm's pretrained_cfg (some networks have two).

    In networks without pretrained_cfg, the head is the last layer with a matrix of weights.
    """
    config = getattr(network, "pretrained_cfg", None)
    if config is not None:
        names = config["classifier"]
        return [names] if isinstance(names, str) else list(names)
    matrices = [name for name, weight in network.named_parameters() if weight.ndim > 1]
    return [matrices[-1].rpartition(".")[0]]


def head_parameter_names(network: nn.Module) -> set[str]:
    """Return the names of the head's parameters, those of auxiliary heads among them."""
    auxiliary = ["auxiliary"] if isinstance(network, AuxiliaryClassifier) else []
    prefixes = tuple(f"{head}." for head in [*heads(network), *auxiliary])
    return {name for name, _ in network.named_parameters() if name.startswith(prefixes)}


def freeze_problems(network: nn.Module, patterns: list[str]) -> list[str]:
    """Return an error for each pattern that matches no layer, or only the head."""
    head, others = _layers(network)
    head_only = [
        pattern
        for pattern in patterns
        if any(is_named(layer, [pattern]) for layer in head)
        and not any(is_named(layer, [pattern]) for layer in others)
    ]
    return [
        *(f"model.freeze: {pattern} names the head, which always trains" for pattern in head_only),
        *pattern_problems(
            "model.freeze", [pattern for pattern in patterns if pattern not in head_only], others
        ),
    ]


def freeze(network: nn.Module, patterns: list[str]) -> None:
    """Freeze the layers that match `patterns`, except the head; raises ConfigError where one matches none."""
    problems = freeze_problems(network, patterns)
    if problems:
        raise ConfigError(problems)
    for layer, tensors in _layers(network)[1].items():
        if is_named(layer, patterns):
            for tensor in tensors:
                network.get_parameter(tensor).requires_grad_(False)


class HeadWarmUp:
    """The first epochs of a run, in which the head trains alone: the other layers are frozen until then."""

    def __init__(self, network: nn.Module, epochs: int):
        head = head_parameter_names(network) if epochs else set()
        self.epochs = epochs
        self._others = [
            weight
            for name, weight in network.named_parameters()
            if epochs and weight.requires_grad and name not in head
        ]

    def begin_epoch(self, epoch: int) -> None:
        """Freeze or release the other layers for the epoch that follows `epoch` epochs."""
        for weight in self._others:
            weight.requires_grad_(epoch >= self.epochs)


def training_mode(network: nn.Module) -> None:
    """Set training mode, except in frozen norms, whose running statistics must not change."""
    network.train()
    for module in network.modules():
        weights = list(module.parameters(recurse=False))
        frozen = bool(weights) and not any(weight.requires_grad for weight in weights)
        if frozen and any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False)):
            module.eval()


def _layers(network: nn.Module) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the layers of the head and the other layers, each with the names of its parameters."""
    head = head_parameter_names(network)
    names = [name for name, _ in network.named_parameters()]
    return (
        layers_of(name for name in names if name in head),
        layers_of(name for name in names if name not in head),
    )
