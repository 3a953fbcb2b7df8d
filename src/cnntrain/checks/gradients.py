"""Gradients of data loss and penalties, of every trained tensor of a network (K1, K2)."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm

from ..errors import first_line
from ..loss.criterion import Criterion
from ..model.fine_tuning import training_mode
from ..regularization.penalties import WeightRegularization
from ..regularization.settings import Regularizers
from ..training.training_step import total_data_loss
from .check_result import CheckResult
from .initial_loss import NO_PENALTY
from .module_gradients import wrong_modules
from .numerical_gradient import (
    TINY,
    TOLERANCE,
    GradientError,
    backpropagated,
    compare_gradients,
    compare_together,
)

# Steps of gradient descent before the check, so that it is not made at the symmetric start alone.
BURN_IN_STEPS, BURN_IN_NORM = 10, 0.1
# Noise on the network's inputs, in units of their deviation: no two positions of an even background tie.
INPUT_NOISE = 0.1
MAX_ENTRIES = 8
PENALTY_ENTRIES = 2
# Parts of the time: the burn-in ends after the first, the comparison of entries after the second; modules and
# penalties have times of their own. To compare each tensor at least once may take several times as long: of
# the default time, a minute.
BURN_IN_PART, TENSORS_PART, MODULES_PART, PENALTIES_PART, EACH_TENSOR = 0.2, 0.8, 0.2, 0.3, 4
# Gradients all smaller than this are scaled to order 1, with the loss (K2).
SMALL = 1e-4


def check_gradients(
    network: nn.Module,
    criterion: Criterion,
    regularization: Regularizers,
    inputs: Tensor,
    labels: Tensor,
    seconds: float,
    burn_in: bool,
) -> list[CheckResult]:
    """Return the checks of the data loss's and of the penalties' gradients.

    A copy in double precision on the CPU is checked, in training mode, with the same random numbers in every
    forward pass. inputs: a few of the network, (N, C, H, W), with their labels. seconds: about how long it
    may take, which decides how many entries of each tensor are compared. Each tensor is compared at least
    once, for which a slow network gets EACH_TENSOR times as long; those that this does not suffice for are
    compared together, and named. burn_in: make a few steps first.
    """
    started = time.perf_counter()
    rng = torch.Generator().manual_seed(0)
    network, criterion = _copies_in_double_precision(network, criterion)
    inputs = inputs.detach().cpu().double().contiguous()
    noise = torch.randn(inputs.shape, generator=rng, dtype=inputs.dtype)
    inputs = inputs + INPUT_NOISE * inputs.std() * noise
    labels = labels.cpu()
    tensors = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    scale = 1.0

    def forward() -> Tensor:
        torch.manual_seed(0)
        outputs = network(inputs.clone())  # a network may work in place
        return scale * total_data_loss(network, outputs, lambda scores: criterion(scores, labels))

    if problem := _not_comparable(forward):
        return [problem, _penalty_result(network, regularization, rng, seconds)]
    if burn_in:
        _descend(forward, tensors, started + BURN_IN_PART * seconds)
    gradients = backpropagated(forward, tensors)
    largest = max((gradient.abs().max().item() for gradient in gradients.values()), default=0.0)
    if 0 < largest < SMALL:
        scale = 1 / largest
        gradients = {name: gradient * scale for name, gradient in gradients.items()}
    entries = _affordable_entries(forward, len(tensors), seconds)
    # In random order, so that tensors of all depths are among those that there is time for.
    names = [list(tensors)[index] for index in torch.randperm(len(tensors), generator=rng).tolist()]
    shuffled = {name: tensors[name] for name in names}
    until, until_each = started + TENSORS_PART * seconds, started + EACH_TENSOR * seconds
    errors = compare_gradients(forward, shuffled, gradients, entries, rng, until, until_each)
    others = {name: tensors[name] for name in names[len(errors) :]}
    together = compare_together(forward, others, gradients, rng) if others else None
    errors.sort(key=lambda error: list(tensors).index(error.tensor))
    wrong = _wrong_parts(
        network, criterion, inputs, labels, rng, time.perf_counter() + MODULES_PART * seconds
    )
    return [
        _data_result(errors, together, wrong, entries, scale, sorted(others, key=list(tensors).index)),
        _penalty_result(network, regularization, rng, seconds),
    ]


def _copies_in_double_precision(network: nn.Module, criterion: Criterion) -> tuple[nn.Module, Criterion]:
    """Return copies on the CPU, the network in training mode and without what each forward pass changes."""
    # Together, as a loss may hold a layer of the network.
    network, criterion = copy.deepcopy((network, criterion))
    network.cpu().to(memory_format=torch.contiguous_format).double()
    criterion.cpu().double()
    training_mode(network)
    fix_spectral_norms(network)
    return network, criterion


def fix_spectral_norms(network: nn.Module) -> None:
    """Let torch's spectral norms keep their singular vectors, which forward passes in training improve."""
    for module in network.modules():
        if isinstance(module, _SpectralNorm):
            module.eval()


