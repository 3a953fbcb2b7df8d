"""The choice of precision."""

from __future__ import annotations

import pytest
import torch

from cnntrain.training import device, precision
from cnntrain.training.settings import Trainer


@pytest.mark.parametrize(
    ("unit", "policy", "speedup", "expected"),
    [
        ("AMX", None, 0.1, "bf16"),
        ("AMX", "ACTIVE", 0.1, "bf16"),
        ("AMX", "passive", 10.0, "fp32"),
        ("AVX512-BF16", None, 2.0, "bf16"),
        ("AVX512-BF16", None, 1.0, "fp32"),
        ("AVX512-BF16", None, 0.5, "fp32"),
        ("AVX512-BF16", "PASSIVE", 2.0, "fp32"),
        (None, None, 2.0, "fp32"),
        (None, "PASSIVE", 2.0, "fp32"),
    ],
)
def test_automatic_precision_is_bf16_where_it_is_faster(
    unit: str | None, policy: str | None, speedup: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "bf16_unit", lambda of: unit)
    monkeypatch.setattr(precision, "bf16_speedup", lambda: speedup)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if policy is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    compute = device.prepare(Trainer(device="cpu", threads=torch.get_num_threads()))
    assert compute.precision == expected
    assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is (expected != "fp32")
    as_before = {"bf16": "fp32", "fp32": "bf16"}[expected]
    assert device.prepare(Trainer(device="cpu"), device.Earlier(1, as_before)).precision == as_before
    given = device.prepare(Trainer(device="cpu", precision="bf16", threads=torch.get_num_threads()))
    assert given.precision == "bf16"
