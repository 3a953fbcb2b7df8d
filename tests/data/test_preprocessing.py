"""Preprocessing against numpy's statistics of the training split (D2, D3)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnntrain.config.preprocessing import Center, NoPreprocessing, Standardize
from cnntrain.data.images import MemoryImages
from cnntrain.data.preprocessing import build_preprocessing


@pytest.fixture
def train() -> MemoryImages:
    torch.manual_seed(0)
    images = torch.randint(256, (1500, 4, 5, 3))
    images[..., 1] = images[..., 1] // 4 + 30
    return MemoryImages(images.to(torch.uint8), torch.zeros(1500, dtype=torch.int64))


@pytest.mark.parametrize("per", ["channel", "pixel"])
def test_standardize_gives_mean_0_and_deviation_1(train: MemoryImages, per: str) -> None:
    preprocess, notices = build_preprocessing(Standardize(per=per), train, None)
    values = preprocess(train.images).double()
    assert values.shape == (1500, 3, 4, 5)
    axes = (0, 2, 3) if per == "channel" else (0,)
    assert notices == []
    torch.testing.assert_close(values.mean(axes), torch.zeros_like(values.mean(axes)), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        values.std(axes, correction=0), torch.ones_like(values.mean(axes)), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("per", "axes"), [("channel", (0, 1, 2)), ("pixel", (0,))])
def test_center_subtracts_numpys_mean_and_keeps_the_scale(
    train: MemoryImages, per: str, axes: tuple[int, ...]
) -> None:
    preprocess, _ = build_preprocessing(Center(per=per), train, None)
    array = train.images.numpy().astype(np.float64) / 255
    expected = (array - array.mean(axes, keepdims=True)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(preprocess(train.images).numpy(), expected, atol=1e-5)


def test_none_scales_to_between_0_and_1(train: MemoryImages) -> None:
    preprocess, _ = build_preprocessing(NoPreprocessing(), train, None)
    expected = (train.images.permute(0, 3, 1, 2).double() / 255).float()
    torch.testing.assert_close(preprocess(train.images), expected)


def test_a_constant_channel_is_centred_only_with_a_notice(train: MemoryImages) -> None:
    train.images[..., 2] = 77
    preprocess, notices = build_preprocessing(Standardize(), train, None)
    values = preprocess(train.images)
    assert values.isfinite().all()
    assert values[:, 2].abs().max() < 1e-5
    assert len(notices) == 1


def test_images_are_enlarged_bilinearly(train: MemoryImages) -> None:
    small, _ = build_preprocessing(NoPreprocessing(), train, None)
    large, _ = build_preprocessing(NoPreprocessing(), train, (8, 10))
    expected = torch.nn.functional.interpolate(small(train.images), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(large(train.images), expected)