def _not_comparable(forward: Callable[[], Tensor]) -> CheckResult | None:
    """Return why the loss is no function of the weights whose differences could be taken, or None."""
    name = "gradients"
    try:
        with torch.no_grad():
            first, second = forward().item(), forward().item()
    except RuntimeError as error:
        return CheckResult(name, None, f"the network does not run in double precision: {first_line(error)}")
    if not math.isfinite(first):
        return CheckResult(name, False, f"the loss is {first:.4g}, and so has no gradient")
    if first != second:
        sentence = "two forward passes with the same weights and seed have different losses: the network has "
        return CheckResult(name, None, f"{sentence}random numbers or a state of its own")
    return None


def _descend(loss: Callable[[], Tensor], tensors: Mapping[str, Tensor], until: float) -> None:
    """Make a few steps of gradient descent of the length BURN_IN_NORM together; none begins after `until`."""
    for _ in range(BURN_IN_STEPS):
        if time.perf_counter() > until:
            return
        gradients = backpropagated(loss, tensors)
        norm = torch.nn.utils.get_total_norm(gradients.values()).item()
        if not 0 < norm < float("inf"):
            return
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor -= BURN_IN_NORM / BURN_IN_STEPS / norm * gradients[name]


def _affordable_entries(loss: Callable[[], Tensor], tensors: int, seconds: float) -> int:
    """Return the entries of each tensor that can be compared, from the time of a forward pass."""
    with torch.no_grad():
        started = time.perf_counter()
        loss()
        duration = time.perf_counter() - started
    # Each takes two passes for most entries, and as many go into the random directions.
    affordable = seconds / max(1e-9, 2.5 * duration * max(1, tensors)) - 1
    return min(MAX_ENTRIES, max(1, int(affordable)))


def _wrong_parts(
    network: nn.Module,
    criterion: Criterion,
    inputs: Tensor,
    labels: Tensor,
    rng: torch.Generator,
    until: float,
) -> list[str]:
    """Return the modules whose own gradient is wrong, and the loss if its gradient is."""
    torch.manual_seed(0)
    with torch.no_grad():
        outputs = network(inputs.clone())
    scores = (outputs if isinstance(outputs, Tensor) else outputs[0]).detach().requires_grad_()

    def loss() -> Tensor:
        value: Tensor = criterion(scores, labels)
        return value

    gradients = backpropagated(loss, {"scores": scores})
    (error,) = compare_gradients(loss, {"scores": scores}, gradients, MAX_ENTRIES, rng)
    names = wrong_modules(network, lambda: network(inputs.clone()), rng, until)
    return [*names, "the loss"] if error.is_wrong else names


