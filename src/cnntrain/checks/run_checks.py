"""All checks of a run, in the order in which data pass through it."""

from __future__ import annotations

import copy
import time
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from ..assemble.parts import build_criterion, build_network, build_step
from ..assemble.run import Parts
from ..averaging.settings import NoAverage
from ..data.image_set import ImageSet
from ..errors import first_line
from ..model.fine_tuning import training_mode
from ..optim.settings import Adam
from ..regularization.settings import Regularizers
from ..schedule.settings import Constant
from ..seeding import seed_torch
from ..settings.config_tree import Config
from ..training.device import move_to_device
from ..training.nonfinite import NonFinite
from ..training.training_step import TrainingStep, total_data_loss
from ..user_code import place_in_users_code
from .check_result import CheckResult
from .data.audit import check_labels_and_copies
from .data.copies import MAX_COPIES
from .gradients import check_gradients, penalty_gradients
from .initial_loss import check_initial_loss, check_regularization_loss, expected_initial_loss
from .inputs import check_batch_normalization, check_inputs, check_units, turn_off_randomness
from .overfitting import Memorized, memorize, overfitting_result

# Images on which inputs, units and the initial loss are measured.
SAMPLE_IMAGES, MIN_SAMPLE_IMAGES = 256, 16
# The part of check.seconds that a forward pass of them may take; there are a few.
FORWARD_PART = 0.1
MAX_OVERFITTING_STEPS, WARMUP_STEPS = 300, 10
ADAM_LR = 1e-3


def run_checks(config: Config, parts: Parts, trained: bool) -> list[CheckResult]:
    """Return the results of all checks; nothing in `parts` and no random state of training is changed.

    trained: whether the network has been trained, so that its initial loss is not known.
    """
    step = parts.step
    sample = _sample(parts.splits.train, _affordable_images(parts, config.check.seconds))
    inputs, labels = _inputs(parts, sample), parts.splits.train.labels[sample].to(parts.compute.device)
    results = [*check_labels_and_copies(parts.splits, None, MAX_COPIES), check_inputs(inputs)]
    results.append(check_batch_normalization(step.network, config.data.batch_size))
    results += check_units(step.network, inputs)
    data_loss = _loss(parts, inputs, labels)
    if not (trained or _starts_trained(config)):
        expected = expected_initial_loss(config, parts.splits)
        results.append(check_initial_loss(data_loss, expected, config.loss.initial_spread))
    few = _one_of_each(labels, config.check.images)
    results += check_gradients(
        step.network,
        step.criterion,
        config.regularization,
        inputs[few],
        labels[few],
        config.check.seconds,
        burn_in=not trained,
    )
    results.append(_check_penalty(config, parts, inputs, labels))
    results.append(_check_overfitting(config, parts))
    return results


def _starts_trained(config: Config) -> bool:
    """Return whether a new network has weights of an earlier run or pretrained ones."""
    return config.initialization.source_run() is not None or bool(getattr(config.model, "weights", None))


def _inputs(parts: Parts, indices: Tensor) -> Tensor:
    """Return training images as the network gets them: augmented and preprocessed."""
    inputs: Tensor = parts.step.preprocess(parts.train.augmented(indices, 0, 0))
    return inputs


@torch.no_grad()
def _affordable_images(parts: Parts, seconds: float) -> int:
    """Return on how many images to measure, at most SAMPLE_IMAGES, so that a forward pass is fast enough."""
    sample = _sample(parts.splits.train, MIN_SAMPLE_IMAGES)
    network = copy.deepcopy(parts.step.network)
    turn_off_randomness(network)
    inputs = _inputs(parts, sample)
    started = time.perf_counter()
    network(inputs)
    duration = max(1e-9, time.perf_counter() - started)
    affordable = int(FORWARD_PART * seconds / duration * len(sample))
    return max(MIN_SAMPLE_IMAGES, min(SAMPLE_IMAGES, affordable))


