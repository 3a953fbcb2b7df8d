"""The critical batch size against gradients of known mean and covariance."""

from __future__ import annotations

import pytest
import torch

from cnntrain.instruments.gradient_noise import critical_batch_size


@pytest.mark.parametrize("batch_size", [4, 64])
def test_it_is_the_trace_of_the_covariance_over_the_squared_gradient(batch_size: int) -> None:
    rng = torch.Generator().manual_seed(0)
    mean, deviation = torch.linspace(-1, 1, 200), 5.0
    expected = 200 * deviation**2 / float(mean.square().sum())
    gradients = [(mean + deviation * torch.randn(batch_size, 200, generator=rng)).mean(0) for _ in range(300)]
    assert critical_batch_size(gradients, batch_size) == pytest.approx(expected, rel=0.1)


def test_batches_that_agree_have_no_noise_and_those_that_cancel_no_gradient() -> None:
    assert critical_batch_size([torch.ones(3)] * 4, 8) == pytest.approx(0.0)
    assert critical_batch_size([torch.ones(3), -torch.ones(3)], 8) is None
