"""Loss and metrics over a split, against torch and scikit-learn on all its images at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)
from torch import nn

from cnntrain.data.batches import Batches
from cnntrain.data.image_set import MemoryImages
from cnntrain.loss.class_losses import Softmax
from cnntrain.loss.regression_losses import Distance
from cnntrain.training.device import Compute
from cnntrain.training.evaluate_split import evaluate_split

CPU = Compute(torch.device("cpu"), "fp32", torch.contiguous_format, "")


def pixels(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 2, 2, 1), dtype=torch.uint8)


def preprocess(images: torch.Tensor) -> torch.Tensor:
    return images.permute(0, 3, 1, 2) / 255


def network(outputs: int) -> nn.Module:
    """Return a network whose scores differ between training and evaluation mode."""
    layers = nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, outputs)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 20])
@pytest.mark.parametrize("weights", [None, [0.25, 0.5, 0.0]], ids=["equal", "weighted"])
def test_loss_and_metrics_of_classes_do_not_depend_on_the_batches(
    weights: list[float] | None, batch_size: int
) -> None:
    torch.manual_seed(0)
    images, labels = pixels(11), torch.tensor([2, 2, 2, 0, 1, 2, 0, 1, 1, 0, 0])
    class_weights = None if weights is None else torch.tensor(weights)
    net, criterion = network(3), Softmax(["a", "b", "c"], class_weights, 0.3)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    batches = Batches(MemoryImages(images, labels), batch_size, CPU.device)
    evaluation = evaluate_split(net, preprocess, criterion, batches, CPU)
    scores = net.eval()(preprocess(images))
    loss = nn.functional.cross_entropy(scores, labels, class_weights)
    assert evaluation.loss == pytest.approx(loss.item(), rel=1e-5)
    predicted = scores.argmax(1)
    accuracy = (predicted == labels).double().mean().item()
    assert evaluation.details["confusion"] == confusion_matrix(labels, predicted).tolist()
    assert evaluation.error("accuracy") == pytest.approx(1 - accuracy)
    assert evaluation.error("loss") == evaluation.loss
    f1 = f1_score(labels, predicted, average="macro", zero_division=0)
    auroc = roc_auc_score(labels, scores.detach().softmax(1), multi_class="ovr")
    assert evaluation.row("val") == pytest.approx(
        {
            "val/loss": loss.item(),
            "val/accuracy": accuracy,
            "val/balanced_accuracy": balanced_accuracy_score(labels, predicted),
            "val/macro_f1": f1,
            "val/auroc": auroc,
        }
    )
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    smoothed = nn.functional.cross_entropy(scores, labels, class_weights, label_smoothing=0.3)
    assert criterion(scores, labels).item() == pytest.approx(smoothed.item(), rel=1e-5)


@pytest.mark.parametrize("batch_size", [2, 7])
def test_loss_and_metrics_of_values_do_not_depend_on_the_batches(batch_size: int) -> None:
    torch.manual_seed(0)
    images, labels = pixels(7), torch.randn(7, 2)
    net: Any = network(2)
    criterion = Distance(["x", "y"], "l2", "mean", torch.zeros(2), torch.ones(2))
    batches = Batches(MemoryImages(images, labels), batch_size, CPU.device)
    evaluation = evaluate_split(net, preprocess, criterion, batches, CPU)
    values = net.eval()(preprocess(images)).detach()
    assert evaluation.loss == pytest.approx(nn.functional.mse_loss(values, labels).item(), rel=1e-5)
    assert evaluation.error("mean_absolute_error") == pytest.approx(
        mean_absolute_error(labels, values), rel=1e-5
    )
    assert evaluation.metrics["r2"] == pytest.approx(r2_score(labels, values), rel=1e-4)
