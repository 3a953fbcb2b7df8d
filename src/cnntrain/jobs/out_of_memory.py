"""Training where memory is too small for a batch: the same updates, from smaller parts of each batch."""

from __future__ import annotations

from ..assemble.run import Assembled, assemble
from ..output_streams import print_labelled
from ..runs.run_folder import RunFolder
from ..runs.signals import StopSignals
from ..settings.config_tree import Config
from ..training.device import free_device_memory
from ..training.stop_rule import StopRule
from ..training.training_step import MOST_DIVISIONS, StepOutOfMemory, TrainingStep


def train_within_memory(
    config: Config, folder: RunFolder, assembled: Assembled, signals: StopSignals, stop_rule: StopRule
) -> None:
    """Train to the end; where a step runs out of memory, go on from the newest checkpoint with smaller parts.

    The run is assembled anew then, in place, as what a failed step has left behind must not count. Raises
    StepOutOfMemory where the parts become too small or too many.
    """
    while True:
        try:
            assembled.trainer.train(signals, stop_rule)
            return
        except StepOutOfMemory as error:
            step, images = assembled.trainer.step, assembled.trainer.train_batches.batch_size
            if step.group.size > 1:
                raise StepOutOfMemory(
                    f"{error}; with several processes no batch is divided: raise trainer.accumulate_steps"
                ) from error
            if not step.can_divide(images):
                parts = step.accumulate_steps * step.parts_per_batch
                raise StepOutOfMemory(
                    f"{error}; {parts} parts of a batch were tried, the most (there are up to "
                    f"{2**MOST_DIVISIONS} for each of trainer.accumulate_steps, of two images at least)"
                ) from error
            parts = 2 * step.parts_per_batch
        # Outside the handler: its exception keeps the tensors of the failed step.
        listeners = assembled.trainer.recorder.listeners
        assembled.trainer.recorder.close()
        splits = assembled.parts.splits
        del assembled.trainer, assembled.parts, step
        free_device_memory()
        state, _ = folder.checkpoints.load_last()
        state["progress"]["parts_per_batch"] = parts
        again = assemble(config, folder, state, splits)
        again.trainer.recorder.listeners = listeners
        assembled.trainer, assembled.parts = again.trainer, again.parts
        again.trainer.save()
        print_labelled([division_line(again.trainer.step, images)])


def division_line(step: TrainingStep, images: int) -> str:
    """Return what a user should know of batches that are divided; images: those of an update."""
    count = step.accumulate_steps * step.parts_per_batch
    return (
        f"notice    out of memory: the {images} images of an update are processed in {count} parts "
        f"of {-(-images // count)}, whose gradients are averaged; batch normalization takes its statistics "
        "from each part"
    )
