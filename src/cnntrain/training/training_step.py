"""One training step: preprocessing, mixing, forward pass, loss, backward pass, update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..averaging.average import Average
from ..initialization.whitening import TimedBias
from ..instruments.instrument import BACKWARD, FORWARD, LOSS, PREPROCESSING, UPDATE
from ..loss.criterion import Criterion
from ..machine_errors import OutOfMemory, is_out_of_memory, machine_error
from ..model.fine_tuning import HeadWarmUp
from ..preprocessing.preprocess import Preprocess
from ..regularization.distillation import Teacher
from ..regularization.mixing import add_noise, mix
from ..regularization.settings import Regularizers
from ..runs.checkpoint import State
from ..runs.checkpoint_schema import check_structure
from ..seeding import seed_torch
from .device import Compute
from .image_sizes import ImageSizes
from .process_group import ALONE, ProcessGroup
from .weight_update import Update, UpdateResult


@dataclass(frozen=True)
class StepResult:
    """Results of a step, still on the device; metric_sum: the sum of the primary metric over the images."""

    update: UpdateResult
    metric_sum: Tensor
    images: int


# A batch is divided in two so often, at most, where memory is too small for it.
MOST_DIVISIONS = 4


class StepOutOfMemory(OutOfMemory):
    """A training step needed more memory than there is."""


class TrainingStep:
    """Performs one update of a network's weights from one batch.

    The batch is split into `accumulate_steps` parts whose gradients are averaged. The result is that of one
    batch except where a batch is used as a whole: batch normalization takes the statistics of each part, and
    mixup and CutMix draw a mixing coefficient for each part. parts_per_batch: into how many smaller ones each
    part is divided, where memory is too small for it. group: the processes among which a batch is divided
    before, each share being used as a whole in the same way; gradients, loss and metric are those of the
    whole batch in each of them.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocess: Preprocess,
        criterion: Criterion,
        update: Update,
        average: Average | None,
        regularization: Regularizers,
        compute: Compute,
        seed: int,
        accumulate_steps: int = 1,
        compile: bool = False,
        head_epochs: int = 0,
        timed_bias: TimedBias | None = None,
        image_sizes: ImageSizes | None = None,
    ):
        self.network = network
        self.preprocess = preprocess
        self.criterion = criterion
        self.update = update
        self.average = average
        self.regularization = regularization
        self.compute = compute
        self.seed = seed
        self.accumulate_steps = accumulate_steps
        self.parts_per_batch = 1
        self.head_warm_up = HeadWarmUp(network, head_epochs)
        self.timed_bias = timed_bias
        self.image_sizes = image_sizes
        # Set for a run that is distilled from another.
        self.teacher: Teacher | None = None
        self.group: ProcessGroup = ALONE
        self._forward = torch.compile(network) if compile else network

    def run(self, step: int, images: Tensor, labels: Tensor, recording: bool) -> StepResult:
        """Perform the update that follows `step` updates; images (b, H, W, C) uint8, labels (B, …).

        images: the group's share of the batch, labels: of the whole batch. recording: whether the instruments
        measure it, for a record. Raises NonFinite and StepOutOfMemory.
        """
        metric_sums: list[Tensor] = []
        if self.timed_bias is not None:
            self.timed_bias.begin_step(step)

        def backward() -> Tensor:
            data_loss, metric_sum = self._backward(step, images, labels)
            metric_sums.append(metric_sum)
            return data_loss

        try:
            with self.update.instruments.around_step(step, recording):
                result = self.update.apply(step, backward, recording)
        except Exception as error:
            if is_out_of_memory(error):
                in_line_search = self.update.optimizers.stage(step).line_search
                raise StepOutOfMemory(str(machine_error(error, in_line_search))) from error
            raise
        if self.average is not None:
            with self.update.instruments.around_part(UPDATE):
                self.average.after_step(step + 1)
        # A line search evaluates the loss several times, first at the weights before the step.
        return StepResult(result, metric_sums[0], len(labels))

    def can_divide(self, images_per_update: int) -> bool:
        """Return whether parts of half the size, of two images at least, may be tried."""
        smaller = 2 * self.parts_per_batch
        return smaller <= 2**MOST_DIVISIONS and images_per_update >= 2 * self.accumulate_steps * smaller

    def load(self, state: State, source: str) -> None:
        """Restore network, update and average of a checkpoint; raises DataError naming what does not fit."""
        average = None if self.average is None else self.average.state_dict()
        check_structure(state["network"], self.network.state_dict(), "network", source)
        check_structure(state["average"], average, "average", source)
        self.update.check_state(state["update"], source, state["progress"]["step"])
        self.network.load_state_dict(state["network"])
        self.update.load_state_dict(state["update"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def _backward(self, step: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Accumulate the gradients of a batch's data loss; return it and the sum of the primary metric."""
        seed_torch(self.seed, "step", step, *self.group.seed_parts)
        loss_sum = torch.zeros((), device=self.compute.device)
        metric_sum = torch.zeros((), device=self.compute.device)
        count = self.accumulate_steps * self.parts_per_batch
        own = labels[self.group.share.of(len(labels))]
        parts = list(zip(images.chunk(count), own.chunk(count), strict=True))
        # A part counts by the weight of its labels, as within one batch, where classes have weights.
        whole = [part_labels for _, part_labels in parts] if self.group.size == 1 else [labels]
        total = sum(self.criterion.weight(some) for some in whole)
        around_part = self.update.instruments.around_part
        for number, (part, part_labels) in enumerate(parts, self.group.rank * count):
            weight = self.criterion.weight(part_labels) / total
            loss, metric = self._part_loss(step, number, part, part_labels, weight, len(part) / len(labels))
            with around_part(BACKWARD):
                torch.autograd.backward(self.update.scaler.scale(loss))
            with around_part(LOSS):
                loss_sum += loss.detach()
                metric_sum += metric
        gradients = [weight.grad for weight in self.update.weights if weight.grad is not None]
        self.group.add_up_training(self.network, [loss_sum, metric_sum, *gradients])
        return loss_sum, metric_sum

    def _part_loss(
        self, step: int, number: int, images: Tensor, labels: Tensor, weight: Tensor | float, fraction: float
    ) -> tuple[Tensor, Tensor]:
        """Return the share of a part of a batch in its data loss, and the sum of the part's primary metric.

        number: of the part in the batch. weight: of its labels, relative to the whole batch; fraction: of the
        batch's images.
        """
        around_part = self.update.instruments.around_part
        with around_part(PREPROCESSING):
            inputs = self.preprocess(images)
            if self.image_sizes is not None:
                inputs = self.image_sizes.resized(inputs, step)
            mixing = (labels, self.regularization, self.seed, step, number)
            mixed = mix(inputs, *mixing)
            inputs = add_noise(mixed.inputs, self.regularization.input_noise)
        with self.compute.autocast(), around_part(FORWARD):
            outputs = self._forward(inputs)
        scores = outputs if isinstance(outputs, Tensor) else outputs[0]
        with around_part(LOSS):
            loss = total_data_loss(self.network, outputs, partial(mixed.loss, self.criterion)) * weight
            metric = self.criterion.primary_metric(scores.detach(), mixed.dominant_labels()).sum()
        if self.teacher is not None:
            with self.compute.autocast():
                targets = self.teacher.targets(mix(self.teacher.preprocess(images), *mixing).inputs)
            imitation = total_data_loss(self.network, outputs, partial(self.teacher.loss, targets))
            loss = self.teacher.blend(loss, imitation * fraction)
        return loss, metric


def total_data_loss(
    network: nn.Module, outputs: Tensor | tuple[Tensor, ...], loss: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return the data loss of a network's outputs, including the weighted losses of auxiliary heads.

    loss: scores → loss.
    """
    if isinstance(outputs, Tensor):
        return loss(outputs)
    scores, *auxiliary = outputs
    weight: Any = network.auxiliary_weight
    total = loss(scores)
    for head_scores in auxiliary:
        total = total + weight * loss(head_scores)
    return total
