"""Augmentations against torchvision, numpy and slicing; batches as pure functions of seed, epoch and step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from cnntrain.augmentation import color
from cnntrain.augmentation.erasing import erase
from cnntrain.augmentation.policies import apply_policy
from cnntrain.augmentation.settings import Auto, Transforms
from cnntrain.augmentation.transforms import AlternatingFlip, Augment, Crop, Flip, PaddedCrop
from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.data.batches import Batches
from cnntrain.data.image_set import MemoryImages
from cnntrain.data.share import Share
from cnntrain.errors import ConfigError
from cnntrain.prediction.trained import load_trained
from cnntrain.preprocessing.preprocess import center_crop
from cnntrain.preprocessing.scale_and_shift import Affine

CPU = torch.device("cpu")
ALL_OPERATIONS = Transforms(
    crop_padding=2,
    min_area=0.5,
    rotation_degrees=20,
    alternating_flip=True,
    policy="trivialaugment",
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    lighting=0.1,
    erase=0.5,
    cutout=5,
)


def noise(count: int = 16, side: int = 16, channels: int = 3, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, side, side, channels), dtype=torch.uint8, generator=rng)


def smooth(count: int = 6, height: int = 20, width: int = 24) -> Tensor:
    """Return images whose values change slowly from pixel to pixel."""
    rng = torch.Generator().manual_seed(1)
    coarse = 255 * torch.rand(count, 3, 4, 5, generator=rng)
    fine = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    return fine.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def image_set(images: Tensor) -> MemoryImages:
    return MemoryImages(images, torch.arange(len(images)))


def build_augment(settings: Auto | Transforms, images: MemoryImages, default: str = "none") -> Augment:
    return settings.build(default, images.shape, images.chunks(128))


def changed_settings(settings: Transforms) -> dict[str, object]:
    return {key: value for key, value in vars(settings).items() if value != getattr(Transforms(), key)}


def augmented(settings: Transforms, images: Tensor, seed: int = 0, epoch: int = 0, step: int = 0) -> Tensor:
    augment = build_augment(settings, image_set(images))
    return augment(images, torch.arange(len(images)), seed, epoch, step)


# --- crops and flips


def test_crop_positions_and_flips_are_uniformly_distributed() -> None:
    # The bright center pixel shows the window's position: 9 positions, each with probability 1/9.
    images = torch.zeros(9000, 3, 3, 1, dtype=torch.uint8)
    images[:, 1, 1] = 1
    frequency = augmented(Transforms(crop_padding=1), images).float().mean(0).flatten()
    assert frequency.sum() == pytest.approx(1.0)
    assert (frequency - 1 / 9).abs().max() < 5 * (1 / 9 * 8 / 9 / 9000) ** 0.5
    images = torch.tensor([1, 0], dtype=torch.uint8).view(1, 1, 2, 1).repeat(9000, 1, 1, 1)
    mirrored = augmented(Transforms(flip=True), images)
    assert abs(mirrored[:, 0, 1, 0].float().mean().item() - 0.5) < 5 * 0.5 / 9000**0.5


def test_alternating_flips_mirror_every_image_in_every_other_epoch() -> None:
    images = noise(400, 4)
    mirrored = [
        [torch.equal(image, other) for image, other in zip(flipped, images.flip(2), strict=True)]
        for flipped in (
            augmented(Transforms(alternating_flip=True), images, 3, epoch, step=epoch) for epoch in range(4)
        )
    ]
    assert (
        mirrored[0]
        == mirrored[2]
        == [not value for value in mirrored[1]]
        == [not value for value in mirrored[3]]
    )
    assert abs(sum(mirrored[0]) / 400 - 0.5) < 5 * 0.5 / 400**0.5


def test_alternating_flips_do_not_depend_on_the_order_of_images_but_on_the_seed() -> None:
    # Each image has the pixels 0, 1 or, mirrored, 1, 0; its label is its index.
    images = image_set(torch.tensor([0, 1], dtype=torch.uint8).view(1, 1, 2, 1).repeat(64, 1, 1, 1))
    augment = Augment([AlternatingFlip()])

    def is_mirrored(seed: int, epoch: int) -> list[bool]:
        mirrored = {}
        for batch, labels in Batches(images, 16, CPU, seed, augment).epoch(epoch, 0, 99):
            mirrored |= dict(zip(labels.tolist(), (batch[:, 0, 0, 0] == 1).tolist(), strict=True))
        return [mirrored[label] for label in range(64)]

    assert is_mirrored(0, 5) == [not value for value in is_mirrored(0, 4)]
    assert is_mirrored(0, 4) != is_mirrored(1, 4)


def test_crop_size_cuts_windows_at_every_position_and_evaluation_uses_the_center() -> None:
    # A pixel's value is its position, so the first pixel gives a window's position.
    positions = torch.arange(36, dtype=torch.uint8).view(1, 6, 6, 1).repeat(2000, 1, 1, 1)
    windows = augmented(Transforms(crop_size=4, crop_padding=None), positions)
    assert windows.shape == (2000, 4, 4, 1)
    rows, columns = windows[:, 0, 0, 0] // 6, windows[:, 0, 0, 0] % 6
    assert {(row, column) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)} == {
        (row, column) for row in range(3) for column in range(3)
    }
    for window, row, column in zip(windows, rows, columns, strict=True):
        assert torch.equal(window, positions[0, row : row + 4, column : column + 4])
    scale, shift = torch.ones(1, 4, 4, 1), torch.zeros(1, 4, 4, 1)
    preprocess = Affine(scale, shift, None, (4, 4))
    assert torch.equal(preprocess(positions[:1])[0, 0], positions[0, 1:5, 1:5, 0].float())
    assert torch.equal(preprocess(windows)[:, 0], windows[..., 0].float())


@pytest.mark.parametrize(("height", "width"), [(9, 12), (10, 7), (8, 8)])
def test_center_crop_equals_torchvision(height: int, width: int) -> None:
    images = noise(2, 12)[:, :height, :width]
    expected = TF.center_crop(images.permute(0, 3, 1, 2), [5, 6]).permute(0, 2, 3, 1)
    assert torch.equal(center_crop(images, (5, 6)), expected)


# --- colours


@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (color.brightness, TF.adjust_brightness, [0.0, 0.4, 1.0, 1.7]),
        (color.contrast, TF.adjust_contrast, [0.0, 0.4, 1.0, 1.7]),
        (color.saturation, TF.adjust_saturation, [0.0, 0.4, 1.0, 1.7]),
        (color.hue, TF.adjust_hue, [-0.5, -0.1, 0.0, 0.3]),
    ],
)
def test_colour_adjustments_equal_torchvision(
    ours: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, float], Tensor], factors: list[float]
) -> None:
    images = noise(4).float()
    images[:, 0] = images[:, 0, :, :1]  # grey pixels, whose hue is not defined
    results = ours(images, torch.tensor(factors))
    for image, result, factor in zip(images, results, factors, strict=True):
        expected = 255 * theirs(image.permute(2, 0, 1) / 255, factor).permute(1, 2, 0)
        torch.testing.assert_close(result, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_and_contrast_of_uint8_equal_torchvision_up_to_rounding(channels: int) -> None:
    images = noise(4, channels=channels)
    factors = torch.tensor([0.3, 0.8, 1.2, 1.9])
    for ours, theirs in (
        (color.brightness, TF.adjust_brightness),
        (color.contrast, TF.adjust_contrast),
    ):
        results = ours(images.float(), factors)
        for image, result, factor in zip(images, results, factors.tolist(), strict=True):
            expected = theirs(image.permute(2, 0, 1), factor).permute(1, 2, 0)
            assert (result - expected.float()).abs().max() <= 1.5  # torchvision rounds down, and its grey too


@pytest.mark.parametrize(("strength", "low", "high"), [(0.4, 0.6, 1.4), (1.5, 0.0, 2.5)])
def test_factors_are_uniformly_distributed_between_torchvisions_limits(
    strength: float, low: float, high: float
) -> None:
    images = torch.full((4000, 1, 1, 1), 100, dtype=torch.uint8)
    factors = augmented(Transforms(brightness=strength), images).flatten().float() / 100
    jitter = v2.ColorJitter(strength)
    assert jitter.brightness == (pytest.approx(low), pytest.approx(high))
    assert factors.min() == pytest.approx(low, abs=0.01)
    assert factors.max() == pytest.approx(high, abs=0.01)
    mean = (low + high) / 2
    assert abs(factors.mean().item() - mean) < 5 * (high - low) / 12**0.5 / 4000**0.5 + 0.005


def test_lighting_axes_reproduce_numpys_covariance_of_the_training_split() -> None:
    images = smooth(300, 6, 7)
    pixels = images.reshape(-1, 3).double().numpy()
    covariance = color.color_covariance(image_set(images).chunks(128))
    expected = np.cov(pixels, rowvar=False, bias=True)
    np.testing.assert_allclose(covariance.numpy(), expected, rtol=1e-12)
    axes = color.principal_axes(image_set(images).chunks(128), "deviations").double()
    np.testing.assert_allclose((axes @ axes.T).numpy(), expected, rtol=1e-4)
    products = (axes.T @ axes).numpy()
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-3 * products.max())
    # As the paper: the eigenvectors times the eigenvalues, of values in [0, 1] and then scaled to 255.
    axes = color.principal_axes(image_set(images).chunks(128), "eigenvalues").double() / 255
    np.testing.assert_allclose((axes @ axes.T).numpy(), expected @ expected / 255**4, rtol=1e-4)


def test_lighting_adds_one_colour_per_image_with_the_covariance_of_the_pixels() -> None:
    images = smooth(4000, 2, 2).clamp(100, 155)
    shifts = augmented(Transforms(lighting=0.5, lighting_scale="deviations"), images).float() - images.float()
    assert (shifts - shifts[:, :1, :1]).abs().max() == 0
    expected = 0.25 * np.cov(images.reshape(-1, 3).double().numpy(), rowvar=False)
    covariance = np.cov(shifts[:, 0, 0].double().numpy(), rowvar=False)
    # Rounding to whole values adds a variance of 1/12.
    np.testing.assert_allclose(covariance, expected + np.eye(3) / 12, atol=0.08 * expected.max())


# --- erasing


def test_erase_equals_torchvision() -> None:
    images = noise(4)
    boxes = torch.tensor([[0, 0, 16, 16], [3, 5, 4, 7], [15, 15, 1, 1], [2, 2, 0, 0]]).T
    for image, erased, box in zip(images, erase(images, boxes), boxes.T.tolist(), strict=True):
        zero = torch.zeros(1, dtype=torch.uint8)
        assert torch.equal(erased.permute(2, 0, 1), TF.erase(image.permute(2, 0, 1), *box, zero))


@pytest.mark.parametrize("side", [4, 8, 32])
def test_a_box_larger_than_any_that_fits_is_cut_to_the_image(side: int) -> None:
    images = torch.full((400, side, side, 1), 255, dtype=torch.uint8)
    dark = (augmented(Transforms(erase=1, erase_area=[0.9, 1]), images) == 0).flatten(1).float().mean(1)
    # The narrowest box of a tenth less than the whole area is cut at a third of its length.
    assert dark.min() > 0.4
    assert dark.max() <= 1
    assert dark.mean() > 0.6


def test_erasing_has_the_given_probability_and_areas_in_the_given_range() -> None:
    images = torch.full((2000, 20, 20, 1), 255, dtype=torch.uint8)
    dark = (augmented(Transforms(erase=0.3, erase_area=[0.1, 0.2]), images) == 0).flatten(1).float().mean(1)
    assert abs((dark > 0).float().mean().item() - 0.3) < 5 * (0.3 * 0.7 / 2000) ** 0.5
    # Sides are rounded to whole pixels.
    assert dark[dark > 0].min() > 0.1 - 0.03
    assert dark.max() < 0.2 + 0.03


@pytest.mark.parametrize("side", [4, 5])
def test_cutout_is_a_square_centered_anywhere_and_clipped_at_the_border(side: int) -> None:
    images = torch.full((3000, 12, 12, 2), 255, dtype=torch.uint8)
    dark = augmented(Transforms(cutout=side), images)[..., 0] == 0
    expected = set()
    for row in range(12):
        for column in range(12):
            box = np.zeros((12, 12), dtype=bool)
            top, left = row - side // 2, column - side // 2
            box[max(0, top) : top + side, max(0, left) : left + side] = True
            expected.add(box.tobytes())
    assert {mask.numpy().tobytes() for mask in dark} == expected


# --- policies


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        (Transforms(policy="randaugment"), v2.RandAugment(2, 9)),
        (Transforms(policy="randaugment", num_ops=3, magnitude=20), v2.RandAugment(3, 20)),
        (Transforms(policy="trivialaugment"), v2.TrivialAugmentWide()),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_policies_equal_torchvision_and_leave_torchs_generator_unchanged(
    settings: Transforms, theirs: Callable[[Tensor], Tensor], channels: int
) -> None:
    images = noise(8, channels=channels)
    theirs.interpolation = v2.InterpolationMode.BILINEAR  # type: ignore[attr-defined]
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    (transform,) = build_augment(settings, image_set(images)).transforms
    result = apply_policy(images, transform.policy, 7)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(7)
    expected = torch.stack([theirs(image) for image in images.permute(0, 3, 1, 2)])
    assert torch.equal(result, expected.permute(0, 2, 3, 1))


# --- a batch


def test_augmentation_depends_only_on_seed_epoch_and_step() -> None:
    images = noise(32)
    augment = build_augment(ALL_OPERATIONS, image_set(images))
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    first = augment(images[order], order, 1, 2, 3)
    assert first.dtype == torch.uint8
    assert first.shape == images.shape
    torch.manual_seed(99)
    augment(images, order, 7, 7, 7)
    rebuilt = build_augment(ALL_OPERATIONS, image_set(images))
    assert torch.equal(rebuilt(images[order], order, 1, 2, 3), first)
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not torch.equal(augment(images[order], order, *other), first)


@pytest.mark.parametrize(
    "settings",
    [
        Transforms(crop_padding=2),
        Transforms(crop_size=10, crop_padding=0),
        Transforms(crop_size=10, min_area=0.3),
        Transforms(min_area=0.3),
        Transforms(rotation_degrees=30),
        Transforms(flip=True),
        Transforms(alternating_flip=True),
        Transforms(policy="trivialaugment"),
        Transforms(brightness=0.5),
        Transforms(contrast=0.5),
        Transforms(saturation=0.5),
        Transforms(hue=0.2),
        Transforms(lighting=0.3),
        Transforms(erase=0.9),
        Transforms(cutout=4),
    ],
    ids=lambda settings: " ".join(f"{key}={value}" for key, value in changed_settings(settings).items()),
)
def test_each_operation_changes_some_images_and_never_its_input(settings: Transforms) -> None:
    images = smooth(16, 14, 14)
    before = images.clone()
    result = augmented(settings, images)
    assert result.dtype == torch.uint8
    assert result.is_contiguous()
    assert result.shape[1:3] == settings.cropped_size((14, 14))
    cropped = center_crop(images, settings.cropped_size((14, 14)))
    changed = (result != cropped).flatten(1).any(1).float().mean()
    assert changed > 0.1
    assert torch.equal(images, before)


def test_batches_are_the_same_when_an_epoch_is_entered_in_the_middle() -> None:
    images = image_set(noise(40))
    augment = build_augment(ALL_OPERATIONS, images)
    whole = list(Batches(images, 8, CPU, 3, augment).epoch(2, 0, 99))
    part = list(Batches(images, 8, CPU, 3, augment).epoch(2, 3, 99))
    assert len(part) == 2
    for (left, left_labels), (right, right_labels) in zip(whole[3:], part, strict=True):
        assert torch.equal(left, right)
        assert torch.equal(left_labels, right_labels)


def test_evaluation_images_are_not_augmented() -> None:
    images = image_set(noise(20))
    augment = build_augment(ALL_OPERATIONS, images)
    read = torch.cat([batch for batch, _ in Batches(images, 8, CPU, 3, augment).in_order()])
    assert torch.equal(read, images.images)


def test_without_operations_images_are_returned_unchanged() -> None:
    images = noise()
    assert augmented(Transforms(), images) is images


# --- settings


def test_auto_is_the_default_of_the_data_set_with_a_padding_by_the_side() -> None:
    def transforms(settings: Auto | Transforms, default: str, height: int, width: int) -> list[object]:
        images = image_set(torch.zeros(1, height, width, 3, dtype=torch.uint8))
        return list(build_augment(settings, images, default).transforms)

    assert transforms(Auto(), "crop", 8, 8) == [PaddedCrop(1)]
    assert transforms(Auto(), "crop", 28, 28) == [PaddedCrop(2)]
    assert transforms(Auto(), "crop_flip", 32, 40) == [PaddedCrop(4), Flip()]
    assert transforms(Auto(), "none", 32, 32) == []
    assert transforms(Transforms(crop_padding=3), "crop_flip", 32, 32) == [PaddedCrop(3)]
    assert transforms(Transforms(crop_padding=None, crop_size=5), "crop", 32, 32) == [Crop(5)]


@pytest.mark.parametrize(
    ("settings", "channels", "parts"),
    [
        (Transforms(crop_size=20), 3, ["crop_size=20", "16x18", "at most 16"]),
        (Transforms(cutout=17), 3, ["cutout=17", "16 pixels", "write 8 or less"]),
        (Transforms(saturation=0.5), 1, ["saturation=0.5", "colour", "grey", "write 0"]),
        (Transforms(hue=0.5), 1, ["hue=0.5", "grey", "write 0"]),
        (Transforms(lighting=0.1), 1, ["lighting=0.1", "grey", "write 0"]),
        (Transforms(contrast=0.1), 2, ["contrast=0.1", "of 2 channels", "write 0"]),
        (Transforms(policy="randaugment"), 4, ["policy=randaugment", "of 4 channels", "write none"]),
    ],
)
def test_settings_that_do_not_fit_the_images_are_refused(
    settings: Transforms, channels: int, parts: list[str]
) -> None:
    images = image_set(torch.zeros(2, 16, 18, channels, dtype=torch.uint8))
    with pytest.raises(ConfigError) as raised:
        build_augment(settings, images)
    (line,) = raised.value.problems
    assert all(part in line for part in parts)


def test_rotation_angles_are_uniformly_distributed_within_the_limit() -> None:
    # The principal axis of a bright bar through the center gives its angle.
    images = torch.zeros(300, 41, 41, 1, dtype=torch.uint8)
    images[:, 19:22, 4:37] = 255
    weights = augmented(Transforms(rotation_degrees=25), images)[..., 0].double() / 255
    along = torch.arange(41).double() - 20
    total = weights.sum((1, 2))
    xx = (weights * along**2).sum((1, 2)) / total
    yy = (weights * along[:, None] ** 2).sum((1, 2)) / total
    xy = (weights * along * along[:, None]).sum((1, 2)) / total
    angles = (0.5 * torch.atan2(2 * xy, xx - yy)).rad2deg()
    assert angles.abs().max() < 25.5
    assert angles.std().item() == pytest.approx(50 / math.sqrt(12), rel=0.15)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ("augmentation=alternating augmentation.flip=yes", ["alternating_flip=true", "flip=false"]),
        (
            "augmentation=crop_flip augmentation.crop_padding=2 augmentation.crop_size=6",
            ["crop_size=6", "crop_padding=2", "write crop_padding=0"],
        ),
        (
            "augmentation=crop augmentation.crop_size=6 preprocessing=center preprocessing.per=pixel",
            ["preprocessing.per=pixel", "crop_size=6", "write preprocessing.per=channel"],
        ),
        ("augmentation=flip augmentation.crop_size=9", ["crop_size=9", "8x8", "at most 8"]),
        ("augmentation=flip augmentation.num_ops=3", ["num_ops=3", "policy=randaugment"]),
        (
            "augmentation=trivialaugment augmentation.magnitude=3",
            ["magnitude=3", "policy=randaugment"],
        ),
        ("augmentation=flip augmentation.erase_area=[0.1,0.2]", ["erase_area=[0.1, 0.2]", "erase > 0"]),
        (
            "augmentation=flip augmentation.erase=1 augmentation.erase_area=[0.3,0.2]",
            ["erase_area=[0.3, 0.2]", "write [0.2, 0.3]"],
        ),
        ("augmentation=flip augmentation.hue=0.1", ["hue=0.1", "grey", "write 0"]),
    ],
)
def test_settings_that_contradict_each_other_or_the_data_set_are_refused(
    overrides: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as raised:
        configure(overrides.split(), Choices())
    (line,) = raised.value.problems
    assert all(part in line for part in parts)


def test_a_crop_of_the_whole_image_gives_a_notice() -> None:
    choices = Choices()
    notices = configure(["data=imagenet", "augmentation=imagenet", "model=alexnet"], choices).notices
    assert any("crop_size=224" in line and "data.image_size=256" in line for line in notices)
    overrides = ["data=imagenet", "data.image_size=256", "augmentation=imagenet", "model=alexnet"]
    assert not any("crop_size" in line for line in configure(overrides, choices).notices)


def test_a_network_trained_on_crops_predicts_from_the_center_crop(tmp_path: Path) -> None:
    overrides = [
        "model=linear",
        "data.limit=200",
        "data.batch_size=50",
        "trainer.epochs=1",
        "trainer.threads=1",
    ]
    overrides += ["augmentation=none", "augmentation.crop_size=6", "trainer.precision=fp32"]
    assert main([*overrides, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    trained = load_trained(tmp_path / "run")
    images = torch.randint(17, (5, 8, 8, 1), dtype=torch.uint8)
    framed = images.clone()
    framed[:, [0, 7]] = 255
    framed[:, :, [0, 7]] = 255
    assert torch.equal(trained.predict(framed), trained.predict(images))
    assert sum(weight.numel() for weight in trained.network.parameters()) == 36 * 10 + 10
    assert main(["job=evaluate", f"run={tmp_path / 'run'}"]) == 0


@pytest.mark.parametrize("policy", ["trivialaugment", "randaugment"])
def test_shares_of_several_processes_are_the_parts_of_whole_batches(policy: str) -> None:
    images = torch.randint(256, (11, 12, 12, 3), dtype=torch.uint8)
    augment = replace(ALL_OPERATIONS, policy=policy).build("none", (12, 12, 3), [images])
    batches = Batches(MemoryImages(images, torch.arange(11)), 6, CPU, augment=augment)
    whole = list(batches.epoch(1, 0, 2))
    shares = [list(batches.epoch(1, 0, 2, Share(rank, 3))) for rank in range(3)]
    for step, (expected, labels) in enumerate(whole):
        assert torch.equal(torch.cat([share[step][0] for share in shares]), expected)
        assert all(torch.equal(share[step][1], labels) for share in shares)
