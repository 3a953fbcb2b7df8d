"""Each rule on records of runs: what it finds, what it leaves alone, and which of two findings stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.findings.judge import findings_of
from cnntrain.findings.run_record import RunRecord

EVIDENCE: dict[str, Any] = {
    "train_images": 1150,
    "batch_normalization": False,
    "dropout": 0.0,
    "equal_units": {"hidden.0": 0.0, "output": 0.0},
    "initial_loss": 2.3026,
    "class_counts": [115] * 10,
    "copies": {"val": 0.0, "test": 0.0},
    "input_mean": 0.0,
    "input_deviation": 1.0,
    "constant_channels": [],
    "train_accuracy": 0.99,
    "train_rejected": 0.001,
    "train_suspects": [],
    "val_accuracy": 0.96,
    "val_rejected": 0.01,
    "val_class_counts": [29] * 10,
    "val_predicted_counts": [29] * 10,
    "val_recalls": [0.96] * 10,
}


def record(
    *overrides: str,
    losses: tuple[float, ...] = (1.0, 0.5, 0.3, 0.2, 0.1, 0.08, 0.06),
    train: float = 0.98,
    val: float = 0.96,
    val_losses: tuple[float, ...] | None = None,
    ratio: float = 5e-3,
    status: str = "finished",
    first: dict[str, Any] | None = None,
    last: dict[str, Any] | None = None,
    **evidence: Any,
) -> RunRecord:
    """Return the record of a sound run, with changes."""
    config = configure(["model=mlp", f"trainer.epochs={len(losses)}", *overrides], Choices()).config
    lr = getattr(config.optim, "lr", 0.1)
    steps = [
        {
            "step": 1 + 10 * number,
            "epoch": number / 5,
            "lr": lr * (1 - number / 40),
            "train/loss": losses[min(number // 5, len(losses) - 1)],
            "train/data_loss": 2.35 if number == 0 else losses[min(number // 5, len(losses) - 1)],
            "train/regularization_loss": 0.1,
            "grad_norm": 1.5,
            "update_ratio/hidden.0.weight": ratio,
            "update_ratio/output.weight": ratio,
            **{f"gradient_norm/hidden.{layer}.weight": 0.5 for layer in range(4)},
            "gradient_norm/output.weight": 0.5,
            "activation_deviation/hidden.1": 0.6,
            **((first or {}) if number == 0 else {}),
        }
        for number in range(35)
    ]
    epochs = [
        {
            "step": 20 * (number + 1),
            "epoch": number + 1,
            "train/loss": loss + 0.1,
            "train/data_loss": loss,
            "train/accuracy": train,
            "val/loss": (val_losses or losses)[number],
            "val/accuracy": val,
            "dead_units/hidden.1": 0.1,
            **((last or {}) if number == len(losses) - 1 else {}),
        }
        for number, loss in enumerate(losses)
    ]
    return RunRecord(config, status, steps, epochs, EVIDENCE | evidence)


SOUND = (1.0, 0.5, 0.3, 0.2, 0.1, 0.08, 0.06)
FLAT = (2.3, 2.3, 2.29, 2.3, 2.3, 2.3, 2.3)
SLOW = (1.4, 1.39, 1.38, 1.37, 1.365, 1.36, 1.358, 1.358)
POOR = {"train": 0.45, "val": 0.44, "train_accuracy": 0.45, "val_accuracy": 0.44}

# What makes the rule find something, and the same run one step on the sound side of its threshold.
CASES: dict[str, tuple[RunRecord, RunRecord]] = {
    "diverged": (record(status="diverged"), record()),
    "learning rate too high": (
        record("optim.lr=9", losses=(3.0, 2.9, *FLAT[2:]), ratio=0.3, **POOR),
        record("optim.lr=9", losses=(3.0, *SOUND[1:]), ratio=0.3),
    ),
    "learning rate too low": (
        record("optim.lr=1e-6", losses=SLOW, ratio=5e-5, **POOR),
        record(
            "optim.lr=1e-6",
            losses=SLOW,
            ratio=5e-4,
            train=0.45,
            val=0.3,
            train_accuracy=0.45,
            val_accuracy=0.3,
        ),
    ),
    "gradients clipped": (
        record("trainer.max_grad_norm=0.01", losses=SLOW, **POOR),
        record("trainer.max_grad_norm=0.01"),
    ),
    "momentum too high": (
        record("optim.momentum=0.995", losses=SLOW, **POOR),
        record("optim.momentum=0.995"),
    ),
    "not learning": (
        record(losses=FLAT, train=0.1, val=0.1, train_accuracy=0.1, val_accuracy=0.1),
        record(losses=FLAT),
    ),
    "warm-up too long": (
        record("schedule.warmup_epochs=6", losses=SLOW, **POOR),
        record("schedule.warmup_epochs=6"),
    ),
    "stopped too early": (
        record(losses=(2.2, 2.0, 1.8, 1.6, 1.4, 1.2, 1.0), **POOR),
        record(losses=(2.2, 2.0, 1.8, 1.6, 1.4, 1.2, 1.0)),
    ),
    "batch too large": (
        record("data.batch_size=1000", losses=SLOW[:3], **POOR),
        record("data.batch_size=1000", losses=SLOW[:3]),
    ),
    "inputs not scaled": (record(input_deviation=0.01), record(input_deviation=0.1)),
    "symmetric initialization": (
        record(equal_units={"hidden.0": 0.97}),
        record(equal_units={"hidden.0": 0.3}),
    ),
    "initial weights too large": (
        record(first={"train/data_loss": 40.0}),
        record(first={"train/data_loss": 4.0}),
    ),
    "initial weights too small": (
        record(losses=SLOW, first={"activation_deviation/hidden.1": 1e-5}, **POOR),
        record(first={"activation_deviation/hidden.1": 1e-5}),
    ),
    "vanishing gradients": (
        record(losses=SLOW, first={"gradient_norm/hidden.0.weight": 1e-5}, **POOR),
        record(first={"gradient_norm/hidden.0.weight": 1e-5}),
    ),
    "exploding gradients": (
        record(losses=SLOW, first={"gradient_norm/hidden.0.weight": 1e4}, **POOR),
        record(first={"gradient_norm/hidden.0.weight": 1e4}),
    ),
    "dead units": (
        record(losses=SLOW, last={"dead_units/hidden.1": 0.97}, **POOR),
        record(last={"dead_units/hidden.1": 0.97}),
    ),
    "saturated units": (
        record(losses=SLOW, last={"saturated_activations/hidden.1": 0.95}, **POOR),
        record(losses=SLOW, last={"saturated_activations/hidden.1": 0.8}, **POOR),
    ),
    "batch too small": (
        record("data.batch_size=2", losses=SLOW, batch_normalization=True, **POOR),
        record("data.batch_size=2"),
    ),
    "labels cannot be learned": (
        record(val=0.1, val_accuracy=0.1),
        record(val=0.9, val_accuracy=0.9),
    ),
    "some labels wrong": (
        record(
            train=0.78,
            train_accuracy=0.8,
            val=0.78,
            val_accuracy=0.78,
            train_rejected=0.17,
            val_rejected=0.18,
        ),
        record(
            train=0.78,
            train_accuracy=0.8,
            val=0.78,
            val_accuracy=0.78,
            train_rejected=0.04,
            val_rejected=0.05,
        ),
    ),
    "overfitting": (
        record(val=0.7, val_accuracy=0.7, val_losses=(1.0, 0.8, 0.9, 1.2, 1.5, 1.8, 2.0)),
        record(val=0.95, val_losses=(1.0, 0.8, 0.9, 1.2, 1.5, 1.8, 2.0)),
    ),
    "underfitting": (record(losses=SLOW, **POOR), record(losses=SLOW)),
    "regularization too strong": (
        record(losses=SLOW, first={"train/regularization_loss": 50.0}, **POOR),
        record(first={"train/regularization_loss": 50.0}),
    ),
    "dropout too high": (record(losses=SLOW, dropout=0.95, **POOR), record(dropout=0.95)),
    "label smoothing too strong": (
        record("regularization.label_smoothing=0.9"),
        record("regularization.label_smoothing=0.2"),
    ),
    "imbalance": (
        record(class_counts=[115] * 9 + [5], val_recalls=[0.95] * 9 + [0.1]),
        record(class_counts=[115] * 9 + [5], val_recalls=[0.95] * 9 + [0.9]),
    ),
    "class never predicted": (
        record(val_predicted_counts=[32] * 9 + [0]),
        record(val_predicted_counts=[32] * 9 + [2]),
    ),
    "copies between splits": (record(copies={"val": 0.2, "test": 0.0}), record(copies={"val": 0.001})),
    "constant channel": (record(constant_channels=[1]), record(constant_channels=[])),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_finds_its_fault_first_and_leaves_the_sound_twin_alone(name: str) -> None:
    faulty, sound = CASES[name]
    found = [finding.name for finding in findings_of(faulty)]
    assert found[:1] == [name]
    assert name not in [finding.name for finding in findings_of(sound)]


def test_one_epoch_whose_loss_fell_is_too_few_and_one_whose_loss_did_not_is_no_case() -> None:
    for loss, expected in ((1.9, True), (2.3, False)):
        found = findings_of(record(losses=(loss,), **POOR))
        assert ("stopped too early" in {finding.name for finding in found}) is expected
    assert findings_of(record(losses=(0.2,))) == []


def test_dropout_explains_a_lower_accuracy_in_training_and_augmentation_is_not_blamed() -> None:
    gap = {"losses": SLOW, "train": 0.6, "val": 0.85, "train_accuracy": 0.86, "val_accuracy": 0.85}
    for overrides, expected in ((["augmentation=strong"], True), (["augmentation=strong", "D"], False)):
        overrides = ["regularization.dropout=0.5" if one == "D" else one for one in overrides]
        dropout = 0.5 if len(overrides) > 1 else 0.0
        colour = ["data=synthetic", "data.image_size=32"]
        found = findings_of(record(*colour, *overrides, dropout=dropout, **gap))
        assert ("augmentation too strong" in {finding.name for finding in found}) is expected


def test_the_default_augmentation_and_mixed_images_are_no_augmentation_that_is_too_strong() -> None:
    gap = {"train": 0.5, "train_accuracy": 0.9, "losses": (1.0,) * 7}
    strong = ["data=synthetic", "data.image_size=32", "augmentation=randaugment"]
    for overrides, expected in (
        (strong, True),
        ([*strong, "regularization=mixup"], False),
        ([*strong, "regularization=cutmix"], False),
        (["regularization.l2=10"], False),
    ):
        found = {finding.name for finding in findings_of(record(*overrides, **gap))}
        assert ("augmentation too strong" in found) is expected, overrides


def test_labels_that_a_network_worse_than_guessing_rules_out_may_be_right() -> None:
    faulty, _ = CASES["some labels wrong"]
    names = [finding.name for finding in findings_of(faulty)]
    assert names[0] == "some labels wrong"
    overconfident = [row | {"val/loss": 9.0} for row in faulty.epochs]
    names = [finding.name for finding in findings_of(replace(faulty, epochs=overconfident))]
    assert "some labels wrong" not in names


def test_balancing_is_tried_where_classes_are_imbalanced_only() -> None:
    faulty, _ = CASES["class never predicted"]
    (finding,) = [found for found in findings_of(faulty) if found.name == "class never predicted"]
    assert finding.changes == {}
    uneven = replace(faulty, evidence=faulty.evidence | {"class_counts": [115] * 9 + [40]})
    (finding,) = [found for found in findings_of(uneven) if found.name == "class never predicted"]
    assert finding.changes == {"loss.balanced": True}


def test_a_run_that_ended_in_its_warm_up_has_no_too_low_rate() -> None:
    found = CASES["learning rate too low"][0]
    assert "learning rate too low" in {finding.name for finding in findings_of(found)}
    rising = [row | {"lr": 0.4 * row["lr"]} for row in found.steps]
    stopped = replace(found, steps=rising, status="interrupted")
    names = {finding.name for finding in findings_of(stopped)}
    assert "learning rate too low" not in names


def test_a_run_that_diverged_before_its_first_update_is_no_fault_of_the_rate() -> None:
    run = replace(record(status="diverged"), steps=[], epochs=[])
    (finding,) = findings_of(run)
    assert finding.name == "initial loss not finite"
    assert finding.changes == {}


def test_layers_that_are_not_used_do_not_make_gradients_explode() -> None:
    found = record(losses=SLOW, **POOR)
    norms = {"gradient_norm/unused.weight": 0.0, "gradient_norm/unused.bias": 0.0}
    first = [found.steps[0] | norms, *found.steps[1:]]
    names = {finding.name for finding in findings_of(replace(found, steps=first))}
    assert not names & {"exploding gradients", "vanishing gradients"}


def test_too_few_images_are_no_fault_of_the_batch() -> None:
    few = {"train_images": 9, "class_counts": [1] * 10}
    for batch in (8, 9):
        found = findings_of(record(f"data.batch_size={batch}", losses=SLOW, **POOR, **few))
        assert "batch too large" not in {finding.name for finding in found}


def test_labels_of_classes_that_were_not_trained_are_not_called_random() -> None:
    random = CASES["labels cannot be learned"][0]
    assert "labels cannot be learned" in {finding.name for finding in findings_of(random)}
    for changes in ({"class_counts": [0] + [144] * 9}, {"val_class_counts": [1] + [0] * 9}):
        found = findings_of(replace(random, evidence=random.evidence | changes))
        assert "labels cannot be learned" not in {finding.name for finding in found}


def test_constant_inputs_are_not_to_be_scaled() -> None:
    constant = record(**POOR, losses=FLAT, input_mean=0.0, input_deviation=0.0, constant_channels=[0])
    assert "inputs not scaled" not in {finding.name for finding in findings_of(constant)}
    standardized = record(losses=SLOW, **POOR, input_mean=9.0, input_deviation=1.0)
    assert findings_of(standardized)[0].changes == {}


def test_a_healthy_run_has_no_finding() -> None:
    assert findings_of(record()) == []


def test_symptoms_are_folded_into_their_cause() -> None:
    """Dead units, no learning and classes that are never predicted follow from inputs that are not scaled."""
    run = record(
        losses=FLAT,
        last={"dead_units/hidden.1": 1.0},
        val_predicted_counts=[290] + [0] * 9,
        input_deviation=0.001,
        train=0.1,
        val=0.1,
        train_accuracy=0.1,
        val_accuracy=0.1,
    )
    assert [finding.name for finding in findings_of(run)] == ["inputs not scaled"]


def test_findings_are_ordered_by_strength() -> None:
    run = record("regularization.label_smoothing=0.9", copies={"val": 0.2})
    found = findings_of(run)
    assert [finding.strength for finding in found] == sorted((f.strength for f in found), reverse=True)
    assert len(found) == 2


def named(run: RunRecord) -> list[str]:
    return [finding.name for finding in findings_of(run)]


def test_updates_in_the_warm_up_say_nothing_of_the_rate() -> None:
    run = record("optim.lr=0.1", losses=SLOW, ratio=5e-5, **POOR)
    assert "learning rate too low" in named(run)
    for step in run.steps:
        step["lr"] = 0.001  # at the rate itself, an update would be 100 times larger
    assert "learning rate too low" not in named(run)


def test_a_run_of_one_epoch_that_learned_nothing_is_not_healthy() -> None:
    nothing = {"train": 0.1, "val": 0.1, "train_accuracy": 0.1, "val_accuracy": 0.1}
    assert named(record(losses=(2.3,), **nothing)) == ["stopped too early"]
    assert named(record(losses=(2.3,), ratio=1e-9, **nothing)) == ["learning rate too low"]


@pytest.mark.parametrize("settings", [["optim=switch"], ["optim=switch", "optim.first=sgd"]])
def test_the_rate_of_several_optimizers_is_judged_too(settings: list[str]) -> None:
    diverged = record(*settings, "optim.lr=100", status="diverged")
    assert findings_of(diverged)[0].changes == {"optim.lr": 10.0}
    high = record(*settings, "optim.lr=9", losses=(3.0, 2.9, *FLAT[2:]), ratio=0.3, **POOR)
    assert named(high)[0] == "learning rate too high"


def test_labels_of_few_images_or_after_few_updates_are_not_doubted() -> None:
    wrong = {"train_rejected": 0.3, "val_rejected": 0.3, "train_accuracy": 0.6, "val_accuracy": 0.6}
    many = record(train=0.6, val=0.6, **wrong)
    assert "some labels wrong" in named(many)
    few = record(train=0.6, val=0.6, **wrong, class_counts=[3] * 10, val_class_counts=[1] * 10)
    assert "some labels wrong" not in named(few)
    by_heart = record(train=0.9, val=0.1, train_accuracy=0.9, val_accuracy=0.1)
    assert "labels cannot be learned" in named(by_heart)
    for row in by_heart.epochs:
        row["step"] = 4
    assert "labels cannot be learned" not in named(by_heart)


def test_a_larger_batch_is_suggested_only_where_there_are_images_for_it() -> None:
    few = record("data.batch_size=2", batch_normalization=True, train_images=18)
    assert [finding.changes for finding in findings_of(few)] == [{"data.batch_size": 8}]
    fewer = record("data.batch_size=2", batch_normalization=True, train_images=6)
    assert [finding.changes for finding in findings_of(fewer)] == [{}]


def test_a_run_that_diverged_is_not_told_to_make_more_updates_of_it() -> None:
    run = record("optim.lr=1e10", "data.batch_size=575", losses=(9.0, 99.0), status="diverged", **POOR)
    for number, row in enumerate(run.epochs):
        row["step"] = 2 * (number + 1)
    assert named(run) == ["diverged"]
