"""Image files as stored: sizes beside data.image_size, bounds of aspect ratios, modes, single colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnntrain.checks.data import files
from cnntrain.checks.data.image_records import ImageRecords, measure
from cnntrain.data.image_set import FileImages
from cnntrain.data.splits import Splits


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Return random colours, converted to a mode."""
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def measured(
    folder: Path, images: list[Image.Image], size: int = 64, resize: str = "crop", channels: int = 3
) -> tuple[dict[str, ImageRecords], Splits]:
    """Return the records of training images saved as PNG, CMYK as TIFF, and their splits."""
    paths = []
    for number, image in enumerate(images):
        paths.append(str(folder / f"{number}.{'tif' if image.mode == 'CMYK' else 'png'}"))
        image.save(paths[-1])
    labels = torch.zeros(len(paths), dtype=torch.int64)
    train = FileImages(paths, labels, size, resize, channels, 0, str(folder))
    none = train.subset(torch.empty(0, dtype=torch.int64))
    splits = Splits(train, none, none, ["a"])
    return measure(splits), splits


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    records, splits = measured(tmp_path, [picture(90, 70), picture(90, 70), picture(200, 100)])
    result = files.check_sizes(records, splits)
    assert (result.mark, result.sentence) == ("✓", "90x70 to 200x100, most often 90x70 (2 images)")


def test_most_images_smaller_than_the_network_sees_them_are_one_warning(tmp_path: Path) -> None:
    records, splits = measured(tmp_path, [picture(40, 30), picture(30, 50), picture(90, 70)], size=64)
    assert files.check_sizes(records, splits).mark == "!"
    assert "write 30" in files.check_sizes(records, splits).sentence
    assert files.check_tiny(records, splits).passed is None


@pytest.mark.parametrize(("side", "mark"), [(32, "✓"), (31, "!")])
def test_an_image_enlarged_more_than_twice_is_tiny(tmp_path: Path, side: int, mark: str) -> None:
    records, splits = measured(tmp_path, [picture(70, 70), picture(70, 71), picture(90, side)], size=64)
    result = files.check_tiny(records, splits)
    assert result.mark == mark
    assert (f"2.png of train 90x{side}" in result.sentence) is (mark == "!")


@pytest.mark.parametrize(
    ("size", "mark"), [((128, 64), "✓"), ((129, 64), "!"), ((64, 128), "✓"), ((64, 129), "!")]
)
@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
def test_images_more_than_twice_as_long_as_wide_are_named(
    tmp_path: Path, size: tuple[int, int], mark: str, resize: str
) -> None:
    records, splits = measured(tmp_path, [picture(70, 70), picture(*size)], resize=resize)
    result = files.check_aspect_ratios(records, splits)
    assert result.mark == mark
    assert (f"data.resize={resize}" in result.sentence) is (mark == "!")


@pytest.mark.parametrize(
    ("modes", "channels", "mark"),
    [
        (["RGB", "RGB", "P"], 3, "✓"),
        (["L", "L", "1"], 3, "✓"),
        (["RGB", "RGB", "L"], 3, "!"),
        (["RGB", "RGB", "L"], 1, "✓"),
        (["RGB", "RGB", "RGBA"], 1, "!"),
        (["RGB", "RGB", "CMYK"], 3, "!"),
    ],
)
def test_images_of_another_kind_are_named(tmp_path: Path, modes: list[str], channels: int, mark: str) -> None:
    images = [picture(70, 70, mode) for mode in modes]
    records, splits = measured(tmp_path, images, channels=channels)
    result = files.check_modes(records, splits)
    assert result.mark == mark
    assert result.details["modes"] == {mode: modes.count(mode) for mode in dict.fromkeys(modes)}
    assert ("2." in result.sentence) is (mark == "!")


def test_noise_around_one_colour_is_a_single_colour_and_a_dark_picture_is_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dark = rng.normal(10, 4, (256, 256, 1)).clip(0, 255).repeat(3, 2).astype(np.uint8)
    lit = dark.copy()
    lit[100:140, 100:140] += 25
    records, splits = measured(tmp_path, [Image.fromarray(dark), Image.fromarray(lit)])
    result = files.check_single_colours(records, splits)
    assert [one.index for one in files.single_coloured(records)] == [0]
    assert "1 image of a single colour (0.png of train)" in result.sentence


def test_files_without_any_that_can_be_read_have_no_sizes(tmp_path: Path) -> None:
    records, splits = measured(tmp_path, [picture(70, 70)])
    (tmp_path / "0.png").write_bytes(b"")
    records = measure(splits)
    assert files.check_unreadable(records, splits).passed is False
    for check in (files.check_sizes, files.check_tiny, files.check_aspect_ratios, files.check_modes):
        assert check(records, splits).passed is None
