"""The choice of precision."""

from __future__ import annotations

import pytest
import torch

from cnntrain.training import device
from cnntrain.training.settings import Trainer


@pytest.mark.parametrize(
    ("unit", "policy", "expected"),
    [
        ("AMX", None, "bf16"),
        ("AMX", "ACTIVE", "bf16"),
        ("AMX", "passive", "fp32"),
        (None, None, "fp32"),
        (None, "PASSIVE", "fp32"),
    ],
)
def test_automatic_precision_is_bf16_where_it_is_faster(
    unit: str | None, policy: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "bf16_unit", lambda of: unit)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if policy is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    compute = device.prepare(Trainer(device="cpu", threads=torch.get_num_threads()))
    assert compute.precision == expected
    given = device.prepare(Trainer(device="cpu", precision="bf16", threads=torch.get_num_threads()))
    assert given.precision == "bf16"
