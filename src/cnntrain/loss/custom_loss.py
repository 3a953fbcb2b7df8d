"""A loss of the user's own: their function or module, tried on random scores."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DataError
from ..user_code import UserFunction, kind_of
from .attribute_losses import AttributeCriterion
from .class_losses import ClassCriterion
from .criterion import Criterion, at_least_float32
from .regression_losses import ValueCriterion

# Images of the trial, those of a batch by default: some losses choose the hardest images, or compare pairs.
TRIED_IMAGES = 128


class _CustomLoss(Criterion):
    """The mean over the batch of what the user's function returns for scores and labels."""

    def __init__(self, names: list[str], function: UserFunction, called: Callable[..., Any]):
        super().__init__(names)
        self.function = function
        # A module becomes a part of this one, so that checkpoints have its buffers.
        self.called = called

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        losses = self.called(at_least_float32(scores), labels)
        if problem := _problem(losses, len(labels)):
            raise self.function.wrong(problem)
        assert isinstance(losses, Tensor)
        return at_least_float32(losses.mean())

    def check_statistics(self, target: str) -> None:
        """Do nothing: it was tried when it was built, and a further call could change its buffers."""


class CustomClassLoss(_CustomLoss, ClassCriterion):
    """A loss of the user's own for one class per image."""


class CustomAttributeLoss(_CustomLoss, AttributeCriterion):
    """A loss of the user's own for attributes."""


class CustomValueLoss(_CustomLoss, ValueCriterion):
    """A loss of the user's own for values."""


KINDS: dict[str, type[_CustomLoss]] = {
    "classes": CustomClassLoss,
    "attributes": CustomAttributeLoss,
    "values": CustomValueLoss,
}


def custom_criterion(
    function: UserFunction, target: str, names: list[str], buffers: dict[str, Tensor]
) -> Criterion:
    """Return the loss of the user's function, tried on random scores.

    buffers: the state of the loss in a checkpoint, {} for a new run. Raises ConfigError where it cannot be
    called, fails, or does not return losses that can be trained on; DataError where buffers do not fit.
    """
    made = function.load()
    if isinstance(made, type):
        called = function.call()
        if not isinstance(called, nn.Module):
            raise function.wrong("is a class, but no torch.nn.Module; name such a class, or a function")
        if weights := [name for name, _ in called.named_parameters()]:
            raise function.wrong(
                f"has weights of its own ({weights[0]}), which the optimizer does not get; make them "
                "buffers, or a part of the network (model=custom)"
            )
    else:
        called = partial(made, **function.arguments)
    criterion = KINDS[target](names, function, called)
    with function.running(f"calling it for scores of {TRIED_IMAGES}x{criterion.outputs}"):
        problem = _trial_problem(copy.deepcopy(called), criterion.outputs, target)
    if problem is not None:
        raise function.wrong(problem)
    if buffers:
        try:
            criterion.load_state_dict(buffers)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise DataError(
                f"{function.prefix}: its buffers are not those of the checkpoint: {reason}"
            ) from error
    return criterion


def _problem(losses: object, images: int) -> str | None:
    """Return what is wrong with the losses that were returned for so many images, or None."""
    expected = f"the loss of each image, a tensor ({images},), or their mean, a tensor ()"
    if not isinstance(losses, Tensor):
        return f"returned {kind_of(losses)}; it must return {expected}"
    if not losses.is_floating_point():
        return f"returned a tensor of type {str(losses.dtype).removeprefix('torch.')}; it must return floats"
    if tuple(losses.shape) not in ((), (images,)):
        return f"returned a tensor {tuple(losses.shape)} for {images} images; it must return {expected}"
    return None


def _trial_problem(called: Callable[..., Any], outputs: int, target: str) -> str | None:
    """Return what is wrong with a function as a loss of random scores, or None."""
    scores, labels = _random_scores(outputs), _labels(outputs, target)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(0)
        losses = called(scores, labels)
        if problem := _problem(losses, TRIED_IMAGES):
            return problem
        if not losses.requires_grad:
            return "its result has no gradient; leave out detach(), item(), argmax and torch.no_grad()"
        torch.autograd.backward(losses.mean())
        if scores.grad is None or not scores.grad.isfinite().all():
            return "its gradient with respect to the scores is missing or not finite, for random scores"
        if losses.ndim:
            return None
        torch.default_generator.manual_seed(0)
        twice = called(scores.detach().repeat(2, 1), labels.repeat(2, *[1] * (labels.ndim - 1)))
    # A loss that compares the images of a batch changes with their number, but is not proportional to it.
    before, after = losses.detach(), twice.detach()
    if torch.allclose(before, after, rtol=1e-3, atol=1e-6) or not torch.allclose(
        2 * before, after, rtol=1e-3
    ):
        return None
    return (
        f"returned {losses.item():.4g} for {TRIED_IMAGES} images and {twice.item():.4g} for the same images "
        "twice, so it is no mean over images; return the loss of each image, or reduction='mean'"
    )


def _random_scores(outputs: int) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(TRIED_IMAGES, outputs, generator=rng).requires_grad_()


def _labels(outputs: int, target: str) -> Tensor:
    """Return labels of the target's kind for the images of the trial, each class at least twice."""
    rng = torch.Generator().manual_seed(1)
    if target == "classes":
        return torch.arange(TRIED_IMAGES) // 2 % outputs
    if target == "attributes":
        return torch.randint(2, (TRIED_IMAGES, outputs), generator=rng).float()
    return torch.randn(TRIED_IMAGES, outputs, generator=rng)
