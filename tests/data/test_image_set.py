"""Decoding of image files of every format; damaged files are named."""

from __future__ import annotations

import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

from cnntrain.data import image_decoding
from cnntrain.data.image_set import FileImages
from cnntrain.errors import DataError

RED, GREEN, BLUE, WHITE, BLACK = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]


def files(*paths: Path, size: int = 4, resize: str = "squash", channels: int = 3) -> FileImages:
    labels = torch.zeros(len(paths), dtype=torch.int64)
    return FileImages([str(path) for path in paths], labels, size, resize, channels, workers=0)


def read(path: Path, size: int = 4, resize: str = "squash", channels: int = 3) -> np.ndarray:
    return files(path, size=size, resize=resize, channels=channels).read(0).numpy()


def save_image(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def random_pixels(size: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("ending", ["png", "bmp", "ppm", "tif", "TIFF", "webp"])
def test_lossless_files_are_decoded_exactly(tmp_path: Path, ending: str) -> None:
    options = {"lossless": True} if ending == "webp" else {}
    path = save_image(tmp_path / f"image.{ending}", random_pixels(), **options)
    np.testing.assert_array_equal(read(path), random_pixels())


def test_grey_is_the_weighted_sum_of_colours(tmp_path: Path) -> None:
    pixels = random_pixels()
    grey = read(save_image(tmp_path / "a.png", pixels), channels=1)
    assert grey.shape == (4, 4, 1)
    np.testing.assert_allclose(grey[..., 0], pixels @ [0.299, 0.587, 0.114], atol=1)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, ending: str) -> None:
    values = np.array([[0, 257, 1000, 20000], [32768, 40000, 65000, 65535]] * 2, dtype=np.uint16)
    pixels = read(save_image(tmp_path / f"deep.{ending}", values), channels=1)[..., 0]
    np.testing.assert_array_equal(pixels, np.rint(values / 65535 * 255))


def test_16_bit_colour_is_scaled(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + struct.pack(">6H", 65535, 32768, 0, 0, 256, 65280) for _ in range(2))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(png + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    expected = np.array([[[255, 128, 0], [0, 1, 254]]] * 2)
    assert abs(read(tmp_path / "a.png", size=2).astype(int) - expected).max() <= 1


def test_transparent_pixels_are_blended_with_white(tmp_path: Path) -> None:
    rgba = np.array([[[255, 0, 0, 255], [0, 0, 0, 0]], [[0, 0, 0, 128], [0, 0, 255, 255]]], dtype=np.uint8)
    pixels = read(save_image(tmp_path / "a.png", rgba), size=2)
    assert pixels[0].tolist() == [RED, WHITE]
    assert pixels[1, 1].tolist() == BLUE
    assert abs(pixels[1, 0].astype(int) - 127).max() <= 1


@pytest.mark.parametrize("transparency", [1, bytes([255, 0])])
def test_a_palette_with_alpha_is_blended_with_white(tmp_path: Path, transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette(RED + GREEN)
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=transparency)
    assert read(tmp_path / "a.png", size=2)[0].tolist() == [RED, WHITE]


def test_palette_bilevel_and_cmyk_images_become_rgb(tmp_path: Path) -> None:
    flags = np.array([[True, False], [False, True]])
    Image.fromarray(flags).save(tmp_path / "bits.png")
    assert read(tmp_path / "bits.png", size=2).tolist() == [[WHITE, BLACK], [BLACK, WHITE]]
    plain = np.full((16, 16, 3), RED, dtype=np.uint8)
    for name, mode in (("a.gif", "P"), ("a.jpg", "CMYK"), ("a.tif", "CMYK")):
        pixels = read(save_image(tmp_path / name, plain, mode), size=2).astype(int)
        assert abs(pixels - RED).max() <= 4, name


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        options = {"lossless": True} if name.endswith("webp") else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert read(tmp_path / name)[0, 0].tolist() == RED, name


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_exif_is_undone(tmp_path: Path, orientation: int, resize: str) -> None:
    upright = np.zeros((32, 24, 3), dtype=np.uint8)
    upright[:16, :12], upright[:16, 12:], upright[16:, :12] = RED, GREEN, BLUE
    # The stored array, from the definition of the tag: the sides at row 0 and at column 0.
    stored = {
        1: upright,  # row 0 is the top, column 0 the left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.transpose(1, 0, 2),  # left, top
        6: upright[:, ::-1].transpose(1, 0, 2),  # right, top
        7: upright[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
        8: upright[::-1].transpose(1, 0, 2),  # left, bottom
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save_image(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif)
    plain = save_image(tmp_path / "plain.png", upright)
    np.testing.assert_array_equal(read(path, 15, resize), read(plain, 15, resize))


MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "tif": ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I"),
    "jpg": ("L", "RGB", "CMYK", "YCbCr"),
    "webp": ("L", "LA", "P", "RGB", "RGBA"),
}


def as_pillow_has_it(path: Path) -> np.ndarray:
    """Return the pixels by Pillow's own rotation and conversion, transparency on white, 16 bits divided."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.asarray(image.convert("RGB").resize((4, 4), Image.Resampling.BILINEAR)).astype(int)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", MODES)
def test_every_mode_in_every_orientation_is_what_pillow_makes_of_it(
    tmp_path: Path, ending: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(orientation).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    for number, mode in enumerate(MODES[ending]):
        image = Image.fromarray(pixels)
        if mode.startswith("I"):
            grey = pixels[..., 0].astype(np.uint16) * 251
            image = Image.fromarray(grey if mode == "I;16" else grey.astype(np.int32))
        elif mode == "P":
            image = image.convert("RGB").quantize(16)
        elif mode not in ("RGBA", "LA"):
            image = image.convert("RGB").convert(mode)
        else:
            image = image.convert(mode)
        path = tmp_path / f"{number} 猫 ü.{ending}"
        # Pillow 12 does not read the uncompressed YCbCr that it writes as TIFF.
        image.save(path, exif=exif, **({"compression": "tiff_lzw"} if ending == "tif" else {}))
        # Grey images are resized before they become colours here, and after it there: by rounding.
        assert abs(read(path).astype(int) - as_pillow_has_it(path)).max() <= 1, mode


def test_a_large_jpeg_is_rotated_by_exif_and_decoded_at_a_reduced_size(tmp_path: Path) -> None:
    upright = np.zeros((400, 400, 3), dtype=np.uint8)
    upright[:200, :200], upright[:200, 200:], upright[200:, :200] = RED, GREEN, BLUE
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save_image(
        tmp_path / "a.jpg", np.ascontiguousarray(upright[:, ::-1].transpose(1, 0, 2)), exif=exif
    )
    pixels = read(path, size=20).astype(int)
    for position, colour in (((4, 4), RED), ((4, 15), GREEN), ((15, 4), BLUE), ((15, 15), BLACK)):
        assert abs(pixels[position] - colour).max() < 12


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    plain = read(save_image(tmp_path / "a.png", random_pixels()))
    path = save_image(tmp_path / "b.png", random_pixels(), exif=b"Exif\0\0garbage of no kind")
    np.testing.assert_array_equal(read(path), plain)


def test_crop_squash_and_pad_of_a_wide_image(tmp_path: Path) -> None:
    wide = np.zeros((4, 8, 3), dtype=np.uint8)
    wide[:, :2], wide[:, 2:6], wide[:, 6:] = RED, GREEN, BLUE
    path = save_image(tmp_path / "wide.png", wide)
    assert (read(path, 4, "crop") == GREEN).all()
    squashed = read(path, 4, "squash")
    assert squashed[0, 0, 0] > 150
    assert squashed[0, 3, 2] > 150
    padded = read(path, 8, "pad")
    assert (padded[:2] == 0).all()
    assert (padded[6:] == 0).all()
    np.testing.assert_array_equal(padded[2:6], wide)


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("sides", [(1, 1), (1, 3000), (3000, 1)])
def test_images_one_pixel_wide_or_high_are_read(tmp_path: Path, resize: str, sides: tuple[int, int]) -> None:
    path = save_image(tmp_path / "a.png", np.full((*sides, 3), 200, dtype=np.uint8))
    pixels = read(path, 8, resize)
    assert pixels.shape == (8, 8, 3)
    assert pixels.max() == 200


def test_10000_by_10000_pixels_are_read_and_larger_images_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (10000, 10000), 1).save(tmp_path / "large.png")
    assert (read(tmp_path / "large.png") == 255).all()
    monkeypatch.setattr(image_decoding, "MAX_PIXELS", 99_000_000)
    with pytest.raises(DataError, match=r"large\.png: .*10000x10000 pixels"):
        read(tmp_path / "large.png")


def damaged_files(folder: Path) -> dict[str, Path]:
    """Write one file of each kind of damage."""
    good = save_image(folder / "good.png", random_pixels(64)).read_bytes()
    photograph = save_image(folder / "good.jpg", random_pixels(64)).read_bytes()
    contents = {
        "truncated.png": good[: len(good) // 2],
        "truncated.jpg": photograph[: len(photograph) // 2],
        "empty.png": b"",
        "text.png": b"this is a text\n",
        "flipped.png": good[:300] + bytes([good[300] ^ 255]) + good[301:],
        "header.bmp": b"BM",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    save_image(folder / "float.tif", np.ones((4, 4), dtype=np.float32))
    return {name: folder / name for name in [*contents, "float.tif", "missing.png"]}


def test_each_damaged_file_is_named_with_the_reason(tmp_path: Path) -> None:
    damaged = damaged_files(tmp_path)
    reasons = {"empty.png": "is empty", "text.png": "not an image", "float.tif": "floating-point"}
    for name, path in damaged.items():
        with pytest.raises(DataError) as caught:
            read(path)
        message = str(caught.value)
        assert str(path) in message
        assert reasons.get(name, "read" if name == "missing.png" else "") in message
        assert "remove or replace it" in message


def test_all_damaged_files_are_named_at_once_up_to_ten(tmp_path: Path) -> None:
    good = save_image(tmp_path / "fine.png", random_pixels())
    damaged = list(damaged_files(tmp_path).values())
    with pytest.raises(DataError) as caught:
        files(good, *damaged).to_memory(progress=False)
    message = str(caught.value)
    assert all(str(path) in message for path in damaged)
    assert "fine.png" not in message
    many = [tmp_path / f"none{i}.png" for i in range(14)]
    with pytest.raises(DataError, match="14 image files") as caught:
        files(*many).to_memory(progress=False)
    assert sum(f"none{i}.png" in str(caught.value) for i in range(14)) == 10
    assert "and 4 more" in str(caught.value)


def test_images_in_memory_equal_single_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    paths = []
    for i in range(9):
        pixels = rng.integers(0, 256, (5 + i, 12 - i, 3), dtype=np.uint8)
        paths.append(save_image(tmp_path / f"{i}.{'jpg' if i % 2 else 'png'}", pixels))
    on_disk = files(*paths, size=6, resize="crop")
    memory = on_disk.to_memory(progress=False)
    assert memory.shape == on_disk.shape == (6, 6, 3)
    for i in range(9):
        assert torch.equal(memory.images[i], on_disk.read(i))
    assert torch.equal(torch.cat(list(on_disk.chunks(4))), memory.images)
    assert torch.equal(torch.cat(list(memory.chunks(4))), memory.images)
    indices = torch.tensor([7, 0, 3])
    assert torch.equal(on_disk.subset(indices).to_memory(False).images, memory.subset(indices).images)


class ReadingDataset(torch.utils.data.Dataset):
    """A data set that reads image files, for worker processes."""

    def __init__(self, images: FileImages):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images.read(index)


def test_an_error_in_a_worker_process_names_the_file_without_a_traceback(tmp_path: Path) -> None:
    path = damaged_files(tmp_path)["truncated.png"]
    with pytest.raises(DataError) as caught:
        list(DataLoader(ReadingDataset(files(path)), num_workers=1))
    assert str(caught.value).startswith(f"{path}: ")
    assert "Traceback" not in str(caught.value)
    with pytest.raises(DataError) as direct:
        read(path)
    assert str(direct.value) == str(caught.value) == str(pickle.loads(pickle.dumps(direct.value)))
