"""A network of the user's own (N14): their function is found, called, and tried on two images."""

from __future__ import annotations

import copy
import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..user_code import UserFunction, kind_of
from .external import set_dropout

# How torch says that a map is too small for a layer, which costs.layer_costs reports with the size needed.
TOO_SMALL = re.compile(r"[Oo]utput size is too small|[Kk]ernel size can't be greater than actual input size")


def custom_problems(factory: str, arguments: dict[str, Any]) -> list[str]:
    """Return the errors that prevent a call of `factory` with in_channels, classes and `arguments`."""
    return _user_function(factory, arguments).problems()


def custom_network(
    factory: str,
    arguments: dict[str, Any],
    in_channels: int,
    classes: int,
    image_size: tuple[int, int],
    dropout: float | None,
) -> nn.Module:
    """Return factory(in_channels=…, classes=…, **arguments), tried in evaluation and in training.

    Raises ConfigError if the function is not found, does not accept these arguments, fails, changes
    what training depends on, or does not return a torch.nn.Module with weights whose output is (N, classes).
    """
    function = _user_function(factory, arguments)
    network = function.call(in_channels=in_channels, classes=classes)
    if not isinstance(network, nn.Module):
        raise function.wrong(f"returned {kind_of(network)}; it must return a torch.nn.Module")
    if isinstance(network, torch.jit.ScriptModule):
        raise function.wrong("returned a ScriptModule; leave torch.jit.script out")
    images = torch.zeros(2, in_channels, *image_size)
    height, width = image_size
    shape = f"images of {height}x{width}x{in_channels},"
    for action, trial in (("its forward pass, of", _problem), ("a training step, on", _training_problem)):
        with function.running(f"{action} {shape}"):
            try:
                problem = trial(network, images, classes)
            except RuntimeError as error:
                if TOO_SMALL.search(str(error)) is None:
                    raise
                problem = None
        if problem is not None:
            raise function.wrong(problem)
    set_dropout(network, dropout)
    return network


def _user_function(factory: str, arguments: dict[str, Any]) -> UserFunction:
    return UserFunction("model.factory", factory, arguments, keywords=("in_channels", "classes"))


def _problem(network: nn.Module, images: Tensor, classes: int) -> str | None:
    """Return what is wrong with a network or its output in evaluation; lazy layers get their weights."""
    training = network.training
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            network.eval()
            training_parts = [name for name, part in network.named_modules() if part.training]
            if training_parts:
                part = training_parts[0] or "it"
                return (
                    f"eval() leaves {part} in training mode, and with it dropout and batch normalization; "
                    "call super().train(mode) in its train()"
                )
            if any(map(is_lazy, network.parameters())):
                network(images)
            before = _shapes(network)
            output = network(images)
    finally:
        network.train(training)
    if problem := _changed(before, network, "its forward pass"):
        return problem
    if extra := [name for name, value in network.state_dict().items() if not isinstance(value, Tensor)]:
        return f"its state has {extra[0]}, which is no tensor; checkpoints hold tensors only, so use a buffer"
    if problem := _output_problem(output, len(images), classes, "evaluation"):
        return problem
    for name, weight in network.named_parameters():
        if weight.dtype != torch.float32:
            kind = str(weight.dtype).removeprefix("torch.")
            return f"its weights {name} are of type {kind}; leave them float32 (trainer.precision=bf16 casts)"
    if not any(weight.requires_grad for weight in network.parameters()):
        return "the network has no weights to train"
    if not output.requires_grad:
        return "its scores have no gradient; leave out detach(), torch.no_grad() and rounding in forward"
    return None


def _training_problem(network: nn.Module, images: Tensor, classes: int) -> str | None:
    """Return what is wrong with a network in training: two steps are made with a copy of it.

    A network that cannot be copied is not tried.
    """
    try:
        copied = copy.deepcopy(network)
    except Exception as error:  # whatever is in a user's network; a run itself makes no copies
        if "deepcopy protocol" not in str(error):
            return None
        return "it keeps a tensor of one forward pass for the next, with its graph; keep tensor.detach()"
    before = _shapes(copied)
    copied.train()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        inputs = torch.randn(images.shape)
        for _ in range(2):
            outputs = copied(inputs.clone())
            scores = outputs if isinstance(outputs, tuple) else (outputs,)
            if len(scores) > 1 and not isinstance(getattr(copied, "auxiliary_weight", None), float):
                return (
                    "the network returns several tensors in training; return one, or set its attribute "
                    "auxiliary_weight, the weight of the losses of the others"
                )
            for one in scores:
                if problem := _output_problem(one, len(images), classes, "training"):
                    return problem
            torch.autograd.backward([one.float().logsumexp(1).sum() for one in scores])
    if problem := _changed(before, copied, "a training step"):
        return problem
    sparse = [name for name, w in copied.named_parameters() if w.grad is not None and w.grad.is_sparse]
    if sparse:
        return f"the gradient of {sparse[0]} is sparse; penalties and clipping need sparse=False"
    return None


def _output_problem(output: object, images: int, classes: int, mode: str) -> str | None:
    """Return what is wrong with the output of a forward pass in a mode, or None."""
    if not isinstance(output, Tensor):
        return f"the network returns {kind_of(output)} in {mode}; it must return one tensor"
    shape = (images, classes)
    if tuple(output.shape) != shape:
        found = tuple(output.shape)
        return f"the network returns scores of {found} in {mode} for {images} images, not {shape}"
    return None


def _changed(before: dict[str, torch.Size], network: nn.Module, action: str) -> str | None:
    """Return an error if the weights and buffers of a network are not those of before any more, or None."""
    after = _shapes(network)
    for name in [*after, *before]:
        if after.get(name) != before.get(name):
            change = "changes the shape of" if name in before and name in after else "adds or removes"
            return f"{action} {change} {name}; no checkpoint could be loaded"
    return None


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items() if isinstance(value, Tensor)}
