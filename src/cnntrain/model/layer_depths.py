"""The depth of a network's layers below its head, by which learning rates are graded (model.layer_decay).

As in ELECTRA (Clark et al. 2020) and BEiT (Bao et al. 2022), the head has depth 0 and each layer one more
than the next. A layer is a convolution or linear layer with its norm, or a block of several, such as a
residual block or the branches of an Inception block.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from .fine_tuning import head_parameter_names
from .inception_blocks import Branches

SEQUENCES = nn.Sequential | nn.ModuleList | nn.ModuleDict


def layer_depths(network: nn.Module) -> dict[str, int]:
    """Return the depth of each parameter by name: 0 in the head, 1 in the layer before it, and so on.

    Parameters of the network itself, such as a class token, are those of its first layer.
    """
    head = head_parameter_names(network)
    layers: list[list[str]] = [[]]
    of_network: list[str] = []
    for names, kind in _layers(network, ""):
        names = [name for name in names if name not in head]
        if kind == "network":
            of_network += names
        elif kind == "norm" or not layers[-1]:
            layers[-1] += names
        elif names:
            layers.append(names)
    layers[0] += of_network
    depths = dict.fromkeys(head, 0)
    for number, names in enumerate(layers):
        depths |= dict.fromkeys(names, len(layers) - number)
    return depths


def _layers(module: nn.Module, path: str) -> Iterator[tuple[list[str], str]]:
    """Yield the parameters' names of each layer in the order of the modules, and what it is.

    "layer", or "norm" where they belong to the layer before, or "network" where they belong to no layer.
    """
    yield [f"{path}{name}" for name, _ in module.named_parameters(recurse=False)], "network"
    for name, child in module.named_children():
        if _is_sequence(child):
            yield from _layers(child, f"{path}{name}.")
        else:
            named = dict(child.named_parameters(f"{path}{name}"))
            is_norm = all(weight.ndim < 2 for weight in named.values())
            yield list(named), "norm" if is_norm else "layer"


def _is_sequence(module: nn.Module) -> bool:
    """Return whether the children of a module follow each other.

    That is a sequence, or a module of a stack of blocks and single layers, such as a transformer's encoder.
    """
    if isinstance(module, SEQUENCES):
        return not isinstance(module, Branches)
    composite = [child for child in module.children() if _is_composite(child)]
    return len(composite) == 1 and _is_stack(composite[0])


def _is_stack(module: nn.Module) -> bool:
    """Return whether a module is a sequence of at least two blocks of one type."""
    blocks = list(module.children())
    return (
        isinstance(module, SEQUENCES)
        and len(blocks) > 1
        and len({type(block) for block in blocks}) == 1
        and _is_composite(blocks[0])
        and not isinstance(blocks[0], SEQUENCES)
    )


def _is_composite(module: nn.Module) -> bool:
    return next(module.children(), None) is not None
