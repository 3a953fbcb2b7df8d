"""Rules on what was learned: labels, capacity, regularization, the gap between training and validation."""

from __future__ import annotations

import math
from typing import Any

from ..augmentation.settings import Auto, Transforms
from ..checks.data.copies import MAX_COPIES
from ..checks.data.labels import IMBALANCE
from ..settings.fields import default_of, settings_of
from .finding import POOR_RESULT, SICK_UNITS, Finding
from .optimization import ENOUGH_UPDATES, FEW_UPDATES, WELL_LEARNED
from .run_record import Rule, RunRecord

# Training minus validation accuracy that counts as a gap; the validation loss at the end over its minimum.
GAP, RISE = 0.08, 1.25
# Smaller differences between accuracies are noise of a few hundred images.
STANDARD_ERRORS = 3.0
# Norms of a unit's weights: about 1 at He's initialization, 3 to 4 as a limit (Srivastava et al. 2014).
SMALLEST_MAX_NORM = 0.3
# Dropout of this rate lowers the accuracy on training batches by itself.
STRONG_DROPOUT = 0.3
# Of fewer validation images, accuracy tells little.
LEAST_IMAGES = 20
# Images of a split, of fewer no label is doubted.
LEAST_TO_DOUBT = 50
# Validation above training accuracy, and the correlation of neighboring weights of random filters.
EASIER, NOISY = 0.06, 0.1
# Labels that the network rules out, of all images and of those it predicts another class for.
WRONG_LABELS, MOST_MISTAKES = 0.05, 0.4


def random_labels(run: RunRecord) -> Finding | None:
    """Training images are learned by heart and validation stays at chance."""
    plain, val = run.plain_accuracy, run.evidence.get("val_accuracy")
    learned = max(plain or 0.0, max(run.train_accuracies, default=0.0))
    if val is None or learned < max(run.chance, val) + 0.15 or not _at_chance(run, val):
        return None
    counts, of_val = run.evidence.get("class_counts", []), run.evidence.get("val_class_counts", [])
    if run.epochs and run.epochs[-1]["step"] < FEW_UPDATES:
        return None
    if sum(of_val) < LEAST_IMAGES or any(
        val_count and not count for count, val_count in zip(counts, of_val, strict=True)
    ):
        return None  # nothing to compare with: few images, or of classes that were not trained
    return Finding(
        "labels cannot be learned",
        f"The labels do not follow from the images: {learned:.0%} of the training images are learned by "
        f"heart, and of the validation images {val:.0%} are right, as by guessing.",
        {"train_accuracy": learned, "val_accuracy": val, "chance": run.chance},
        0.9,
        {},
        explains=(*POOR_RESULT, "overfitting", "some labels wrong", "imbalance"),
    )


def some_labels_wrong(run: RunRecord) -> Finding | None:
    """The network rejects labels in training and validation alike, and these are most of its mistakes."""
    train, val = run.evidence.get("train_rejected"), run.evidence.get("val_rejected")
    plain, val_accuracy = run.plain_accuracy, run.evidence.get("val_accuracy")
    if train is None or val is None or plain is None or val_accuracy is None or run.learned < 0.4:
        return None
    if min(sum(run.evidence.get(key, [])) for key in ("class_counts", "val_class_counts")) < LEAST_TO_DOUBT:
        return None  # of which each is learned by heart, or guessed
    if min(run.val_losses, default=0.0) > math.log(len(run.evidence.get("val_class_counts") or [0] * 10)):
        return None  # worse than guessing: so sure of its mistakes that it rules out right labels, too
    of_mistakes = min(train / max(1 - plain, 1e-9), val / max(1 - val_accuracy, 1e-9))
    if min(train, val) < WRONG_LABELS or of_mistakes < MOST_MISTAKES:
        return None
    suspects = run.evidence.get("train_suspects", [])
    listed = ", ".join(f"{one['image']} ({one['label']} → {one['predicted']})" for one in suspects[:5])
    return Finding(
        "some labels wrong",
        f"About {train:.0%} of the labels are probably wrong: the network predicts another class for these "
        f"images and rules the label out. Look at training images {listed}.",
        {"train_rejected": train, "val_rejected": val, "part_of_mistakes": of_mistakes, "suspects": suspects},
        0.8,
        {"regularization.label_smoothing": 0.1} if not run.config.regularization.label_smoothing else {},
        explains=(*POOR_RESULT, "overfitting"),
    )