@torch.no_grad()
def _loss(parts: Parts, inputs: Tensor, labels: Tensor) -> float:
    """Return the data loss of a batch, without dropout, label smoothing and auxiliary heads."""
    network, criterion = copy.deepcopy((parts.step.network, parts.step.criterion))
    turn_off_randomness(network)
    return float(criterion.eval()(network(inputs.clone()).float(), labels))


def _check_penalty(config: Config, parts: Parts, inputs: Tensor, labels: Tensor) -> CheckResult:
    """Return the check of the penalties on the weights, from the gradients of a batch."""
    network, criterion = copy.deepcopy((parts.step.network, parts.step.criterion))
    training_mode(network)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    seed_torch(config.seed, "check")
    loss = total_data_loss(network, network(inputs.clone()), lambda scores: criterion(scores.float(), labels))
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    data_norm = get_total_norm([gradient for gradient in gradients if gradient is not None])
    penalties = config.regularization.build(network)
    penalty_norm = get_total_norm(penalty_gradients(network, penalties).values())
    return check_regularization_loss(
        loss.item(), float(penalties.loss()), float(data_norm), float(penalty_norm)
    )


def _sample(images: ImageSet, count: int) -> Tensor:
    """Return the indices of `count` evenly spaced images."""
    count = min(count, len(images))
    return torch.arange(count) * len(images) // count


def _one_of_each(labels: Tensor, count: int) -> Tensor:
    """Return the indices of `count` images, of different classes as far as there are some."""
    if labels.ndim > 1:
        return torch.arange(min(count, len(labels)))
    seen: dict[int, int] = {}
    for index, label in enumerate(labels.tolist()):
        seen.setdefault(label, index)
    firsts = sorted(seen.values())
    others = [index for index in range(min(len(labels), 2 * count)) if index not in set(firsts)]
    return torch.tensor((firsts + others)[:count], device=labels.device)


def _check_overfitting(config: Config, parts: Parts) -> CheckResult:
    """Return the check that a new network learns a few images by heart (K5)."""
    train = parts.splits.train
    few = train.subset(_one_of_each(train.labels, config.check.overfit_images))
    images = torch.cat(list(few.chunks(len(few)))).to(parts.compute.device)
    labels = few.labels.to(parts.compute.device)

    def attempt(changed: Config) -> Memorized | None:
        try:
            step = _plain_step(changed, parts)
            enough = config.loss.learned_by_heart
            return memorize(step, images, labels, enough, MAX_OVERFITTING_STEPS, config.check.seconds)
        except NonFinite:
            return None

    try:
        own = attempt(config)
    except Exception as error:
        if (place := place_in_users_code(error)) is None:
            raise
        sentence = f"cannot be trained: {place}: {type(error).__name__}: {first_line(error)}"
        return CheckResult(f"overfits {len(few)} images", False, sentence)
    with_adam = None
    if own is None or not (own.complete or own.out_of_time):
        with_adam = attempt(replace(config, optim=Adam(lr=ADAM_LR)))
    return overfitting_result(len(few), parts.step.criterion.primary_metric_name, own, with_adam)


def _plain_step(config: Config, parts: Parts) -> TrainingStep:
    """Return the training step of a new network without regularization, at a constant learning rate."""
    config = replace(
        config,
        regularization=Regularizers(dropout=0.0),
        schedule=Constant(warmup_epochs=WARMUP_STEPS / MAX_OVERFITTING_STEPS),
        averaging=NoAverage(),
        trainer=replace(config.trainer, epochs=1, accumulate_steps=1, compile=False),
    )
    names, device = parts.splits.names, parts.compute.device
    statistics = config.loss.label_statistics(names, parts.splits.train.labels)
    criterion = build_criterion(config, names, statistics)
    network, _ = build_network(config, criterion, parts.network_input)
    move_to_device(network, parts.compute)
    return build_step(
        config, network, parts.step.preprocess, criterion.to(device), parts.compute, MAX_OVERFITTING_STEPS
    )
