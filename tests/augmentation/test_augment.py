"""Every operation against torchvision's, numpy's or slices of one image; batches as pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from cnntrain.augmentation import color, geometry
from cnntrain.augmentation.augment import AlternatingFlip, Augment, Crop, Flip, PaddedCrop
from cnntrain.augmentation.erasing import ERASE_RATIOS, erase
from cnntrain.augmentation.policies import apply_policy
from cnntrain.augmentation.settings import Auto, Transforms
from cnntrain.cli import main
from cnntrain.config.choices import Choices
from cnntrain.config.compose import Composer
from cnntrain.config.configure import configure
from cnntrain.data.batches import Batches
from cnntrain.data.images import MemoryImages
from cnntrain.errors import ConfigError
from cnntrain.prediction.trained import load_trained
from cnntrain.preprocessing.affine import Affine
from cnntrain.preprocessing.preprocess import center_crop

CPU = torch.device("cpu")
EVERYTHING = Transforms(
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
    """Images whose values change slowly from pixel to pixel."""
    rng = torch.Generator().manual_seed(1)
    coarse = 255 * torch.rand(count, 3, 4, 5, generator=rng)
    fine = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    return fine.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def image_set(images: Tensor) -> MemoryImages:
    return MemoryImages(images, torch.arange(len(images)))


def built(settings: Auto | Transforms, images: MemoryImages, default: str = "none") -> Augment:
    return settings.build(default, images.shape, images.chunks(128))


def changed_settings(settings: Transforms) -> dict[str, object]:
    return {key: value for key, value in vars(settings).items() if value != getattr(Transforms(), key)}


def varied(settings: Transforms, images: Tensor, seed: int = 0, epoch: int = 0, step: int = 0) -> Tensor:
    augment = built(settings, image_set(images))
    return augment(images, torch.arange(len(images)), seed, epoch, step)


# --- crops and flips


@pytest.mark.parametrize("shape", [(5, 8, 8, 1), (4, 6, 9, 3), (3, 5, 4, 2)])
@pytest.mark.parametrize("padding", [1, 3])
def test_crop_takes_each_images_window_of_the_padded_image(shape: tuple[int, ...], padding: int) -> None:
    torch.manual_seed(0)
    count, height, width, _ = shape
    images = torch.randint(256, shape, dtype=torch.uint8)
    down = torch.tensor([0, 2 * padding, 1, padding, 2][:count])
    right = torch.tensor([2 * padding, 0, padding, 1, 0][:count])
    cropped = geometry.crop(images, padding, down, right)
    for i in range(count):
        padded = F.pad(images[i].permute(2, 0, 1), [padding] * 4).permute(1, 2, 0)
        window = padded[down[i] : down[i] + height, right[i] : right[i] + width]
        assert torch.equal(cropped[i], window)


def test_flip_mirrors_the_chosen_images_left_right() -> None:
    images = torch.arange(2 * 2 * 3 * 1).view(2, 2, 3, 1)
    flipped = geometry.flip(images, torch.tensor([True, False]))
    assert flipped[0, :, :, 0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert torch.equal(flipped[1], images[1])


def test_every_place_and_both_directions_are_drawn_evenly() -> None:
    # One lit pixel in the middle tells where the window lies; 9 places, each with probability 1/9.
    images = torch.zeros(9000, 3, 3, 1, dtype=torch.uint8)
    images[:, 1, 1] = 1
    share = varied(Transforms(crop_padding=1), images).float().mean(0).flatten()
    assert share.sum() == pytest.approx(1.0)
    assert (share - 1 / 9).abs().max() < 5 * (1 / 9 * 8 / 9 / 9000) ** 0.5
    images = torch.tensor([1, 0], dtype=torch.uint8).view(1, 1, 2, 1).repeat(9000, 1, 1, 1)
    mirrored = varied(Transforms(flip=True), images)
    assert abs(mirrored[:, 0, 1, 0].float().mean().item() - 0.5) < 5 * 0.5 / 9000**0.5


def test_alternating_flips_mirror_every_image_in_every_other_epoch() -> None:
    images = noise(400, 4)
    mirrored = [
        [torch.equal(image, other) for image, other in zip(found, images.flip(2), strict=True)]
        for found in (
            varied(Transforms(alternating_flip=True), images, 3, epoch, step=epoch) for epoch in range(4)
        )
    ]
    assert mirrored[0] == mirrored[2] == [not was for was in mirrored[1]] == [not was for was in mirrored[3]]
    assert abs(sum(mirrored[0]) / 400 - 0.5) < 5 * 0.5 / 400**0.5


def test_alternating_flips_follow_an_image_through_the_orders_of_epochs_and_differ_by_seed() -> None:
    # Each image is a ramp to the left or, mirrored, to the right; its label is its index.
    images = image_set(torch.tensor([0, 1], dtype=torch.uint8).view(1, 1, 2, 1).repeat(64, 1, 1, 1))
    augment = Augment([AlternatingFlip()])

    def is_mirrored(seed: int, epoch: int) -> list[bool]:
        found = {}
        for shown, labels in Batches(images, 16, CPU, seed, augment).epoch(epoch, 0, 99):
            found |= dict(zip(labels.tolist(), (shown[:, 0, 0, 0] == 1).tolist(), strict=True))
        return [found[label] for label in range(64)]

    assert is_mirrored(0, 5) == [not was for was in is_mirrored(0, 4)]
    assert is_mirrored(0, 4) != is_mirrored(1, 4)


def test_crop_size_cuts_windows_everywhere_and_evaluation_sees_the_middle() -> None:
    # A pixel's value is its place, so the first one says where a window begins.
    places = torch.arange(36, dtype=torch.uint8).view(1, 6, 6, 1).repeat(2000, 1, 1, 1)
    windows = varied(Transforms(crop_size=4, crop_padding=None), places)
    assert windows.shape == (2000, 4, 4, 1)
    rows, columns = windows[:, 0, 0, 0] // 6, windows[:, 0, 0, 0] % 6
    assert {(row, column) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)} == {
        (row, column) for row in range(3) for column in range(3)
    }
    for window, row, column in zip(windows, rows, columns, strict=True):
        assert torch.equal(window, places[0, row : row + 4, column : column + 4])
    scale, shift = torch.ones(1, 4, 4, 1), torch.zeros(1, 4, 4, 1)
    preprocess = Affine(scale, shift, None, (4, 4))
    assert torch.equal(preprocess(places[:1])[0, 0], places[0, 1:5, 1:5, 0].float())
    assert torch.equal(preprocess(windows)[:, 0], windows[..., 0].float())


@pytest.mark.parametrize(("height", "width"), [(9, 12), (10, 7), (8, 8)])
def test_the_middle_is_where_torchvision_has_it(height: int, width: int) -> None:
    images = noise(2, 12)[:, :height, :width]
    expected = TF.center_crop(images.permute(0, 3, 1, 2), [5, 6]).permute(0, 2, 3, 1)
    assert torch.equal(center_crop(images, (5, 6)), expected)


# --- resampling


def test_rotation_is_torchvisions() -> None:
    images = smooth()
    degrees = torch.tensor([0.0, 10.0, -35.0, 90.0, 123.0, -180.0])
    height, width = images.shape[1:3]
    whole = torch.tensor([0.0, 0.0, height, width])[:, None].expand(4, len(images))
    turned = geometry.resample(images, whole, degrees.deg2rad(), (height, width), "zeros")
    for image, found, angle in zip(images, turned, degrees.tolist(), strict=True):
        chw = image.permute(2, 0, 1)
        expected = TF.rotate(chw, angle, TF.InterpolationMode.BILINEAR).permute(1, 2, 0)
        # Half a pixel of the border may be rounded to the other side.
        assert ((found.int() - expected.int()).abs() <= 1).float().mean() > 0.99
    assert torch.equal(turned[0], images[0])


def test_a_resized_window_is_torchvisions() -> None:
    images = smooth()
    windows = torch.tensor([[0, 0, 20, 24], [3, 5, 10, 12], [1, 0, 15, 11], [10, 12, 10, 12]]).T.float()
    found = geometry.resample(images[:4], windows, torch.zeros(4), (20, 24), "border")
    for image, result, (top, left, height, width) in zip(
        images, found, windows.T.int().tolist(), strict=False
    ):
        chw = image.permute(2, 0, 1)
        expected = TF.resized_crop(chw, top, left, height, width, [20, 24], antialias=False).permute(1, 2, 0)
        # Inside alike; at a window's border torchvision repeats it where this reads the neighbour.
        apart = (result.int() - expected.int()).abs()
        assert apart[2:-2, 2:-2].max() <= 1
        assert apart.max() <= 16


@pytest.mark.parametrize(
    ("shares", "ratios", "largest"),
    [((0.25, 1.0), (3 / 4, 4 / 3), (40, 40)), ((0.02, 0.33), ERASE_RATIOS, (39, 39))],
)
def test_boxes_have_the_areas_and_ratios_of_torchvisions(
    shares: tuple[float, float], ratios: tuple[float, float], largest: tuple[int, int]
) -> None:
    drawn, fits = geometry.boxes(torch.Generator().manual_seed(0), 3000, (40, 40), shares, ratios, largest)
    assert fits.float().mean() > 0.999
    top, left, height, width = drawn[:, fits]
    assert torch.equal(drawn, drawn.round())
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 40).all()
    assert (left + width <= 40).all()
    torch.manual_seed(0)
    image = torch.zeros(1, 40, 40)
    if shares[1] == 1.0:
        cropping = v2.RandomResizedCrop(40, shares, ratios)
        theirs = [cropping.make_params([image]) for _ in range(3000)]
        sizes = torch.tensor([(params["height"], params["width"]) for params in theirs]).float()
    else:
        erasing = v2.RandomErasing(1.0, shares, ratios)
        theirs = [erasing.make_params([image]) for _ in range(3000)]
        sizes = torch.tensor([(params["h"], params["w"]) for params in theirs]).float()
    for ours, expected in (
        (height * width, sizes.prod(1)),
        ((width / height).log(), (sizes[:, 1] / sizes[:, 0]).log()),
    ):
        deviation = expected.std() / 3000**0.5
        assert (ours.mean() - expected.mean()).abs() < 5 * 2**0.5 * deviation
        assert ours.std() == pytest.approx(expected.std().item(), rel=0.08)


def test_a_resized_crop_of_the_whole_area_and_no_rotation_leave_an_image_as_it_is() -> None:
    images = noise(8)
    whole = torch.tensor([0.0, 0.0, 16, 16])[:, None].expand(4, 8)
    assert torch.equal(geometry.resample(images, whole, torch.zeros(8), (16, 16), "zeros"), images)


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
def test_changes_of_colour_are_torchvisions(
    ours: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, float], Tensor], factors: list[float]
) -> None:
    images = noise(4).float()
    images[:, 0] = images[:, 0, :, :1]  # grey pixels, whose hue is not defined
    found = ours(images, torch.tensor(factors))
    for image, result, factor in zip(images, found, factors, strict=True):
        expected = 255 * theirs(image.permute(2, 0, 1) / 255, factor).permute(1, 2, 0)
        torch.testing.assert_close(result, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_and_contrast_of_bytes_are_torchvisions_up_to_rounding(channels: int) -> None:
    images = noise(4, channels=channels)
    factors = torch.tensor([0.3, 0.8, 1.2, 1.9])
    for ours, theirs in (
        (color.brightness, TF.adjust_brightness),
        (color.contrast, TF.adjust_contrast),
    ):
        found = ours(images.float(), factors)
        for image, result, factor in zip(images, found, factors.tolist(), strict=True):
            expected = theirs(image.permute(2, 0, 1), factor).permute(1, 2, 0)
            assert (result - expected.float()).abs().max() <= 1.5  # torchvision rounds down, and its grey too


@pytest.mark.parametrize(("strength", "least", "most"), [(0.4, 0.6, 1.4), (1.5, 0.0, 2.5)])
def test_factors_are_drawn_evenly_between_torchvisions_limits(
    strength: float, least: float, most: float
) -> None:
    images = torch.full((4000, 1, 1, 1), 100, dtype=torch.uint8)
    factors = varied(Transforms(brightness=strength), images).flatten().float() / 100
    jitter = v2.ColorJitter(strength)
    assert jitter.brightness == (pytest.approx(least), pytest.approx(most))
    assert factors.min() == pytest.approx(least, abs=0.01)
    assert factors.max() == pytest.approx(most, abs=0.01)
    middle = (least + most) / 2
    assert abs(factors.mean().item() - middle) < 5 * (most - least) / 12**0.5 / 4000**0.5 + 0.005


def test_lightings_axes_are_those_of_numpys_covariance_of_the_training_split() -> None:
    images = smooth(300, 6, 7)
    pixels = images.reshape(-1, 3).double().numpy()
    covariance = color.color_covariance(image_set(images).chunks(128))
    expected = np.cov(pixels, rowvar=False, bias=True)
    np.testing.assert_allclose(covariance.numpy(), expected, rtol=1e-12)
    axes = color.principal_axes(image_set(images).chunks(128)).double()
    np.testing.assert_allclose((axes @ axes.T).numpy(), expected, rtol=1e-4)
    products = (axes.T @ axes).numpy()
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-3 * products.max())


def test_lighting_adds_one_colour_to_an_image_with_the_covariance_of_the_pixels() -> None:
    images = smooth(4000, 2, 2).clamp(100, 155)
    shifts = varied(Transforms(lighting=0.5), images).float() - images.float()
    assert (shifts - shifts[:, :1, :1]).abs().max() == 0
    expected = 0.25 * np.cov(images.reshape(-1, 3).double().numpy(), rowvar=False)
    found = np.cov(shifts[:, 0, 0].double().numpy(), rowvar=False)
    # Rounding to whole values adds a variance of 1/12.
    np.testing.assert_allclose(found, expected + np.eye(3) / 12, atol=0.08 * expected.max())


# --- erasing


def test_an_erased_box_is_torchvisions() -> None:
    images = noise(4)
    boxes = torch.tensor([[0, 0, 16, 16], [3, 5, 4, 7], [15, 15, 1, 1], [2, 2, 0, 0]]).T
    for image, found, box in zip(images, erase(images, boxes), boxes.T.tolist(), strict=True):
        nothing = torch.zeros(1, dtype=torch.uint8)
        assert torch.equal(found.permute(2, 0, 1), TF.erase(image.permute(2, 0, 1), *box, nothing))


def test_erasing_meets_the_share_of_images_it_is_told_and_areas_in_its_range() -> None:
    images = torch.full((2000, 20, 20, 1), 255, dtype=torch.uint8)
    dark = (varied(Transforms(erase=0.3, erase_area=[0.1, 0.2]), images) == 0).flatten(1).float().mean(1)
    assert abs((dark > 0).float().mean().item() - 0.3) < 5 * (0.3 * 0.7 / 2000) ** 0.5
    # Sides are rounded to whole pixels.
    assert dark[dark > 0].min() > 0.1 - 0.03
    assert dark.max() < 0.2 + 0.03


@pytest.mark.parametrize("side", [4, 5])
def test_cutout_is_a_square_with_its_middle_anywhere_cut_off_at_the_border(side: int) -> None:
    images = torch.full((3000, 12, 12, 2), 255, dtype=torch.uint8)
    dark = varied(Transforms(cutout=side), images)[..., 0] == 0
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
def test_policies_are_torchvisions_and_leave_its_generator_alone(
    settings: Transforms, theirs: Callable[[Tensor], Tensor], channels: int
) -> None:
    images = noise(8, channels=channels)
    theirs.interpolation = v2.InterpolationMode.BILINEAR  # type: ignore[attr-defined]
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    (transform,) = built(settings, image_set(images)).transforms
    found = apply_policy(images, transform.policy, 7)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(7)
    expected = torch.stack([theirs(image) for image in images.permute(0, 3, 1, 2)])
    assert torch.equal(found, expected.permute(0, 2, 3, 1))


# --- a batch


def test_draws_depend_on_seed_epoch_and_step_alone() -> None:
    images = noise(32)
    augment = built(EVERYTHING, image_set(images))
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    first = augment(images[order], order, 1, 2, 3)
    assert first.dtype == torch.uint8
    assert first.shape == images.shape
    torch.manual_seed(99)
    augment(images, order, 7, 7, 7)
    again = built(EVERYTHING, image_set(images))
    assert torch.equal(again(images[order], order, 1, 2, 3), first)
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
def test_each_operation_changes_some_images_and_never_those_given(settings: Transforms) -> None:
    images = smooth(16, 14, 14)
    given = images.clone()
    found = varied(settings, images)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    assert found.shape[1:3] == settings.cropped_size((14, 14))
    middle = center_crop(images, settings.cropped_size((14, 14)))
    changed = (found != middle).flatten(1).any(1).float().mean()
    assert changed > 0.1
    assert torch.equal(images, given)


def test_a_batch_of_everything_is_the_same_from_the_middle_of_an_epoch() -> None:
    images = image_set(noise(40))
    augment = built(EVERYTHING, images)
    whole = list(Batches(images, 8, CPU, 3, augment).epoch(2, 0, 99))
    part = list(Batches(images, 8, CPU, 3, augment).epoch(2, 3, 99))
    assert len(part) == 2
    for (left, left_labels), (right, right_labels) in zip(whole[3:], part, strict=True):
        assert torch.equal(left, right)
        assert torch.equal(left_labels, right_labels)


def test_evaluation_sees_images_as_they_are() -> None:
    images = image_set(noise(20))
    augment = built(EVERYTHING, images)
    shown = torch.cat([batch for batch, _ in Batches(images, 8, CPU, 3, augment).in_order()])
    assert torch.equal(shown, images.images)


def test_nothing_switched_on_leaves_images_as_they_are() -> None:
    images = noise()
    assert varied(Transforms(), images) is images


# --- settings


def test_auto_is_what_the_data_set_asks_for_with_an_eighth_of_the_side() -> None:
    def transforms(settings: Auto | Transforms, default: str, height: int, width: int) -> list[object]:
        images = image_set(torch.zeros(1, height, width, 3, dtype=torch.uint8))
        return list(built(settings, images, default).transforms)

    assert transforms(Auto(), "crop", 8, 8) == [PaddedCrop(1)]
    assert transforms(Auto(), "crop_flip", 32, 40) == [PaddedCrop(4), Flip()]
    assert transforms(Auto(), "none", 32, 32) == []
    assert transforms(Transforms(crop_padding=3), "crop_flip", 32, 32) == [PaddedCrop(3)]
    assert transforms(Transforms(crop_padding=None, crop_size=5), "crop", 32, 32) == [Crop(5)]


@pytest.mark.parametrize(
    ("settings", "channels", "words"),
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
def test_what_does_not_fit_the_images_is_refused(
    settings: Transforms, channels: int, words: list[str]
) -> None:
    images = image_set(torch.zeros(2, 16, 18, channels, dtype=torch.uint8))
    with pytest.raises(ConfigError) as raised:
        built(settings, images)
    (line,) = raised.value.problems
    assert all(word in line for word in words)


def test_a_rotation_stays_within_its_degrees() -> None:
    # A bright bar through the middle tells its angle by the principal axis of its pixels.
    images = torch.zeros(300, 41, 41, 1, dtype=torch.uint8)
    images[:, 19:22, 4:37] = 255
    weights = varied(Transforms(rotation_degrees=25), images)[..., 0].double() / 255
    along = torch.arange(41).double() - 20
    total = weights.sum((1, 2))
    xx = (weights * along**2).sum((1, 2)) / total
    yy = (weights * along[:, None] ** 2).sum((1, 2)) / total
    xy = (weights * along * along[:, None]).sum((1, 2)) / total
    angles = (0.5 * torch.atan2(2 * xy, xx - yy)).rad2deg()
    assert angles.abs().max() < 25.5
    assert angles.std().item() == pytest.approx(50 / math.sqrt(12), rel=0.15)


@pytest.mark.parametrize(
    ("words", "parts"),
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
def test_strengths_that_contradict_each_other_or_the_data_set_are_refused(
    words: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as raised:
        configure(words.split(), Composer(Choices()))
    (line,) = raised.value.problems
    assert all(part in line for part in parts)


def test_a_crop_of_the_whole_image_is_noticed() -> None:
    composer = Composer(Choices())
    notices = configure(["data=imagenet", "augmentation=imagenet", "model=alexnet"], composer).notices
    assert any("crop_size=224" in line and "data.image_size=256" in line for line in notices)
    words = ["data=imagenet", "data.image_size=256", "augmentation=imagenet", "model=alexnet"]
    assert not any("crop_size" in line for line in configure(words, composer).notices)


def test_a_network_trained_on_crops_predicts_from_the_middle_of_whole_images(tmp_path: Path) -> None:
    words = ["model=linear", "data.limit=200", "data.batch_size=50", "trainer.epochs=1", "trainer.threads=1"]
    words += ["augmentation=none", "augmentation.crop_size=6", "trainer.precision=fp32"]
    assert main([*words, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    trained = load_trained(tmp_path / "run")
    images = torch.randint(17, (5, 8, 8, 1), dtype=torch.uint8)
    framed = images.clone()
    framed[:, [0, 7]] = 255
    framed[:, :, [0, 7]] = 255
    assert torch.equal(trained.predict(framed), trained.predict(images))
    assert sum(weight.numel() for weight in trained.network.parameters()) == 36 * 10 + 10
    assert main(["job=evaluate", f"run={tmp_path / 'run'}"]) == 0