def overfitting(run: RunRecord) -> Finding | None:
    """Training images are learned far better than validation images, whose loss rises."""
    plain, val = run.evidence.get("train_accuracy"), run.evidence.get("val_accuracy")
    if plain is None or val is None or len(run.val_losses) < 4:
        return None
    train = max(plain, max(run.train_accuracies, default=0.0))
    rise = run.val_losses[-1] / max(min(run.val_losses), 1e-9)
    if train - max(run.val_accuracies) < GAP or rise < RISE:
        return None
    changes: dict[str, Any] = {}
    if not _augments(run):
        changes["augmentation"] = "auto"
    if not run.config.regularization.changes_weights() and run.config.regularization.l2 < 5e-3:
        changes["regularization.l2"] = 10 * max(run.config.regularization.l2, 5e-4)
    return Finding(
        "overfitting",
        f"The network learns the training images by heart: {train:.0%} of them are right, of the validation "
        f"images {max(run.val_accuracies):.0%}, and the validation loss has risen to {rise:.1f} times its "
        "smallest value.",
        {"train_accuracy": train, "val_accuracy": max(run.val_accuracies), "rise_of_val_loss": rise},
        min(0.9, 0.5 + (train - max(run.val_accuracies))),
        changes,
    )


def underfitting(run: RunRecord) -> Finding | None:
    """Training accuracy is low, validation equally so, and the network too small to learn more."""
    plain, val, losses = run.plain_accuracy, run.evidence.get("val_accuracy"), run.train_losses
    if plain is None or val is None or run.status != "finished" or len(losses) < 5:
        return None
    if run.epochs[-1]["step"] < ENOUGH_UPDATES or plain - val > 0.1:
        return None  # more epochs may be all it takes
    evidence = {"train_accuracy": plain, "val_accuracy": val}
    images = f"{plain:.0%} of the training images and {val:.0%} of the validation images are right"
    if (units := narrowest_layer(run)) is not None and run.learned < WELL_LEARNED:
        hidden = default_of(settings_of(type(run.config.model))["hidden"]) or [4 * run.classes]
        return Finding(
            "underfitting",
            f"A hidden layer of {units} unit{'s'[: units > 1]} is too narrow to tell {run.classes} classes "
            f"apart: {images}.",
            evidence | {"units": units, "classes": run.classes},
            0.7,
            {"model.hidden": [max(one, *hidden) for one in run.config.model.hidden]},
            explains=tuple(name for name in POOR_RESULT if name != "underfitting"),
        )
    back = max(1, len(losses) // 5)
    if run.learned >= 0.75 or not run.is_too_small or 1 - losses[-1] / losses[-1 - back] >= 0.08:
        return None
    return Finding(
        "underfitting",
        f"The network is too small for the task, or held back: {images}, and the loss has stopped falling.",
        evidence | {"train_data_losses": losses[-1 - back :]},
        0.5,
        {"model": "convnet"} if run.config.model.name in ("linear", "mlp") else {"model": "resnet20"},
        explains=("class never predicted", "plateau early", "stuck after a fast fall"),
    )


def narrowest_layer(run: RunRecord) -> int | None:
    """Return the units of the narrowest hidden layer, if it has at most one for each bit of a class."""
    hidden = getattr(run.config.model, "hidden", [])
    narrowest = min(hidden, default=None)
    return narrowest if narrowest is not None and narrowest <= math.log2(max(2, run.classes)) else None


def regularization_too_strong(run: RunRecord) -> Finding | None:
    """The penalty is larger than the data loss from the first step, or decay shrinks weights visibly."""
    if run.learned >= WELL_LEARNED or not run.steps:
        return None
    first, penalty = run.first_loss, run.steps[0].get("train/regularization_loss")
    decay, rate = run.config.regularization.weight_decay, getattr(run.config.optim, "lr", 0.0)
    explains = (
        *POOR_RESULT,
        *SICK_UNITS,
        "learning rate too high",
        "vanishing gradients",
        "diverged",
        "gradients clipped",
        "symmetric initialization",
        "augmentation too strong",
    )
    if first is not None and penalty is not None and math.isfinite(penalty) and penalty > first:
        return Finding(
            "regularization too strong",
            f"The penalty on the weights swamps the data loss: {penalty:.3g} beside {first:.3g} at the first "
            "step, so the network is trained to have small weights.",
            {"regularization_loss": penalty, "data_loss": first},
            0.96,
            {"regularization": "l2"},
            explains=explains,
        )
    max_norm = run.config.regularization.max_norm
    if max_norm is not None and max_norm < SMALLEST_MAX_NORM:
        return Finding(
            "regularization too strong",
            f"regularization.max_norm={max_norm:g} keeps the weights of every unit so short that little of a "
            "signal passes; 2 to 4 is usual.",
            {"max_norm": max_norm},
            0.9,
            {"regularization.max_norm": 3.0},
            explains=explains,
        )
    if decay and rate and decay * rate > 5e-3:
        return Finding(
            "regularization too strong",
            f"Weight decay takes {decay * rate:.1%} from every weight in each update, more than the "
            "gradients can restore.",
            {"weight_decay": decay, "lr": rate},
            0.9,
            {"regularization.weight_decay": 5e-4},
            explains=explains,
        )
    return None


def held_back_in_training(run: RunRecord) -> Finding | None:
    """Accuracy on training batches is far below that of the same images without dropout or augmentation."""
    plain, running = run.plain_accuracy, max(run.train_accuracies, default=None)
    if plain is None or running is None or run.learned >= WELL_LEARNED:
        return None
    dropout, settings = run.evidence.get("dropout", 0.0), run.config.regularization
    rate = max(dropout, settings.dropout or 0.0)
    if rate >= 0.7:
        return Finding(
            "dropout too high",
            f"Dropout {rate:g} leaves {1 - rate:.0%} of the units in training, too few to learn from: "
            f"{running:.0%} of the training images are right with it, {plain:.0%} without.",
            {"dropout": rate, "train_accuracy": running, "without": plain},
            0.85,
            {"regularization.dropout": 0.5 if rate > 0.8 else 0.3},
            explains=(*POOR_RESULT, *SICK_UNITS, "learning rate too high", "learning rate too low"),
        )
    if settings.input_noise >= 1:
        return Finding(
            "input noise too strong",
            f"Noise of deviation {settings.input_noise:g} on inputs of deviation 1 hides the images in "
            "training.",
            {"input_noise": settings.input_noise, "train_accuracy": running, "without": plain},
            0.85,
            {"regularization.input_noise": 0.1},
            explains=(*POOR_RESULT, *SICK_UNITS, "initial weights too large", "learning rate too high"),
        )
    # The mean over an epoch lags behind while accuracy still rises.
    settled = len(run.train_accuracies) >= 5 and running - run.train_accuracies[-3] < 0.05
    by_dropout = rate >= STRONG_DROPOUT  # which has the same effect
    # Labels of mixed images are right in part; the default augmentation suits its data.
    other_causes = by_dropout or settings.mixup or settings.cutmix or run.config.augmentation == Auto()
    if plain - running > 0.2 and settled and _augments(run) and not other_causes:
        return Finding(
            "augmentation too strong",
            f"Augmentation changes the images too much: {running:.0%} of them are right in training, "
            f"{plain:.0%} without it.",
            {"train_accuracy": running, "without": plain, "augmentation": run.config.augmentation.name},
            0.6,
            {"augmentation": "auto"},
            explains=(*POOR_RESULT, *SICK_UNITS),
        )
    return None


def label_smoothing_too_strong(run: RunRecord) -> Finding | None:
    """Label smoothing takes most of each target away."""
    smoothing = run.config.regularization.label_smoothing
    if smoothing < 0.5:
        return None
    return Finding(
        "label smoothing too strong",
        f"Label smoothing {smoothing:g} leaves {1 - smoothing:.0%} of each target to the label itself.",
        {"label_smoothing": smoothing},
        0.7,
        {"regularization.label_smoothing": 0.1},
        explains=POOR_RESULT,
    )


def imbalance(run: RunRecord) -> Finding | None:
    """Some classes have far fewer images, and these are recognized worse or never predicted."""
    counts, recalls = run.evidence.get("class_counts"), run.evidence.get("val_recalls")
    predicted, of_val = run.evidence.get("val_predicted_counts"), run.evidence.get("val_class_counts")
    if not counts or not recalls or predicted is None or of_val is None or min(counts) == 0:
        return None
    if max(counts) / min(counts) < IMBALANCE:
        return None
    rare = [index for index, count in enumerate(counts) if count * IMBALANCE <= max(counts) and of_val[index]]
    worst = [index for index in rare if recalls[index] < 0.6 * max(recalls)]
    if not worst:
        return None
    return Finding(
        "imbalance",
        f"Classes are imbalanced: the largest has {max(counts)} training images, the smallest {min(counts)}, "
        f"and {len(worst)} of the rare ones are recognized badly.",
        {"class_counts": counts, "val_recalls": recalls},
        0.8,
        {"loss.balanced": True},
        explains=("class never predicted",),
    )


def class_never_predicted(run: RunRecord) -> Finding | None:
    """A class of the validation split is never predicted."""
    of_val, predicted = run.evidence.get("val_class_counts"), run.evidence.get("val_predicted_counts")
    if of_val is None or predicted is None or run.learned < 0.5:
        return None
    never = [index for index, count in enumerate(of_val) if count >= 5 and not predicted[index]]
    if not never:
        return None
    return Finding(
        "class never predicted",
        f"{len(never)} of {len(of_val)} classes are never predicted, though the validation split has images "
        "of them.",
        {"classes": never, "val_class_counts": of_val},
        0.5,
        {"loss.balanced": True} if hasattr(run.config.loss, "balanced") and _is_imbalanced(run) else {},
    )


def copies_between_splits(run: RunRecord) -> Finding | None:
    """Validation or test images are copies of training images."""
    copies = {
        split: fraction for split, fraction in run.evidence.get("copies", {}).items() if fraction > MAX_COPIES
    }
    if not copies:
        return None
    listed = " and ".join(f"{fraction:.0%} of the {split} images" for split, fraction in copies.items())
    return Finding(
        "copies between splits",
        f"{listed} are copies of training images, so metrics on that split are too good.",
        {"copies": copies},
        0.9,
        {},
    )


def constant_labels(run: RunRecord) -> Finding | None:
    """Labels are the same for all training images, so that there is nothing to learn."""
    names = run.evidence.get("constant_labels")
    if not names:
        return None
    listed = ", ".join(names[:5]) + (" and more" if len(names) > 5 else "")
    sentence = (
        f"All training images are of class {listed}, so there is nothing to learn."
        if run.of_classes
        else f"The labels {listed} are the same for all training images: there is nothing to learn of them."
    )
    return Finding("constant labels", sentence, {"labels": names}, 0.95, {}, explains=POOR_RESULT)


def constant_channels(run: RunRecord) -> Finding | None:
    """A channel of the inputs is the same in all images."""
    channels = run.evidence.get("constant_channels")
    if not channels:
        return None
    return Finding(
        "constant channel",
        f"Channel {', '.join(map(str, channels))} of the inputs is the same in all images and tells nothing.",
        {"channels": channels},
        0.6,
        {},
    )


def validation_better(run: RunRecord) -> Finding | None:
    """Validation images are recognized better than training images, both without augmentation and dropout."""
    plain, val = run.plain_accuracy, run.evidence.get("val_accuracy")
    if plain is None or val is None:
        return None
    images = sum(run.evidence.get("val_class_counts") or [100])
    error = math.sqrt(max(val * (1 - val), 1 / images) / images)
    if val - plain < max(EASIER, STANDARD_ERRORS * error):
        return None
    return Finding(
        "validation easier than training",
        f"Validation images are recognized better than training images, {val:.0%} against {plain:.0%}, both "
        "without augmentation and dropout: they are easier, or better labelled, and say too little of "
        "new images. Mix the images before splitting them.",
        {"val_accuracy": val, "train_accuracy": plain, "val_images": images},
        0.5,
        {},
    )


def noisy_filters(run: RunRecord) -> Finding | None:
    """The first layer's filters have no structure, and validation suffers."""
    smoothness, plain = run.evidence.get("first_filters_smoothness"), run.plain_accuracy
    if smoothness is None or plain is None or smoothness > NOISY or not run.epochs:
        return None
    gap = plain - max(run.val_accuracies, default=plain)
    if gap < 2 * GAP or run.epochs[-1]["step"] < ENOUGH_UPDATES:
        return None
    return Finding(
        "noisy first filters",
        f"The filters of the first layer look like noise (neighboring weights correlate by {smoothness:.2f}, "
        f"in smooth ones by 0.5 and more), and validation is {gap:.0%} below training: see filters.png.",
        {"first_filters_smoothness": smoothness, "gap": gap},
        0.35,
        {"regularization.l2": 10 * max(run.config.regularization.l2, 5e-4)},
    )


RULES: tuple[Rule, ...] = (
    random_labels,
    some_labels_wrong,
    overfitting,
    underfitting,
    regularization_too_strong,
    held_back_in_training,
    label_smoothing_too_strong,
    imbalance,
    class_never_predicted,
    copies_between_splits,
    constant_channels,
    constant_labels,
    validation_better,
    noisy_filters,
)


def _at_chance(run: RunRecord, accuracy: float) -> bool:
    """Return whether a validation accuracy is that of guessing, within its standard error."""
    images = sum(run.evidence.get("val_class_counts") or [100])
    error = math.sqrt(run.chance * (1 - run.chance) / images)
    return accuracy < run.chance + STANDARD_ERRORS * error + 0.02


def _is_imbalanced(run: RunRecord) -> bool:
    counts = run.evidence.get("class_counts") or [1]
    return bool(max(counts) > 1.5 * min(counts))


def _augments(run: RunRecord) -> bool:
    return bool(run.config.augmentation != Transforms())
