"""A metric that cannot be measured on the validation images is refused before training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cnntrain.assemble.undefined_metrics import undefined
from cnntrain.cli import main
from cnntrain.metrics.accumulator import Metrics
from cnntrain.metrics.attribute_metrics import AttributeMetrics
from cnntrain.metrics.class_metrics import ClassMetrics
from cnntrain.metrics.value_metrics import ValueMetrics


@pytest.mark.parametrize(
    ("metrics", "labels"),
    [
        (ClassMetrics(["a", "b"]), torch.tensor([0, 0, 0])),
        (ClassMetrics(["a", "b"]), torch.tensor([1, 1, 1])),
        (ClassMetrics(["a", "b"]), torch.tensor([1, 0, 0])),
        (ClassMetrics(["a", "b", "c"]), torch.tensor([1, 1, 1])),
        (ClassMetrics(["a", "b", "c"]), torch.tensor([1, 2, 2])),
        (AttributeMetrics(["a", "b"]), torch.tensor([[0.0, 1], [0, 1]])),
        (AttributeMetrics(["a", "b"]), torch.tensor([[0.0, 1], [1, 1]])),
        (AttributeMetrics(["a", "b"]), torch.zeros(2, 2)),
        (ValueMetrics(["a", "b"]), torch.tensor([[2.0, 1], [2, 1]])),
        (ValueMetrics(["a", "b"]), torch.tensor([[2.0, 1], [2, 3]])),
    ],
)
def test_a_metric_is_refused_where_no_prediction_would_define_it(
    metrics: Metrics, labels: torch.Tensor
) -> None:
    torch.manual_seed(0)
    metrics.add(torch.randn(len(labels), len(metrics.names)), labels)
    values = metrics.result().values
    assert len(values) > 1
    for name, value in values.items():
        assert (undefined(name, labels) is None) == (value is not None), name


@pytest.mark.parametrize(
    ("best_by", "expected"),
    [
        ("average_precision", "is not measured of 3 classes; write auto, accuracy"),
        ("top5_accuracy", "is not measured of 3 classes"),
        ("auroc", "auroc: all validation images have the same labels; write auto"),
    ],
)
def test_a_metric_that_the_data_do_not_have_is_refused_when_they_are_read(
    best_by: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    labels, same = np.arange(12) % 3, np.zeros(12, dtype=np.int64)
    arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez(tmp_path / "data.npz", **arrays, x_val=images, y_val=same)
    data = ["data=npz", f"data.path={tmp_path / 'data.npz'}", "data.batch_size=4", "model=linear"]
    assert main([*data, f"trainer.best_by={best_by}", f"hydra.run.dir={tmp_path / 'run'}"]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
