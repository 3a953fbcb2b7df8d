"""Evidence against what is known of data and network: planted wrong labels, equal units, recalls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.calibration import calibration_curve
from torch import nn

from cnntrain.assemble.run import Parts, build_parts
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.data.digits import read_digits
from cnntrain.data.image_set import MemoryImages
from cnntrain.findings import evidence as module
from cnntrain.findings.evidence import equal_units, gather_evidence
from cnntrain.findings.predictions import CALIBRATION_BINS, MAX_MISTAKES, MAX_SUSPECTS, calibration, mistakes
from cnntrain.settings.config_tree import Config

WRONG = 40


def parts_of(*overrides: str) -> tuple[Config, Parts]:
    config = configure(["model=linear", "trainer.threads=1", *overrides], Choices()).config
    return config, build_parts(config, None, Path("run"), "")


class Oracle(nn.Module):
    """Returns high scores for the class whose index is written into the image's first pixel."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 10 * nn.functional.one_hot((inputs[:, 0, 0, 0] * 255).round().long(), 10).float()


def test_planted_wrong_labels_are_the_suspects(tmp_path: Path) -> None:
    splits = read_digits("classes")
    arrays = {}
    for split in ("train", "test"):
        part = splits.parts()[split]
        images, labels = part.images.numpy().copy(), part.labels.numpy().copy()
        images[:, 0, 0, 0] = labels
        arrays |= {f"x_{split}": images, f"y_{split}": labels}
    wrong = np.arange(WRONG) * 7
    arrays["y_train"][wrong] = (arrays["y_train"][wrong] + 1) % 10
    np.savez(tmp_path / "own.npz", **arrays)
    config, parts = parts_of(
        "data=npz",
        f"data.path={tmp_path / 'own.npz'}",
        "preprocessing=none",
        "augmentation=none",
        "data.val_fraction=0",
    )
    parts.step.network = Oracle()
    found = gather_evidence(config, parts)
    count = len(parts.splits.train)
    assert found["train_rejected"] == pytest.approx(WRONG / count)
    assert found["train_accuracy"] == pytest.approx(1 - WRONG / count)
    assert {suspect["image"] for suspect in found["train_suspects"]} <= set(wrong.tolist())
    assert len(found["train_suspects"]) == MAX_SUSPECTS
    assert "val_accuracy" not in found


def test_the_most_confident_mistakes_are_named_and_others_are_not() -> None:
    images = MemoryImages(torch.zeros(50, 1, 1, 1, dtype=torch.uint8), torch.arange(50) % 3)
    rng = torch.Generator().manual_seed(0)
    sample = torch.randperm(50, generator=rng)[:40]
    probabilities = torch.rand(40, 3, generator=rng).softmax(1)
    found = mistakes(images, sample, probabilities, ["a", "b", "c"])
    wrong = {
        int(index): float(row.max())
        for index, row in zip(sample, probabilities, strict=True)
        if int(row.argmax()) != int(index) % 3
    }
    surest = sorted(wrong, key=lambda index: -wrong[index])[:MAX_MISTAKES]
    assert [one["index"] for one in found] == surest
    assert [one["label"] for one in found] == ["abc"[index % 3] for index in surest]
    assert [one["confidence"] for one in found] == pytest.approx([wrong[i] for i in surest], abs=1e-4)


def test_calibration_equals_scikit_learn() -> None:
    rng = torch.Generator().manual_seed(0)
    probabilities = (3 * torch.randn(500, 4, generator=rng)).softmax(1)
    labels = torch.randint(4, (500,), generator=rng)
    found = calibration(probabilities, labels)
    confidence, predicted = probabilities.max(1)
    expected, mean = calibration_curve(predicted == labels, confidence.double(), n_bins=CALIBRATION_BINS)
    bins = [one for one in found["bins"] if one["images"]]
    assert [one["accuracy"] for one in bins] == pytest.approx(expected.tolist())
    assert [one["confidence"] for one in bins] == pytest.approx(mean.tolist())
    by_hand = sum(one["images"] * abs(one["accuracy"] - one["confidence"]) for one in bins) / 500
    assert found["error"] == pytest.approx(by_hand)


def test_recalls_and_the_confusion_matrix_equal_scikit_learn() -> None:
    config, parts = parts_of("trainer.precision=fp32")
    found = gather_evidence(config, parts)
    images = next(parts.splits.val.chunks(1000))
    predicted = parts.step.network(parts.step.preprocess(images)).argmax(1)
    labels = parts.splits.val.labels
    confusion = metrics.confusion_matrix(labels, predicted, labels=range(10))
    assert found["val_confusion"] == confusion.tolist()
    recalls = metrics.recall_score(labels, predicted, labels=range(10), average=None, zero_division=0)
    assert found["val_recalls"] == pytest.approx(recalls.tolist(), abs=1e-4)


def test_the_time_for_an_evaluation_is_limited_and_what_there_is_time_for_is_representative(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_SECONDS", 0.0)
    config, parts = parts_of("evaluate.batch_size=100")
    found = gather_evidence(config, parts)
    assert sum(found["train_class_counts"]) == 100
    assert min(found["train_class_counts"]) >= 3


def test_equal_units_are_counted() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    assert equal_units(network) == {"0": 0.0, "1": 0.0}
    with torch.no_grad():
        network[0].weight[1:3] = network[0].weight[0]
    assert equal_units(network) == {"0": 0.5, "1": 0.0}


def test_copies_between_splits_are_counted() -> None:
    config, parts = parts_of()
    found = gather_evidence(config, parts)
    assert found["copies"] == {"val": 0.0, "test": 0.0}
    parts.splits.train = parts.splits.val
    assert gather_evidence(config, parts)["copies"]["val"] == 1.0
