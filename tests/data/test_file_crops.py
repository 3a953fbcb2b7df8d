"""Random crops are cut from image files at their own size, and kept in memory or not they are the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from cnntrain.assemble.parts import crops_of_files
from cnntrain.augmentation.file_crop import FileCrop
from cnntrain.augmentation.geometry import crop_boxes, draw_boxes
from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.data import jpeg_decoding
from cnntrain.data.batches import Batches
from cnntrain.data.file_crops import FileCrops
from cnntrain.data.image_set import FileImages
from cnntrain.data.reduced_images import EncodedImage
from cnntrain.seeding import generator

CPU = torch.device("cpu")
SIZES = [(90, 60), (64, 80), (50, 50), (301, 200), (48, 130)]


@pytest.fixture
def files(tmp_path: Path) -> FileImages:
    """Images of several sizes, smooth, so that a JPEG has almost the same pixels."""
    rng = np.random.default_rng(0)
    paths = []
    for number, size in enumerate(SIZES):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        paths.append(tmp_path / f"{number}.{'jpg' if number % 2 else 'png'}")
        coarse.resize(size, Image.Resampling.BICUBIC).save(paths[-1], quality=95)
    return FileImages(list(map(str, paths)), torch.arange(len(SIZES)), 16, "crop", 3, 2, str(tmp_path))


def test_a_crop_equals_torchvisions_of_the_same_box(files: FileImages) -> None:
    crop = FileCrop(0.3, 40)  # of which no image has twice the side, but the large one
    for index, draws in enumerate(crop.draws(len(files), seed=4, epoch=1, step=2)):
        with files.opened(index) as image:
            top, left, rows, columns = crop.box(draws, image.height, image.width)
            factor = crop.factor(min(rows, columns))
            found, pixels = crop(image, draws), image.reduced(factor)
        box = [top // factor, left // factor, round(rows / factor), round(columns / factor)]
        expected = v2.functional.resized_crop(pixels.permute(2, 0, 1), *box, [40, 40], antialias=True)
        assert found.shape == (40, 40, 3)
        difference = (found.int() - expected.permute(1, 2, 0).int()).abs()
        assert difference.max() <= 1 if factor == 1 else difference.float().mean() < 2


@pytest.mark.parametrize(("height", "width"), [(40, 60), (8, 90), (375, 500)])
def test_boxes_of_single_images_are_those_of_batches(height: int, width: int) -> None:
    count, crop = 500, FileCrop(0.2, 24)
    of_batch = crop_boxes(draw_boxes(generator(4, "file crop", 1, 2), count), (height, width), 0.2)
    of_images = torch.tensor([crop.box(draws, height, width) for draws in crop.draws(count, 4, 1, 2)])
    same = (of_batch.T.int() == of_images).all(1)  # but for roundings in float32
    assert same.float().mean() > 0.99


def test_an_image_is_reduced_as_far_as_its_crop_allows() -> None:
    crop = FileCrop(0.25, 24)
    assert [crop.factor(side) for side in (5, 24, 47, 48, 95, 96, 191, 192)] == [1, 1, 1, 2, 2, 4, 4, 8]
    sizes = ((375, 500), (47, 90), (10, 7), (2000, 3000))
    draws = crop.draws(500, 0, 0, 0)
    for height, width in sizes:
        used = {crop.factor(min(crop.box(draw, height, width)[2:])) for draw in draws}
        assert used <= set(crop.factors(height, width))
    assert [crop.factors(*size) for size in sizes] == [[4, 8], [1], [1], [32, 64]]


@pytest.mark.parametrize("factor", [1, 2, 4, 16])
def test_reduced_images_are_means_of_squares_of_pixels(files: FileImages, factor: int) -> None:
    for index, (width, height) in enumerate(SIZES):
        with files.opened(index) as image:
            reduced = image.reduced(factor)
        whole = torch.from_numpy(np.array(Image.open(files.paths[index]).convert("RGB")))
        means = torch.nn.functional.avg_pool2d(
            whole.permute(2, 0, 1).float(), factor, ceil_mode=True, count_include_pad=False
        ).permute(1, 2, 0)
        assert reduced.shape == (math.ceil(height / factor), math.ceil(width / factor), 3)
        # But for the rounding of a PNG's, and a JPEG's coding.
        limit = 0.51 if files.paths[index].endswith("png") else 3.0
        assert (means - reduced).abs().mean() < limit


@pytest.mark.parametrize(("mode", "options"), [("RGB", {}), ("RGB", {"progressive": True}), ("L", {})])
def test_pixels_are_pillows_whatever_decodes_them(
    mode: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (99, 131, 3), dtype=np.uint8)
    file = tmp_path / "a.jpg"
    Image.fromarray(pixels).convert(mode).save(file, **options)
    encoded = EncodedImage(file.read_bytes(), 3)
    with_extra = [encoded.reduced(factor) for factor in (1, 2, 8)]
    assert np.array_equal(with_extra[0], np.array(Image.open(file).convert("RGB")))
    monkeypatch.setattr(jpeg_decoding, "simplejpeg", None)
    for factor, expected in zip((1, 2, 8), with_extra, strict=True):
        assert torch.equal(encoded.reduced(factor), expected)


def test_a_rotated_photograph_is_cropped_upright(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[:, :20] = 255  # white on the left of what is stored, on top of the photograph
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    encoded = EncodedImage((tmp_path / "a.png").read_bytes(), 1)
    assert (encoded.height, encoded.width) == (60, 40)
    image = encoded.reduced(1)
    assert image.shape == (60, 40, 1)
    assert image[:20].min() == 255
    assert image[20:].max() == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_kept_in_memory_or_decoded_by_workers_the_crops_are_the_same(files: FileImages, workers: int) -> None:
    files.workers = workers
    crop = FileCrop(0.3, 24)
    kept, read = FileCrops(files, crop, math.inf), FileCrops(files, crop, 1000)
    assert kept.kept is not None
    assert read.kept is None
    batches = [Batches(files, 2, CPU, seed=5, crops=crops) for crops in (kept, read)]
    for (one, labels), (other, same_labels) in zip(*(b.epoch(3, 0, 99) for b in batches), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(labels, same_labels)
    # A step alone has the crops that it has in its epoch, and another epoch has others.
    ((later, labels),) = batches[1].epoch(3, 2, 3)
    assert torch.equal(later, one)
    assert torch.equal(batches[0].augmented(labels, 3, 2), one)
    assert not torch.equal(batches[0].augmented(labels, 4, 2), one)


def test_images_that_turn_out_larger_than_their_sample_are_not_kept(
    files: FileImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileCrops, "_estimated_bytes", lambda self: 0)
    crop = FileCrop(0.3, 24)
    kept = FileCrops(files, crop, math.inf).kept
    assert kept is not None
    total = sum(image.nbytes for image in kept)
    assert FileCrops(files, crop, total).kept is not None
    assert FileCrops(files, crop, total - 1).kept is None


def folder_of_photographs(root: Path) -> None:
    rng = np.random.default_rng(1)
    for name, shade in (("dark", 30), ("light", 180)):
        (root / name).mkdir(parents=True)
        for number in range(20):
            pixels = (shade + rng.integers(0, 60, (24 + number, 40, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.jpg")


def test_a_run_on_crops_of_files_resumes_bit_identically_with_images_in_memory_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_of_photographs(tmp_path / "photos")
    overrides = [
        *("data=photos", "data.image_size=16", "data.workers=0", "model=linear", "trainer.epochs=3"),
        *("augmentation=none", "augmentation.min_area=0.3", "augmentation.flip=true"),
        *("augmentation.rotation_degrees=10", "trainer.report=false", "trainer.pictures=false"),
    ]
    assert main([*overrides, "hydra.run.dir=whole"]) == 0
    assert "crops     random crops of the image files, which are kept in memory" in capsys.readouterr().out
    stopped = [*overrides, "hydra.run.dir=parts", "trainer.max_minutes=1e-9"]
    assert main(stopped) == 0
    assert main(["run=parts", "trainer.max_minutes=null", "data.memory_limit_gb=0"]) == 0
    assert "which are decoded in every epoch" in capsys.readouterr().out
    states = [torch.load(Path(f, "checkpoints/last.pt"), weights_only=True) for f in ("whole", "parts")]
    for name, weights in states[0]["network"].items():
        assert torch.equal(weights, states[1]["network"][name])
    # Crops of the stored images are others.
    assert main([*overrides, "augmentation.crop_from=stored", "hydra.run.dir=stored"]) == 0
    assert "crops     " not in capsys.readouterr().out
    losses = [
        [json.loads(line).get("train/loss") for line in Path(f, "metrics.jsonl").read_text().splitlines()]
        for f in ("whole", "stored")
    ]
    assert losses[0] != losses[1]


def test_a_limited_run_crops_the_images_that_it_trains_on(tmp_path: Path) -> None:
    folder_of_photographs(tmp_path / "photos")
    checked = configure(
        [
            *("data=folder", f"data.path={tmp_path / 'photos'}", "data.image_size=16", "data.limit=10"),
            *("augmentation=none", "augmentation.min_area=1", "data.batch_size=4"),
        ],
        Choices(),
    )
    config = checked.config
    train = config.data.load(0).train
    crops = crops_of_files(config, train)
    assert crops is not None
    whole = crops.batch(torch.arange(len(train)), 0, 0, 0).float()
    stored = torch.cat(list(train.chunks(100))).float()
    # The whole image, resized, has about the mean of its center.
    assert ((whole - stored).mean((1, 2, 3)).abs() < 10).all()
