"""Numbers of a whole split or batch do not depend on how it is divided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import cnntrain
from cnntrain.cli import main
from cnntrain.data.batches import Batches
from cnntrain.data.image_set import MemoryImages
from cnntrain.initialization.weights import initialize
from cnntrain.loss.class_losses import RejectingSoftmax, Softmax
from cnntrain.model.shared_layers import Maxout
from cnntrain.training.device import Compute
from cnntrain.training.evaluate_split import evaluate_split

CPU = Compute(torch.device("cpu"), "fp32", torch.contiguous_format, "")


def split(labels: list[int]) -> MemoryImages:
    pixels = torch.arange(len(labels) * 4).view(-1, 2, 2, 1).to(torch.uint8)
    return MemoryImages(pixels, torch.tensor(labels))


def network_and_preprocess() -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)), _Scaled()


class _Scaled(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize("batch_size", [1, 2, 5, 6])
def test_the_loss_of_a_split_is_its_weighted_mean_whatever_the_batches(batch_size: int) -> None:
    images = split([2, 2, 0, 1, 2, 0])
    weights = torch.tensor([1.0, 3.0, 0.0])  # the class 2 was absent in training
    network, preprocess = network_and_preprocess()
    batches = Batches(images, batch_size, torch.device("cpu"))
    found = evaluate_split(network, preprocess, Softmax(["a", "b", "c"], weights, 0.3), batches, CPU)
    scores = network(preprocess(images.images))
    expected = torch.nn.functional.cross_entropy(scores, images.labels, weights)
    assert found.loss == pytest.approx(expected.item(), rel=1e-5)


def test_label_smoothing_is_in_the_training_loss_alone() -> None:
    criterion = Softmax(["a", "b"], None, 0.2)
    scores, labels = torch.randn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    smoothed = torch.nn.functional.cross_entropy(scores, labels, label_smoothing=0.2)
    torch.testing.assert_close(criterion(scores, labels), smoothed)
    torch.testing.assert_close(
        criterion.eval()(scores, labels), torch.nn.functional.cross_entropy(scores, labels)
    )


def test_accumulated_parts_with_class_weights_equal_one_batch(tmp_path: Path) -> None:
    common = [
        "model=mlp",
        "model.hidden=[8]",
        "regularization.dropout=0",
        "augmentation=none",
        "trainer.epochs=1",
    ]
    common += ["trainer.max_steps_per_epoch=10", "trainer.record_every_steps=1", "trainer.pictures=false"]
    common += ["loss.class_weights=[5,0.2,3,1,1,1,1,1,1,1]", "trainer.precision=fp32"]
    rows = []
    for name, batch in (("whole", 64), ("parts", 16)):
        steps = [f"data.batch_size={batch}", f"trainer.accumulate_steps={64 // batch}"]
        assert main([f"hydra.run.dir={tmp_path / name}", *common, *steps]) == 0
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        rows.append([json.loads(line) for line in lines][:10])
    for whole, parts in zip(*rows, strict=True):
        for key in ("train/loss", "grad_norm"):
            assert parts[key] == pytest.approx(whole[key], rel=2e-4), key


def test_probabilities_leave_room_for_none_of_the_classes() -> None:
    criterion = RejectingSoftmax(["a", "b"], rejection=1.0)
    scores = torch.tensor([[-0.1, -20.0], [-290.0, -300.0]])
    probabilities = criterion.probabilities(scores)
    expected = torch.cat([scores, torch.full((2, 1), -1.0)], 1).softmax(1)[:, :2]
    torch.testing.assert_close(probabilities, expected)
    assert probabilities[1].sum() < 1e-6
    metrics = criterion.metrics()
    metrics.add(scores, torch.tensor([0, 0]))
    assert metrics.result().values["rejected"] == 0.5
    assert metrics.result().values["accuracy"] == 1.0


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "maxout"])
def test_the_default_initialization_keeps_the_size_of_activations(activation: str) -> None:
    torch.manual_seed(0)
    module = {
        "relu": torch.nn.ReLU(),
        "leaky_relu": torch.nn.LeakyReLU(),
        "elu": torch.nn.ELU(),
        "maxout": Maxout(2),
    }[activation]
    outputs = 1024 if activation == "maxout" else 512
    layers = [layer for _ in range(20) for layer in (torch.nn.Linear(512, outputs), module)]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(512, 10))
    initialize(network, activation)
    values = torch.randn(256, 512)
    for layer in network[:-1]:
        values = layer(values)
    assert 0.3 < values.square().mean() < 3


def test_an_image_far_from_every_class_is_classified_as_none_of_them(tmp_path: Path) -> None:
    run = tmp_path / "run"
    network = ["model=lenet5_original", "loss=rejecting_softmax", "trainer.pictures=false"]
    assert main([f"hydra.run.dir={run}", *network, "trainer.epochs=1", "trainer.max_steps_per_epoch=2"]) == 0
    trained = cnntrain.load(run)
    images = torch.randint(0, 256, (20, *trained.image_shape), dtype=torch.uint8)
    scores = trained.network(trained.preprocess(images))
    names = trained.classify(images)
    for name, row in zip(names, scores, strict=True):
        expected = "none of them" if row.max() < -1 else trained.names[int(row.argmax())]
        assert name == expected
    assert "none of them" in names
