"""Preprocessing against numpy and scikit-learn, fitted to the training split only (D2 to D5)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import Tensor
from torchvision.transforms.functional import center_crop

import cnntrain
from cnntrain.assemble.restore import restore_preprocessing
from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.data.image_set import MemoryImages
from cnntrain.errors import ConfigError
from cnntrain.model.settings.feedforward import Mlp
from cnntrain.preprocessing import statistics
from cnntrain.preprocessing.pca_whitening import describe_spectrum, full_precision
from cnntrain.preprocessing.preprocess import Preprocess
from cnntrain.preprocessing.settings import (
    Center,
    MinMax,
    NoPreprocessing,
    Pca,
    Preprocessing,
    Projection,
    Standardize,
    Whiten,
)
from cnntrain.report.pictures.network_inputs import illustrate
from cnntrain.runs.checkpoint import Checkpoints, State
from cnntrain.settings.config_tree import Config
from cnntrain.settings.network_input import NetworkInput

KINDS = {
    "none": NoPreprocessing(),
    "center": Center(),
    "center per pixel": Center(per="pixel"),
    "standardize": Standardize(),
    "standardize per pixel": Standardize(per="pixel"),
    "minmax": MinMax(),
    "minmax per pixel": MinMax(per="pixel"),
    "pca": Pca(components=7),
    "pca of 50": Pca(components=50),
    "pca vector": Pca(components=7, rotate_back=False),
    "zca": Whiten(),
    "zca of 7": Whiten(components=7),
    "whitened vector": Whiten(rotate="pca"),
    "gcn_zca": Whiten(epsilon=0.1, contrast_normalization=True),
}
QUICK = ["data.batch_size=64", "trainer.max_steps_per_epoch=2", "schedule=constant", "trainer.threads=1"]
every_kind = pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS.keys())


@pytest.fixture
def train() -> MemoryImages:
    """Return noise around a random mean image; every direction has variance."""
    torch.manual_seed(0)
    pattern = torch.rand(4, 5, 3) * 150
    images = (torch.randn(1500, 4, 5, 3) * torch.linspace(2, 30, 60).view(4, 5, 3) + pattern).clamp(0, 255)
    images[..., 1] = images[..., 1] / 2 + images[..., 0] / 2
    return image_set(images)


@pytest.fixture(scope="module")
def digits() -> MemoryImages:
    return image_set(torch.from_numpy(load_digits().images * 255 / 16).round()[..., None])


@pytest.fixture(scope="module")
def default_config() -> Config:
    return configure([], Choices()).config


def image_set(images: Tensor) -> MemoryImages:
    return MemoryImages(images.to(torch.uint8).contiguous(), torch.zeros(len(images), dtype=torch.int64))


def whole_images(
    settings: Preprocessing, shape: tuple[int, int, int], size: tuple[int, int] | None = None
) -> NetworkInput:
    """Return the network input of images without crops, enlarged to `size`."""
    height, width, channels = settings.output_shape(*shape)
    return NetworkInput(shape, None, size, (*(size or (height, width)), channels))


def fitted(settings: Preprocessing, train: MemoryImages, size: tuple[int, int] | None = None) -> Preprocess:
    return settings.fit(train, whole_images(settings, train.shape, size))[0]


def table(images: Tensor) -> np.ndarray:
    """Return images (N, H, W, C) of 0…255 as rows (N, values) of 0…1, for scikit-learn."""
    return images.flatten(1).double().numpy() / 255


def rows(inputs: Tensor) -> np.ndarray:
    """Return network input (N, C, H, W) as rows in the order of `table`."""
    return inputs.permute(0, 2, 3, 1).flatten(1).double().numpy()


# --- scaling


@pytest.mark.parametrize("per", ["channel", "pixel"])
def test_standardize_gives_mean_0_and_deviation_1(train: MemoryImages, per: str) -> None:
    settings = Standardize(per=per)
    preprocess, notices = settings.fit(train, whole_images(settings, train.shape))
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
    array = train.images.numpy().astype(np.float64) / 255
    expected = (array - array.mean(axes, keepdims=True)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(fitted(Center(per=per), train)(train.images).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "scaler"),
    [(Standardize(per="pixel"), StandardScaler()), (MinMax(per="pixel"), MinMaxScaler((-1, 1)))],
)
def test_scaling_per_pixel_equals_scikit_learn(
    train: MemoryImages, settings: Preprocessing, scaler: StandardScaler | MinMaxScaler
) -> None:
    other = image_set(train.images.flip(0, 1)).images  # also outside the range of the training split
    expected = scaler.fit(table(train.images)).transform(table(other))
    np.testing.assert_allclose(rows(fitted(settings, train)(other)), expected, atol=1e-4)


def test_minmax_per_channel_reaches_minus_1_and_1_in_each_channel(train: MemoryImages) -> None:
    values = fitted(MinMax(), train)(train.images)
    torch.testing.assert_close(values.amin((0, 2, 3)), -torch.ones(3))
    torch.testing.assert_close(values.amax((0, 2, 3)), torch.ones(3))


def test_none_scales_to_between_0_and_1(train: MemoryImages) -> None:
    expected = (train.images.permute(0, 3, 1, 2).double() / 255).float()
    torch.testing.assert_close(fitted(NoPreprocessing(), train)(train.images), expected)


@pytest.mark.parametrize("per", ["channel", "pixel"])
@pytest.mark.parametrize("kind", [Standardize, MinMax])
def test_constant_channels_and_pixels_are_only_centered_with_a_notice(
    train: MemoryImages, kind: Callable[..., Preprocessing], per: str
) -> None:
    train.images[..., 2] = 77
    settings = kind(per=per)
    preprocess, lines = settings.fit(train, whole_images(settings, train.shape))
    values = preprocess(train.images)
    assert values.isfinite().all()
    assert values[:, 2].abs().max() < 1e-5
    (line,) = lines
    assert line.startswith("notice    1 channel is" if per == "channel" else "notice    20 pixels are")
    train.images[..., 2] = 87
    torch.testing.assert_close(preprocess(train.images)[:, 2], torch.full((1500, 4, 5), 10 / 255))


def test_a_pixel_that_differs_in_one_of_ten_thousand_images_is_not_constant() -> None:
    images = torch.zeros(10_000, 1, 2, 1, dtype=torch.uint8)
    images[5, 0, 1] = 1
    settings = Standardize(per="pixel")
    preprocess, (line,) = settings.fit(image_set(images), whole_images(settings, (1, 2, 1)))
    values = preprocess(images)[:, 0, 0].numpy()
    np.testing.assert_allclose(values, StandardScaler().fit_transform(table(images)), rtol=1e-4)
    assert line.startswith("notice    1 pixel is constant")


def test_two_constant_channels_are_counted_in_the_notice(train: MemoryImages) -> None:
    train.images[..., 1:] = 77
    settings = Standardize()
    _, (line,) = settings.fit(train, whole_images(settings, train.shape))
    assert line.startswith("notice    2 channels are constant")


# --- the eigenbasis


@pytest.mark.parametrize("components", [5, 40])
def test_pca_has_scikit_learns_components_and_variances(digits: MemoryImages, components: int) -> None:
    preprocess = fitted(Pca(components=components, rotate_back=False), digits)
    theirs = PCA(components, svd_solver="full").fit(table(digits.images))
    count = len(digits)
    np.testing.assert_allclose(
        preprocess.variances.numpy(), theirs.explained_variance_ * (count - 1) / count, rtol=1e-5
    )
    ours = preprocess(digits.images)
    assert ours.shape == (count, components, 1, 1)
    expected = theirs.transform(table(digits.images))
    signs = np.sign((rows(ours) * expected).sum(0))
    np.testing.assert_allclose(rows(ours) * signs, expected, atol=1e-4)


@pytest.mark.parametrize("components", [5, 40])
def test_pca_rotated_back_equals_scikit_learns_inverse_transform_minus_the_mean(
    digits: MemoryImages, components: int
) -> None:
    theirs = PCA(components, svd_solver="full").fit(table(digits.images))
    expected = theirs.inverse_transform(theirs.transform(table(digits.images))) - theirs.mean_
    ours = fitted(Pca(components=components), digits)(digits.images)
    assert ours.shape == (len(digits), 1, 8, 8)
    np.testing.assert_allclose(rows(ours), expected, atol=1e-5)


def test_pca_with_all_components_rotated_back_only_centers(train: MemoryImages) -> None:
    torch.testing.assert_close(
        fitted(Pca(components=60), train)(train.images),
        fitted(Center(per="pixel"), train)(train.images),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("rotate", ["zca", "pca"])
def test_whitened_training_images_have_the_identity_as_covariance(train: MemoryImages, rotate: str) -> None:
    values = rows(fitted(Whiten(rotate=rotate, epsilon=1e-12), train)(train.images))
    np.testing.assert_allclose(np.cov(values.T, bias=True), np.eye(60), atol=1e-3)
    np.testing.assert_allclose(values.mean(0), np.zeros(60), atol=1e-3)


def test_whitening_with_fewer_components_equals_scikit_learn(digits: MemoryImages) -> None:
    ours = rows(fitted(Whiten(rotate="pca", components=20, epsilon=1e-12), digits)(digits.images))
    theirs = PCA(20, whiten=True, svd_solver="full").fit_transform(table(digits.images))
    theirs *= np.sqrt(len(digits) / (len(digits) - 1))
    np.testing.assert_allclose(ours * np.sign((ours * theirs).sum(0)), theirs, atol=1e-4)


def test_zca_is_the_inverse_square_root_of_the_covariance(train: MemoryImages) -> None:
    array = table(train.images)
    centered = array - array.mean(0)
    root = fitted(Whiten(epsilon=1e-12), train).matrix
    assert root is not None
    np.testing.assert_allclose(root, root.T, rtol=1e-5, atol=1e-4)
    product = root.double().numpy() @ (centered.T @ centered / len(array)) @ root.double().numpy()
    np.testing.assert_allclose(product, np.eye(60), atol=1e-3)


def test_zca_is_the_whitening_closest_to_the_images(train: MemoryImages) -> None:
    array = table(train.images)
    centered = array - array.mean(0)
    zca = rows(fitted(Whiten(), train)(train.images))
    distance = ((zca - centered) ** 2).sum()
    rng = np.random.default_rng(0)
    for _ in range(20):
        small = rng.normal(size=(60, 60)) * 0.01
        rotation, _ = np.linalg.qr(np.eye(60) + small - small.T)
        rotation *= np.sign(np.diag(rotation))
        assert ((zca @ rotation - centered) ** 2).sum() > distance
    pca = rows(fitted(Whiten(rotate="pca"), train)(train.images))
    assert ((pca - centered) ** 2).sum() > distance


def test_variances_after_whitening_are_v_over_v_plus_epsilon(digits: MemoryImages) -> None:
    for epsilon in (1e-5, 0.1):
        preprocess = fitted(Whiten(rotate="pca", epsilon=epsilon), digits)
        variances = np.linalg.eigvalsh(np.cov(table(digits.images).T, bias=True))[::-1].clip(0)
        found_variances = rows(preprocess(digits.images)).var(0)
        np.testing.assert_allclose(found_variances, variances / (variances + epsilon), atol=1e-4)


def test_a_pixel_that_is_constant_in_training_stays_finite_with_a_notice(digits: MemoryImages) -> None:
    preprocess, lines = Whiten().fit(digits, whole_images(Whiten(), digits.shape))
    other = digits.images.clone()
    other[:, 0, 0] = 255
    assert preprocess(other).isfinite().all()
    assert any("no variance along 3" in line and "316" in line for line in lines)


def test_the_line_about_the_spectrum_equals_scikit_learn(digits: MemoryImages) -> None:
    theirs = np.cumsum(PCA().fit(table(digits.images)).explained_variance_ratio_)
    settings = Pca(components=10)
    _, (line,) = settings.fit(digits, whole_images(settings, digits.shape))
    for_90, for_99 = (int((theirs < fraction).sum()) + 1 for fraction in (0.9, 0.99))
    assert f"{for_90} explain 90 % of it, {for_99} explain 99 %; the 10 kept explain {theirs[9]:.2%}" in line


@pytest.mark.parametrize(
    ("variances", "count", "line"),
    [
        ([90, 9, 1], 2, "3 directions: from 90 along the first to 1 along the last; 1 explain 90 % of it, 2"),
        ([5, 5], 2, "2 directions: from 5 along the first to 5 along the last; 2 explain 90 % of it, 2"),
        ([0, 0], 2, "2 directions: from 0 along the first to 0 along the last; 2 explain 90 % of it, 2"),
    ],
)
def test_the_line_about_the_spectrum_counts_directions(variances: list[float], count: int, line: str) -> None:
    text = describe_spectrum(torch.tensor(variances, dtype=torch.float64), count, None)[0]
    kept = "; the 2 kept explain 99.00%" if count < len(variances) else ""
    assert text == f"variance  {line} explain 99 %{kept}"


@pytest.mark.parametrize(
    ("variances", "zeros"),
    [
        ([1, 1e-8, 1e-10], 1),
        ([1e-3, 1e-11, 1e-13], 1),
        ([1, 1e-2, 5e-10], 1),
        ([100, 1, 5e-8], 1),
        ([0, 0], 2),
    ],
)
def test_directions_with_a_billionth_of_the_largest_variance_have_none(
    variances: list[float], zeros: int
) -> None:
    lines = describe_spectrum(torch.tensor(variances, dtype=torch.float64), len(variances), None)
    assert lines[1:] == [f"notice    the training split has no variance along {zeros} of them"]
    (_,) = describe_spectrum(torch.tensor([1, 1e-8], dtype=torch.float64), 2, None)


def test_products_have_full_precision_on_cuda_and_the_users_setting_is_restored() -> None:
    products = torch.backends.cuda.matmul
    before = products.allow_tf32
    try:
        for allowed in (False, True):
            products.allow_tf32 = allowed
            with full_precision():
                within = products.allow_tf32
            assert (within, products.allow_tf32) == (False, allowed)
    finally:
        products.allow_tf32 = before


# --- contrast normalization


def test_contrast_normalization_standardizes_each_image(digits: MemoryImages) -> None:
    array = table(digits.images)
    expected = (array - array.mean(1, keepdims=True)) / array.std(1, keepdims=True)
    normalized = statistics.normalized_contrast(digits.images)
    np.testing.assert_allclose(normalized.numpy(), expected, atol=1e-5)


def test_contrast_normalization_resolves_the_smallest_difference_and_makes_a_constant_image_0() -> None:
    images = torch.full((2, 64, 64, 3), 201, dtype=torch.uint8)
    images[1, 5, 6, 0] += 1
    flat, other = statistics.normalized_contrast(images)
    assert flat.abs().max() < 1
    assert flat.abs().max() < 1e-5
    assert other.square().mean().item() == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize(("size", "constant"), [(613_000, False), (617_000, True)])
def test_images_with_a_deviation_below_5_millionths_count_as_constant(size: int, constant: bool) -> None:
    image = torch.full((1, size, 1, 1), 7, dtype=torch.uint8)
    image[0, 0] += 1
    values = statistics.normalized_contrast(image).numpy()
    array = table(image)
    assert (array.std() < 5e-6) == constant
    expected = (array - array.mean()) / (1 if constant else array.std())
    np.testing.assert_allclose(values[0, 0], expected[0, 0], rtol=1e-3)


@pytest.mark.parametrize("value", [1, 100, 201, 254])
def test_contrast_normalization_makes_constant_images_of_any_size_0(value: int) -> None:
    for size in (59, 61, 64, 113):
        values = statistics.normalized_contrast(torch.full((1, size, 61, 3), value, dtype=torch.uint8))
        assert values.abs().max() < 1e-5


def test_global_contrast_normalization_removes_brightness_and_contrast(train: MemoryImages) -> None:
    preprocess = fitted(KINDS["gcn_zca"], train)
    even = (train.images // 4) * 2
    torch.testing.assert_close(preprocess(even // 2 + 30), preprocess(even), atol=2e-4, rtol=0)


# --- dependence of the statistics


@every_kind
def test_the_statistics_do_not_depend_on_the_size_of_chunks(
    train: MemoryImages, settings: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted(settings, train).state_dict()
    monkeypatch.setattr(statistics, "CHUNK", 17)
    chunks = fitted(settings, train).state_dict()
    for name, buffer in whole.items():
        if settings == KINDS["gcn_zca"]:
            torch.testing.assert_close(chunks[name], buffer, atol=1e-3, rtol=1e-4)
        else:
            assert torch.equal(chunks[name], buffer)


def test_the_covariance_equals_numpy(train: MemoryImages) -> None:
    mean, covariance = statistics.mean_and_covariance(train, contrast_normalized=False)
    array = table(train.images)
    np.testing.assert_allclose(mean.numpy(), array.mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance.numpy(), np.cov(array.T, bias=True), rtol=1e-9, atol=1e-15)


def test_sums_of_the_largest_integers_are_exact() -> None:
    images = torch.randint(2, (2048, 2, 2, 1), generator=torch.Generator().manual_seed(0)) * 255
    _, covariance = statistics.mean_and_covariance(image_set(images), contrast_normalized=False)
    expected = np.cov(table(images).T, bias=True)
    np.testing.assert_allclose(covariance.numpy(), expected, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize(("black", "value"), [(1023, 129), (1023, 131), (1024, 129)])
def test_one_image_among_a_thousand_black_ones_is_not_lost_in_sums(black: int, value: int) -> None:
    images = torch.zeros(black + 1, 1, 2, 1, dtype=torch.uint8)
    images[-1] = value
    _, covariance = statistics.mean_and_covariance(image_set(images), contrast_normalized=False)
    np.testing.assert_allclose(covariance.numpy(), np.cov(table(images).T, bias=True), rtol=1e-11)


# Those with statistics of the training split.
FITTED = [name for name in Choices().names("preprocessing") if name not in ("none", "pretrained")]


@pytest.mark.parametrize("choice", FITTED)
def test_statistics_depend_only_on_training_images(choice: str) -> None:
    config = configure([f"preprocessing={choice}"], Choices()).config
    splits = config.data.load(config.seed)
    before = fitted(config.preprocessing, splits.train).state_dict()
    splits.val.images.fill_(255)
    splits.test.images.zero_()
    for name, buffer in fitted(config.preprocessing, splits.train).state_dict().items():
        assert torch.equal(buffer, before[name])
    splits.train.images[3, 0, 0] = 255
    splits.train.images[3, 4, 4] = 255 - splits.train.images[3, 4, 4]
    after = fitted(config.preprocessing, splits.train).state_dict()
    if choice == "minmax":  # values within 0…255 do not change these two
        splits.train.images.clamp_(max=254)
        after = fitted(config.preprocessing, splits.train).state_dict()
    assert any(not torch.equal(buffer, before[name]) for name, buffer in after.items())


# --- the module


@every_kind
def test_the_shape_of_the_output_is_known_without_images(
    train: MemoryImages, settings: Preprocessing
) -> None:
    height, width, channels = settings.output_shape(*train.shape)
    # Vectors are not enlarged.
    for size in (None,) if height == 1 else (None, (8, 10)):
        preprocess = fitted(settings, train, size)
        inputs = preprocess(train.images[:2])
        assert inputs.shape[1:] == (channels, *(size or (height, width)))
        assert preprocess.output_shape == inputs.shape[1:]
        shapes = settings.buffer_shapes(whole_images(settings, train.shape, size))
        assert shapes == {name: buffer.shape for name, buffer in preprocess.state_dict().items()}
        assert inputs.dtype == torch.float32
        assert inputs.is_contiguous(memory_format=torch.channels_last)


@every_kind
def test_float_images_are_accepted_and_not_modified(train: MemoryImages, settings: Preprocessing) -> None:
    preprocess = fitted(settings, train)
    images = train.images[:5].float()
    torch.testing.assert_close(preprocess(images), preprocess(train.images[:5]))
    assert torch.equal(images, train.images[:5].float())


@every_kind
def test_the_same_preprocessing_is_restored_from_a_checkpoint(
    train: MemoryImages, settings: Preprocessing, default_config: Config, tmp_path: Path
) -> None:
    config = dataclasses.replace(default_config, preprocessing=settings, model=Mlp())
    preprocess = fitted(settings, train)
    state: State = {"config": "", "names": ["a"], "precision": "fp32", "network": {}, "loss": {}}
    state |= {"image_shape": list(train.shape), "preprocess": preprocess.state_dict()}
    Checkpoints(tmp_path).save_best(state)
    restored = restore_preprocessing(config, Checkpoints(tmp_path).load_best(), "best.pt")
    assert torch.equal(restored(train.images), preprocess(train.images))


@pytest.mark.parametrize("size", [(4, 5), (3, 2), (1, 4), (2, 3)])
def test_larger_images_are_cropped_at_their_center_as_torchvision_does(
    train: MemoryImages, size: tuple[int, int]
) -> None:
    expected = center_crop(train.images[:7].permute(0, 3, 1, 2).float() / 255, list(size))
    network_input = NetworkInput(train.shape, size, None, (*size, 3))
    preprocess, _ = NoPreprocessing().fit(train, network_input)
    torch.testing.assert_close(preprocess(train.images[:7]), expected)


def test_images_are_enlarged_bilinearly_in_the_last_step(train: MemoryImages) -> None:
    for settings in (NoPreprocessing(), Pca(components=7), Whiten()):
        small, large = fitted(settings, train), fitted(settings, train, (8, 10))
        expected = torch.nn.functional.interpolate(small(train.images), scale_factor=2, mode="bilinear")
        torch.testing.assert_close(large(train.images), expected)


@every_kind
def test_only_statistics_per_channel_fit_larger_images(train: MemoryImages, settings: Preprocessing) -> None:
    preprocess = fitted(settings, train)
    larger = torch.zeros(2, 9, 9, 3, dtype=torch.uint8)
    if getattr(settings, "per", "channel") == "channel" and settings.name not in ("pca", "whiten"):
        assert preprocess.for_size((12, 12))(larger).shape == (2, 3, 12, 12)
    else:
        with pytest.raises(ConfigError, match="do not fit larger images; train with preprocessing") as raised:
            preprocess.for_size((12, 12))
        setting = settings.name if isinstance(settings, Projection) else "per=pixel"
        assert f"{setting}: the run's statistics" in str(raised.value)


def test_settings_that_do_not_fit_the_images_are_refused() -> None:
    assert Pca(components=60).input_problems(4, 5, 3) == []
    assert "write at most 60" in Pca(components=61).input_problems(4, 5, 3)[0]
    assert "preprocessing=standardize" in Whiten().input_problems(224, 224, 3)[0]


# --- pictures


@every_kind
def test_the_rows_of_pictures_are_images_between_0_and_1(
    train: MemoryImages, settings: Preprocessing
) -> None:
    pictures = illustrate(fitted(settings, train, (8, 10)), train)
    names = ["originals", "preprocessed"]
    if isinstance(settings, Projection):
        names += ["eigenvectors", "reduced", "whitened"]
    assert list(pictures) == names
    for name, row in pictures.items():
        components = getattr(settings, "components", None) or 10
        assert row.shape == (min(10, components) if name == "eigenvectors" else 10, 4, 5, 3)
        assert row.min() >= 0
        assert row.max() <= 1
        if name not in ("originals", "reduced"):
            np.testing.assert_allclose(row.flatten(1).max(1).values, 1, atol=1e-6)
            np.testing.assert_allclose(row.flatten(1).min(1).values, 0, atol=1e-6)


def test_reduced_images_equal_scikit_learns_reconstructions(digits: MemoryImages) -> None:
    theirs = PCA(20).fit(table(digits.images))
    expected = theirs.inverse_transform(theirs.transform(table(digits.images[:10]))).clip(0, 1)
    pictures = illustrate(fitted(Pca(components=20, rotate_back=False), digits), digits)
    np.testing.assert_allclose(pictures["reduced"].flatten(1).numpy(), expected, atol=1e-5)


# --- runs


@pytest.mark.parametrize(
    "overrides",
    [
        ["preprocessing=pca", "preprocessing.rotate_back=false", "model=mlp"],
        ["preprocessing=whiten", "model=convnet"],
    ],
)
def test_evaluate_reproduces_the_test_metrics_of_a_run_exactly(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["hydra.run.dir=run", *overrides, *QUICK, "trainer.epochs=1"]) == 0
    recorded = json.loads(Path("run/summary.json").read_text())
    assert main(["run=run", "job=evaluate"]) == 0
    result = json.loads(Path("run/evaluate-digits-test.json").read_text())
    assert (result["accuracy"], result["loss"]) == (recorded["test/accuracy"], recorded["test/loss"])
    trained = cnntrain.load("run")
    test = trained.config.data.load(0).test
    accuracy = (trained.predict(test.images).argmax(1) == test.labels).double().mean().item()
    assert accuracy == pytest.approx(result["accuracy"], abs=0.02)  # float32 in place of bfloat16


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = [*QUICK, "preprocessing=whiten", "model=mlp"]
    assert main(["hydra.run.dir=run", *overrides, "trainer.epochs=1"]) == 0
    assert main(["run=run", "trainer.epochs=2"]) == 0
    assert main(["hydra.run.dir=whole", *overrides, "trainer.epochs=2"]) == 0
    summaries = [json.loads(Path(name, "summary.json").read_text()) for name in ("run", "whole")]
    assert summaries[0]["test/loss"] == summaries[1]["test/loss"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["preprocessing=pca", "preprocessing.rotate_back=false"],
            "preprocessing.rotate_back=true, or model=",
        ),
        (["preprocessing=whiten", "preprocessing.rotate=pca", "model=vgg11"], "preprocessing.rotate=zca, or"),
        (["preprocessing=pca", "preprocessing.components=65"], "write at most 64"),
        (["preprocessing=whiten", "data=imagenet"], "write preprocessing=standardize"),
    ],
)
def test_incompatible_settings_are_refused_with_a_remedy(
    overrides: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(overrides) == 2
    assert expected in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_summary_uses_the_vector_as_network_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = ["job=summary", "hydra.run.dir=run", "model=linear", "data=cifar10", "preprocessing=pca"]
    assert main([*overrides, "preprocessing.rotate_back=false", "preprocessing.components=144"]) == 0
    content = json.loads(Path("run/network.json").read_text())
    assert content["input"] == [144, 1, 1]
    assert content["parameters"] == 144 * 10 + 10