def _data_result(
    errors: list[GradientError],
    together: GradientError | None,
    wrong_parts: list[str],
    entries: int,
    scale: float,
    others: list[str],
) -> CheckResult:
    """Return the check of the data loss's gradients; together: the comparison of `others` as one."""
    name, tensors = "gradients", len(errors) + len(others)
    details = {
        "entries_per_tensor": entries,
        "loss_scale": scale,
        "wrong_modules": wrong_parts,
        "tensors": [asdict(error) | {"verdict": error.verdict} for error in errors],
        "together": None if together is None else asdict(together) | {"verdict": together.verdict},
        "only_together": others,
    }
    wrong = [error for error in (*errors, together) if error is not None and error.is_wrong]
    if not errors:
        return CheckResult(name, None, "the network has no trained weights", details)
    if wrong or wrong_parts:
        sentence = f"the backward pass of {_listed(wrong_parts)} is wrong: " if wrong_parts else ""
        sentence += f"{len(wrong)} of {tensors} tensors differ from central differences"
        if wrong:
            worst = max(wrong, key=lambda error: error.error or 0.0)
            sentence += f", {worst.tensor} by {worst.error:.2g} ({worst.verdict})"
        return CheckResult(name, False, sentence, details)
    checked = [error for error in errors if error.error is not None]
    if not checked and (together is None or not together.compared):
        sentence = "nothing could be compared: a kink lies between the two points of every difference"
        return CheckResult(name, None, sentence, details)
    kinks = sum(error.kinks for error in errors)
    tiny = [error.tensor for error in errors if error.largest < TINY]
    not_compared = [error.tensor for error in errors if error.error is None]
    sentence = f"{len(checked)} of {tensors} tensors equal central differences"
    if checked:
        worst = max(checked, key=lambda error: error.error or 0.0)
        sentence += f", the largest relative error {worst.error:.1g} ({worst.verdict})"
    if scale != 1:
        sentence += f"; the loss was multiplied by {scale:.2g}, as all gradients are small"
    if others:
        compared = "not checked"
        if together and together.compared:
            compared = (
                f"compared only together, where an error above {TOLERANCE * len(others):.1%} of one shows"
            )
        sentence += f"; {compared}: {_listed(others)}; check.seconds=60 compares more"
    if not_compared:
        sentence += f"; not checked, as every difference crosses a kink: {_listed(not_compared)}"
    if kinks:
        sentence += f"; {kinks} comparisons set apart at kinks"
    if tiny:
        sentence += f"; below {TINY:g} in {_listed(tiny)}"
    return CheckResult(name, True, sentence, details)


def _penalty_result(
    network: nn.Module, regularization: Regularizers, rng: torch.Generator, seconds: float
) -> CheckResult:
    """Return the check of the gradients that the penalties add, apart from the data loss (K2)."""
    name, until = "penalty gradients", time.perf_counter() + PENALTIES_PART * seconds
    penalties = regularization.build(network)
    gradients = penalty_gradients(network, penalties)
    tensors = {name: weight for name, weight in network.named_parameters() if name in gradients}

    def loss() -> Tensor:
        return torch.as_tensor(penalties.loss(), dtype=torch.float64)

    if not gradients:
        return CheckResult(name, None, NO_PENALTY)
    if not all(gradient.isfinite().all() for gradient in gradients.values()):
        return CheckResult(name, None, "the weights are not finite")
    errors = compare_gradients(loss, tensors, gradients, PENALTY_ENTRIES, rng, until)
    details = {"tensors": [asdict(error) | {"verdict": error.verdict} for error in errors]}
    wrong = [error for error in errors if error.is_wrong]
    worst = max(wrong or errors, key=lambda error: error.error or 0.0)
    if wrong:
        sentence = f"{len(wrong)} of {len(errors)} tensors differ, {worst.tensor} by {worst.error:.2g}"
        sentence += f" ({worst.verdict})"
        return CheckResult(name, False, sentence, details)
    sentence = (
        f"{len(errors)} of {len(tensors)} tensors equal central differences, the largest relative error "
        f"{worst.error or 0:.1g} ({worst.verdict})"
    )
    if len(errors) < len(tensors):
        sentence += "; check.seconds=60 compares more"
    return CheckResult(name, True, sentence, details)


def penalty_gradients(network: nn.Module, penalties: WeightRegularization) -> dict[str, Tensor]:
    """Return the penalties' own gradients of a network without gradients, by tensor, where they are not 0."""
    penalties.add_gradients()
    gradients = {
        name: weight.grad
        for name, weight in network.named_parameters()
        if weight.grad is not None and weight.grad.any()
    }
    network.zero_grad(set_to_none=True)
    return gradients


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
