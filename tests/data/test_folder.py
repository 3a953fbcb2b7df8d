"""Folders of images: both layouts, the cuts, the memory limit, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from cnntrain.data import folder
from cnntrain.data.images import FileImages, MemoryImages
from cnntrain.data.settings import Folder, ImageNet
from cnntrain.errors import DataError

SHADE = {"ant": 10, "bee": 120, "cat": 240}


def fill(root: Path, count: int = 10, classes: tuple[str, ...] = ("cat", "ant", "bee")) -> Path:
    """Write `count` images per class, each class of a shade of its own."""
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(count):
            shade = SHADE.get(name, 0)
            Image.new("RGB", (6, 8), (shade, shade, i)).save(root / name / f"{i}.png")
    return root


def test_class_folders_become_labels_in_the_order_of_their_names(tmp_path: Path) -> None:
    splits = Folder(path=str(fill(tmp_path)), image_size=4, test_fraction=0.2, val_fraction=0.25).load(0)
    assert splits.names == ["ant", "bee", "cat"]
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [18, 6, 6]
    seen = set()
    for part in (splits.train, splits.val, splits.test):
        assert isinstance(part, MemoryImages)
        assert torch.bincount(part.labels).unique().numel() == 1
        for image, label in zip(part.images, part.labels.tolist(), strict=True):
            assert image[0, 0, 0] == SHADE[splits.names[label]]
            seen.add((label, int(image[0, 0, 2])))
    assert len(seen) == 30


def test_the_test_split_cut_from_a_folder_is_the_same_for_every_seed(tmp_path: Path) -> None:
    settings = Folder(path=str(fill(tmp_path)), memory_limit_gb=0)
    first, second = settings.load(0), settings.load(1)
    assert isinstance(first.test, FileImages)
    assert isinstance(second.test, FileImages)
    assert first.test.paths == second.test.paths == sorted(first.test.paths)
    assert isinstance(first.val, FileImages)
    assert isinstance(second.val, FileImages)
    assert first.val.paths != second.val.paths


def test_train_val_and_test_folders_are_the_splits(tmp_path: Path) -> None:
    for split, count in (("train", 10), ("val", 4), ("test", 5)):
        fill(tmp_path / split, count)
    splits = Folder(path=str(tmp_path), val_fraction=0.5, limit=12).load(0)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [12, 12, 15]
    assert splits.names == ["ant", "bee", "cat"]


def test_a_missing_test_folder_is_cut_from_train(tmp_path: Path) -> None:
    fill(tmp_path / "train", 10)
    splits = Folder(path=str(tmp_path), test_fraction=0.1).load(0)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [24, 3, 3]


def test_a_split_may_lack_a_class_but_keeps_the_labels(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test", 2, classes=("bee", "cat"))
    assert Folder(path=str(tmp_path)).load(0).test.labels.tolist() == [1, 1, 2, 2]


def test_images_in_folders_within_count_and_hidden_and_other_files_do_not(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    (tmp_path / "ant" / "deep" / "er").mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(tmp_path / "ant" / "deep" / "er" / "a.PNG")
    for hidden in (".DS_Store", "ant/.hidden.png", "ant/notes.txt", "ant/Thumbs.db"):
        (tmp_path / hidden).write_bytes(b"no image")
    (tmp_path / ".git").mkdir()
    (tmp_path / "ant" / ".cache").mkdir()
    (tmp_path / "ant" / ".cache" / "a.png").write_bytes(b"no image")
    splits = Folder(path=str(tmp_path), test_fraction=0.5, val_fraction=0).load(0)
    assert len(splits.train) + len(splits.test) == 7
    assert len(splits.names) == 3


def test_images_beyond_the_memory_limit_stay_files(tmp_path: Path) -> None:
    fill(tmp_path)
    need = 30 * 10 * 10 * 3 / 1e9
    fits = Folder(path=str(tmp_path), image_size=10, memory_limit_gb=need).load(0)
    beyond = Folder(path=str(tmp_path), image_size=10, memory_limit_gb=need * 0.99, workers=3).load(0)
    assert isinstance(fits.train, MemoryImages)
    assert isinstance(beyond.train, FileImages)
    assert beyond.train.workers == 3
    assert torch.equal(beyond.train.to_memory(False).images, fits.train.images)


def test_damaged_images_of_all_splits_are_named_at_load(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        fill(tmp_path / split, 4)
        (tmp_path / split / "bee" / "bad.png").write_bytes(b"")
    with pytest.raises(DataError, match="3 image files") as caught:
        Folder(path=str(tmp_path)).load(0)
    for split in ("train", "val", "test"):
        assert str(tmp_path / split / "bee" / "bad.png") in str(caught.value)


def refused(root: Path, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        Folder(path=str(root)).load(0)
    for word in words:
        assert word in str(caught.value)


def test_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "missing", "missing", "does not exist")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "is a file")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty", "no folders")
    refused(fill(tmp_path / "one", classes=("ant",)), "only one class (ant)")
    (fill(tmp_path / "hollow") / "dog").mkdir()
    refused(tmp_path / "hollow", "hollow", "no images in dog", "png")
    fill(tmp_path / "untrained" / "test")
    refused(tmp_path / "untrained", "no train/")
    fill(tmp_path / "mixed" / "train")
    fill(tmp_path / "mixed" / "validation")
    refused(tmp_path / "mixed", "validation", "only train/, val/ and test/")
    fill(tmp_path / "strange" / "train")
    fill(tmp_path / "strange" / "test", classes=("ant", "dog"))
    refused(tmp_path / "strange", "test", "dog")
    (problem,) = Folder().problems()
    assert problem.startswith("data.path: ")


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    locked = str(tmp_path / "bee")
    scandir = os.scandir

    def scan(path: str | Path) -> object:
        if str(path) == locked:
            raise PermissionError(13, "Permission denied", locked)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    refused(tmp_path, locked, "Permission denied")


def test_imagenet_tests_on_its_val_folder_and_wants_all_its_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ImageNet(root=str(tmp_path), val_fraction=0.1)
    with pytest.raises(DataError, match="no train and no val"):
        settings.load(0)
    fill(tmp_path / "train")
    fill(tmp_path / "val", 2)
    with pytest.raises(DataError, match="has 3 class folders, ImageNet has 1000"):
        settings.load(0)
    monkeypatch.setattr(folder, "IMAGENET_CLASSES", 3)
    splits = settings.load(0)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [27, 3, 6]
    assert splits.test.shape == (224, 224, 3)
