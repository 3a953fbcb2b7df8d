"""Geometric transforms against slicing, torchvision, SciPy's interpolation, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import map_coordinates
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from cnntrain.augmentation import geometry
from cnntrain.augmentation.erasing import ERASE_RATIOS


def noise(*shape: int) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def smooth(count: int = 6, height: int = 20, width: int = 24) -> Tensor:
    """Return images whose values change slowly from pixel to pixel."""
    rng = torch.Generator().manual_seed(1)
    coarse = 255 * torch.rand(count, 3, 4, 5, generator=rng)
    fine = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    return fine.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def drawn(count: int) -> geometry.BoxDraws:
    return geometry.draw_boxes(torch.Generator().manual_seed(0), count)


@pytest.mark.parametrize("shape", [(5, 8, 8, 1), (4, 6, 9, 3), (3, 5, 4, 2)])
@pytest.mark.parametrize("padding", [1, 3])
@pytest.mark.parametrize(("fill", "mode"), [("zeros", "constant"), ("reflect", "reflect")])
def test_crop_cuts_each_images_window_from_the_padded_image(
    shape: tuple[int, ...], padding: int, fill: str, mode: str
) -> None:
    torch.manual_seed(0)
    count, height, width, _ = shape
    images = torch.randint(256, shape, dtype=torch.uint8)
    down = torch.tensor([0, 2 * padding, 1, padding, 2][:count])
    right = torch.tensor([2 * padding, 0, padding, 1, 0][:count])
    cropped = geometry.crop(images, padding, down, right, fill)
    for i in range(count):
        # torch reflects floats only.
        padded = F.pad(images[i].permute(2, 0, 1).float(), [padding] * 4, mode).byte().permute(1, 2, 0)
        window = padded[down[i] : down[i] + height, right[i] : right[i] + width]
        assert torch.equal(cropped[i], window)


@pytest.mark.parametrize("in_rows", [True, False])
def test_windows_are_slices_at_every_position(in_rows: bool) -> None:
    positions = [(down, right) for down in range(4) for right in range(3)]
    images = noise(len(positions), 6, 7, 2)
    if not in_rows:
        images = images.transpose(1, 2).contiguous().transpose(1, 2)
    down, right = torch.tensor(positions).T
    windows = geometry.windows(images, (3, 5), down, right)
    for image, window, (top, left) in zip(images, windows, positions, strict=True):
        assert torch.equal(window, image[top : top + 3, left : left + 5])


def test_flip_mirrors_the_selected_images_horizontally() -> None:
    images = torch.arange(2 * 2 * 3 * 1).view(2, 2, 3, 1)
    flipped = geometry.flip(images, torch.tensor([True, False]))
    assert flipped[0, :, :, 0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert torch.equal(flipped[1], images[1])


@pytest.mark.parametrize(
    ("areas", "ratios", "largest"),
    [((0.25, 1.0), (3 / 4, 4 / 3), (40, 40)), ((0.02, 0.33), ERASE_RATIOS, (39, 39))],
)
def test_areas_and_ratios_of_boxes_are_distributed_as_in_torchvision(
    areas: tuple[float, float], ratios: tuple[float, float], largest: tuple[int, int]
) -> None:
    boxes, fits = geometry.boxes(drawn(3000), (40, 40), areas, ratios, largest)
    assert fits.float().mean() > 0.999
    top, left, height, width = boxes[:, fits]
    assert torch.equal(boxes, boxes.round())
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 40).all()
    assert (left + width <= 40).all()
    torch.manual_seed(0)
    image = torch.zeros(1, 40, 40)
    if areas[1] == 1.0:
        cropping = v2.RandomResizedCrop(40, areas, ratios)
        sampled = [cropping.make_params([image]) for _ in range(3000)]
        sizes = torch.tensor([(params["height"], params["width"]) for params in sampled]).float()
    else:
        erasing = v2.RandomErasing(1.0, areas, ratios)
        sampled = [erasing.make_params([image]) for _ in range(3000)]
        sizes = torch.tensor([(params["h"], params["w"]) for params in sampled]).float()
    for ours, expected in (
        (height * width, sizes.prod(1)),
        ((width / height).log(), (sizes[:, 1] / sizes[:, 0]).log()),
    ):
        deviation = expected.std() / 3000**0.5
        assert (ours.mean() - expected.mean()).abs() < 5 * 2**0.5 * deviation
        assert ours.std() == pytest.approx(expected.std().item(), rel=0.08)


def test_boxes_of_given_area_and_ratio_lie_at_every_position_with_the_same_frequency() -> None:
    boxes, fits = geometry.boxes(drawn(7000), (8, 12), (0.25, 0.25), (1.5, 1.5), (8, 12))
    assert fits.all()
    top, left, height, width = boxes.int()
    assert (height == 4).all()
    assert (width == 6).all()
    # 5 · 7 positions have room for 4 x 6 pixels.
    counts = (top * 7 + left).bincount(minlength=35)
    assert counts.sum() == counts[:35].sum()
    assert (counts - 200).abs().max() < 5 * 200**0.5


def test_a_box_may_be_as_large_as_the_largest_and_has_at_least_one_pixel() -> None:
    def square(area: float, largest: tuple[int, int]) -> tuple[Tensor, Tensor]:
        return geometry.boxes(drawn(5), (6, 6), (area, area), (1.0, 1.0), largest)

    boxes, fits = square(1.0, (6, 6))
    assert fits.all()
    assert boxes.T.tolist() == [[0, 0, 6, 6]] * 5
    assert not square(1.0, (5, 6))[1].any()
    assert not square(1.0, (6, 5))[1].any()
    boxes, fits = square(1e-6, (1, 1))
    assert fits.all()
    assert (boxes[2:] == 1).all()


def test_a_box_is_drawn_ten_times_at_most() -> None:
    # A square of the area A, uniform in [0, 1600], has at most 12 pixels per side where √A < 12.5.
    _, fits = geometry.boxes(drawn(20000), (40, 40), (0.0, 1.0), (1.0, 1.0), (12, 12))
    expected = 1 - (1 - 12.5**2 / 1600) ** 10
    assert abs(fits.float().mean().item() - expected) < 5 * math.sqrt(expected * (1 - expected) / 20000)


@pytest.mark.parametrize("size", [(20, 24), (7, 30), (31, 5), (1, 1)])
def test_a_resized_window_equals_torchvision_up_to_its_border(size: tuple[int, int]) -> None:
    boxes = [(0, 0, 20, 24), (3, 5, 10, 12), (1, 0, 15, 11), (10, 12, 10, 12), (19, 23, 1, 1), (4, 2, 3, 20)]
    images = noise(len(boxes), 20, 24, 3)
    resized = geometry.resize_windows(images, torch.tensor(boxes).T.float(), size)
    for image, result, box in zip(images, resized, boxes, strict=True):
        expected = TF.resized_crop(image.permute(2, 0, 1), *box, list(size), antialias=True)
        assert (result.int() - expected.permute(1, 2, 0).int()).abs().max() <= 1


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_windows_stay_black_and_white(value: int) -> None:
    images = torch.full((2, 9, 7, 3), value, dtype=torch.uint8)
    windows = torch.tensor([[0.0, 1, 9, 5], [2, 0, 4, 7]]).T
    assert (geometry.resize_windows(images, windows, (6, 10)) == value).all()


def test_rotation_equals_torchvision() -> None:
    images = smooth()
    degrees = torch.tensor([0.0, 10.0, -35.0, 90.0, 123.0, -180.0])
    height, width = images.shape[1:3]
    whole = torch.tensor([0.0, 0.0, height, width])[:, None].expand(4, len(images))
    rotated = geometry.resample(images, whole, degrees.deg2rad(), (height, width))
    for image, result, angle in zip(images, rotated, degrees.tolist(), strict=True):
        chw = image.permute(2, 0, 1)
        expected = TF.rotate(chw, angle, TF.InterpolationMode.BILINEAR).permute(1, 2, 0)
        # Positions on the border may be rounded differently.
        assert ((result.int() - expected.int()).abs() <= 1).float().mean() > 0.99
    assert torch.equal(rotated[0], images[0])


@pytest.mark.parametrize(("size", "finer"), [((11, 14), 1), ((11, 14), 2), ((5, 4), 3), ((1, 1), 1)])
def test_resampled_windows_are_scipys_interpolation_at_the_rotated_points(
    size: tuple[int, int], finer: int
) -> None:
    boxes = [(0, 0, 11, 14), (2, 5, 6, 8), (-3, 9, 8, 7), (4.5, 1.25, 5, 12)]
    angles = [0.4, -1.1, 2.8, 0.0]
    images = noise(len(boxes), 11, 14, 2)
    results = geometry.resample(images, torch.tensor(boxes).T.float(), torch.tensor(angles), size, finer)
    for image, result, (top, left, height, width), angle in zip(images, results, boxes, angles, strict=True):
        # The window's points as complex numbers, x to the right and y upwards.
        y, x = ((np.arange(finer * side) + 0.5) / (finer * side) - 0.5 for side in size)
        points = (x * width - 1j * y[:, None] * height) * np.exp(-1j * angle)
        at = [top + height / 2 - points.imag - 0.5, left + width / 2 + points.real - 0.5]
        for channel in range(2):
            values = map_coordinates(image[..., channel].double(), at, order=1, mode="grid-constant")
            means = values.reshape(size[0], finer, size[1], finer).mean((1, 3))
            # Halves may be rounded in either direction.
            assert np.abs(result[..., channel].numpy() - means).max() < 0.51


def test_resampling_the_whole_image_without_rotation_changes_nothing() -> None:
    images = noise(8, 16, 16, 3)
    whole = torch.tensor([0.0, 0.0, 16, 16])[:, None].expand(4, 8)
    assert torch.equal(geometry.resample(images, whole, torch.zeros(8), (16, 16)), images)


def test_a_checkerboard_that_shrinks_becomes_grey() -> None:
    board = ((torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255).to(torch.uint8)[None, :, :, None]
    whole = torch.tensor([0.0, 0.0, 64.0, 64.0])[:, None]
    resized = geometry.resize_windows(board, whole, (16, 16)).float()
    expected = TF.resize(board.permute(0, 3, 1, 2).float(), [16, 16], antialias=True)
    assert resized.std() < 1
    assert (resized.permute(0, 3, 1, 2) - expected).abs().max() <= 1
    rotated = geometry.resample(board, whole, torch.tensor([0.1]), (16, 16), finer=4).float()
    assert rotated[:, 4:-4, 4:-4].std() < 12
