"""Image folders: both layouts, splits, the memory limit, and refused folders."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.config.stored_config import from_yaml, to_yaml
from cnntrain.data import image_folder
from cnntrain.data.fingerprint import fingerprint
from cnntrain.data.image_set import FileImages, MemoryImages
from cnntrain.data.settings.image_files import Folder, ImageNet
from cnntrain.errors import DataError

SHADE = {"ant": 10, "bee": 120, "cat": 240}


def fill(root: Path, count: int = 10, classes: tuple[str, ...] = ("cat", "ant", "bee")) -> Path:
    """Write `count` images per class, each class in its own shade."""
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(count):
            shade = SHADE.get(name, 0)
            Image.new("RGB", (6, 8), (shade, shade, i)).save(root / name / f"{i}.png")
    return root


@pytest.mark.parametrize("moved", ["NFC", "NFD"])
def test_names_do_not_depend_on_the_unicode_form_in_which_a_system_writes_them(
    moved: str, tmp_path: Path
) -> None:
    names = ("Füchse", "Bären")
    fill(tmp_path / "here", 12, names)
    fill(tmp_path / "there", 12, tuple(unicodedata.normalize(moved, name) for name in names))
    loaded = [
        Folder(path=str(tmp_path / place), image_size=8, memory_limit_gb=0.0).load(0)
        for place in ("here", "there")
    ]
    assert loaded[0].names == loaded[1].names == ["Bären", "Füchse"]
    assert fingerprint(loaded[0]) == fingerprint(loaded[1])
    for one, other in zip(*(splits.parts().values() for splits in loaded), strict=True):
        assert isinstance(one, FileImages)
        assert isinstance(other, FileImages)
        assert sorted(one.names) == sorted(other.names)


def test_two_classes_of_one_name_in_two_unicode_forms_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, 12, tuple(unicodedata.normalize(form, "Bären") for form in ("NFC", "NFD")))
    with pytest.raises(DataError, match="Bären: several classes have this name"):
        Folder(path=str(tmp_path), image_size=8).load(0)


@pytest.mark.parametrize(("factor", "noticed"), [(1, True), (16, False)])
def test_16_bit_images_that_use_12_bits_are_noticed(factor: int, noticed: bool, tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for number in range(12):
            values = np.linspace(0, 4095, 64).reshape(8, 8).astype(np.uint16) * factor
            Image.fromarray(values).save(tmp_path / name / f"{number}.png")
    splits = Folder(path=str(tmp_path), image_size=8, channels=1).load(0)
    assert any("keep 16 grey levels of 256" in notice for notice in splits.notices) is noticed
    assert bool(splits.notices) is noticed


def test_images_are_decoded_in_inference_mode_too(tmp_path: Path) -> None:
    images = Folder(path=str(fill(tmp_path)), image_size=4, memory_limit_gb=0.0).load(0).train
    assert isinstance(images, FileImages)
    expected, _ = images.decode_all(range(len(images)), progress=False)
    with torch.inference_mode():
        found, _ = images.decode_all(range(len(images)), progress=False)
    assert torch.equal(found, expected)


def test_class_folders_become_labels_in_the_order_of_their_names(tmp_path: Path) -> None:
    settings = Folder(
        path=str(fill(tmp_path)), image_size=4, test_fraction=0.2, val_fraction=0.25, split_by="position"
    )
    splits = settings.load(0)
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


def test_the_test_split_of_a_folder_is_the_same_for_every_seed(tmp_path: Path) -> None:
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


def test_without_a_test_folder_the_test_split_is_taken_from_train(tmp_path: Path) -> None:
    fill(tmp_path / "train", 10)
    splits = Folder(path=str(tmp_path), test_fraction=0.1, split_by="position").load(0)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [24, 3, 3]


def test_labels_are_the_same_in_a_split_that_lacks_a_class(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test", 2, classes=("bee", "cat"))
    assert Folder(path=str(tmp_path)).load(0).test.labels.tolist() == [1, 1, 2, 2]


def test_images_in_nested_folders_are_used_and_hidden_and_other_files_ignored(tmp_path: Path) -> None:
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


def test_files_that_are_not_used_are_counted_in_notices(tmp_path: Path) -> None:
    for split in ("train", "test"):
        fill(tmp_path / split, 2)
        shutil.copy(tmp_path / split / "ant" / "0.png", tmp_path / split / "stray.png")
    shutil.copy(tmp_path / "train" / "ant" / "0.png", tmp_path / "stray.png")
    (tmp_path / "test" / "bee" / "deep").mkdir()
    for name in ("train/ant/photo", "train/ant/a.txt", "test/ant/b.txt"):
        (tmp_path / name).write_bytes(b"")
    assert Folder(path=str(tmp_path)).load(0).notices == [
        "not used, as they lie beside the class folders: 3 images (stray.png, stray.png, stray.png)",
        "not used, as their names are not those of images: 1 without extension, 2 .txt",
        "images in folders of a class folder belong to its class: bee/deep",
    ]


def test_names_that_cannot_be_stored_or_printed_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    os.rename(tmp_path / "ant" / "0.png", os.fsencode(tmp_path / "ant") + b"/\xff.png")
    with pytest.raises(DataError, match=r"udcff.*not UTF-8; rename it"):
        Folder(path=str(tmp_path)).load(0)
    shutil.rmtree(tmp_path / "ant")
    os.rename(tmp_path / "bee", tmp_path / "b\nee")
    with pytest.raises(DataError) as caught:
        Folder(path=str(tmp_path)).load(0)
    assert str(tmp_path / "b") + "\\nee: this name" in str(caught.value)


def test_images_beyond_the_memory_limit_are_read_from_files(tmp_path: Path) -> None:
    fill(tmp_path)
    size_gb = 30 * 10 * 10 * 3 / 1e9
    in_memory = Folder(path=str(tmp_path), image_size=10, memory_limit_gb=size_gb).load(0)
    on_disk = Folder(path=str(tmp_path), image_size=10, memory_limit_gb=size_gb * 0.99, workers=3).load(0)
    assert isinstance(in_memory.train, MemoryImages)
    assert isinstance(on_disk.train, FileImages)
    assert on_disk.train.workers == 3
    assert torch.equal(on_disk.train.to_memory(False).images, in_memory.train.images)


def test_damaged_images_of_all_splits_are_named_at_load(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        fill(tmp_path / split, 4)
        (tmp_path / split / "bee" / "bad.png").write_bytes(b"")
    with pytest.raises(DataError, match="3 image files") as caught:
        Folder(path=str(tmp_path)).load(0)
    for split in ("train", "val", "test"):
        assert str(tmp_path / split / "bee" / "bad.png") in str(caught.value)


def assert_refused(root: Path, *parts: str) -> None:
    with pytest.raises(DataError) as caught:
        Folder(path=str(root)).load(0)
    for part in parts:
        assert part in str(caught.value)


def test_unusable_folders_are_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "missing", "missing", "does not exist")
    (tmp_path / "file").write_text("")
    assert_refused(tmp_path / "file", "is a file")
    (tmp_path / "empty").mkdir()
    assert_refused(tmp_path / "empty", "empty", "no folders")
    assert_refused(fill(tmp_path / "one", classes=("ant",)), "only one class (ant)")
    (fill(tmp_path / "hollow") / "dog").mkdir()
    assert_refused(tmp_path / "hollow", "hollow", "no images in dog", "png")
    fill(tmp_path / "untrained" / "test")
    assert_refused(tmp_path / "untrained", "no train/")
    fill(tmp_path / "mixed" / "val")
    fill(tmp_path / "mixed" / "train")
    fill(tmp_path / "mixed" / "Validation")
    assert_refused(tmp_path / "mixed", "Validation/ and val/, both names of one split")
    fill(tmp_path / "both" / "train")
    fill(tmp_path / "both" / "more")
    assert_refused(tmp_path / "both", "more", "only train/, val/ and test/")
    fill(tmp_path / "strange" / "train")
    fill(tmp_path / "strange" / "test", classes=("ant", "dog"))
    assert_refused(tmp_path / "strange", "test", "dog")
    (problem,) = Folder().problems()
    assert problem.startswith("data.path: ")


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    locked = str(tmp_path / "bee")
    scandir = os.scandir

    def scan(path: str | Path) -> object:
        if str(path) == locked:
            raise PermissionError(13, "Permission denied", locked)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    assert_refused(tmp_path, locked, "Permission denied")


def test_imagenet_uses_its_val_folder_for_testing_and_requires_all_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ImageNet(root=str(tmp_path), val_fraction=0.1)
    with pytest.raises(DataError, match="no train and no val"):
        settings.load(0)
    fill(tmp_path / "train")
    fill(tmp_path / "val", 2)
    with pytest.raises(DataError, match="has 3 class folders, ImageNet has 1000"):
        settings.load(0)
    monkeypatch.setattr(image_folder, "IMAGENET_CLASSES", 3)
    splits = settings.load(0)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [27, 3, 6]
    assert splits.test.shape == (224, 224, 3)


@pytest.mark.parametrize(
    "names",
    [
        ("Train", "Val", "Test"),
        ("TRAINING", "valid", "testing"),
        ("train", "DEV", "eval"),
        ("training", "Validation", "test"),
    ],
)
def test_split_folders_have_several_names_in_any_case(names: tuple[str, str, str], tmp_path: Path) -> None:
    for name, count in zip(names, (9, 3, 2), strict=True):
        fill(tmp_path / name, count)
    settings = Folder(path=str(tmp_path), image_size=8)
    splits = settings.load(0)
    assert splits.names == ["ant", "bee", "cat"]
    assert [len(part) for part in splits.parts().values()] == [27, 9, 6]
    assert len(settings.load_split("test", 0)[0]) == 6
    assert len(settings.load_split("all", 0)[0]) == 42


def test_a_class_without_images_in_validation_or_test_is_no_error(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "valid", 2)
    fill(tmp_path / "test", 2, ("ant", "bee"))
    shutil.rmtree(tmp_path / "valid" / "cat")
    (tmp_path / "valid" / "cat").mkdir()
    splits = Folder(path=str(tmp_path), image_size=8).load(0)
    assert splits.missing_classes() == {"train": [], "val": ["cat"], "test": ["cat"]}


def test_hidden_files_and_those_of_systems_are_counted_and_not_used(tmp_path: Path) -> None:
    fill(tmp_path)
    before = Folder(path=str(tmp_path), image_size=8).load(0)
    assert before.notices == []
    for folder in ("__MACOSX/cat", ".ipynb_checkpoints", "cat/.ipynb_checkpoints", "@eaDir"):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(tmp_path / "cat/0.png", tmp_path / folder / "0.png")
    for file in ("._cat", "cat/._0.png", "cat/Thumbs.db", "desktop.ini", "ant/.DS_Store"):
        (tmp_path / file).write_bytes(b"x")
    after = Folder(path=str(tmp_path), image_size=8).load(0)
    assert after.names == before.names
    assert [len(part) for part in after.parts().values()] == [len(part) for part in before.parts().values()]
    (notice,) = after.notices
    assert notice.startswith("not used: 9 hidden files and folders, and those of systems (")


def split_of_each_name(settings: Folder) -> dict[str, str]:
    splits = settings.load(0)
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    found = {}
    for split, part in parts.items():
        assert isinstance(part, FileImages)
        found |= dict.fromkeys(part.names, split)
    return found


@pytest.mark.parametrize("split_by", ["hash", "name"])
@pytest.mark.parametrize("nested", [False, True])
def test_an_image_keeps_its_split_when_its_folder_grows_or_shrinks(
    nested: bool, split_by: str, tmp_path: Path
) -> None:
    settings = Folder(
        path=str(tmp_path), memory_limit_gb=0, test_fraction=0.2, val_fraction=0.2, split_by=split_by
    )
    fill(tmp_path / "train" if nested else tmp_path, 40)
    before = split_of_each_name(settings)
    for name in ("ant", "dog"):  # more images in an old class, and a new class
        folder = tmp_path / ("train" if nested else "") / name
        folder.mkdir(exist_ok=True)
        for i in range(100, 130):
            Image.new("RGB", (6, 8)).save(folder / f"{i}.png")
    (tmp_path / ("train" if nested else "") / "bee" / "3.png").unlink()
    after = split_of_each_name(settings)
    assert all(after[name] == split for name, split in before.items() if name in after)
    assert len(after) == 120 + 60 - 1
    counts = [list(after.values()).count(split) for split in ("train", "val", "test")]
    # Binomial: within four standard deviations of 64, 16 and 20 per cent of the images.
    for count, fraction in zip(counts, (0.64, 0.16, 0.2), strict=True):
        assert abs(count - 179 * fraction) < 4 * (179 * fraction * (1 - fraction)) ** 0.5


@pytest.mark.parametrize(("split_by", "expected"), [("hash", [3, 2, 1]), ("name", [4, 1, 1])])
def test_every_split_of_a_small_folder_has_an_image(
    split_by: str, expected: list[int], tmp_path: Path
) -> None:
    settings = Folder(path=str(fill(tmp_path, 2)), test_fraction=0.01, val_fraction=0.01, split_by=split_by)
    assert [len(part) for part in settings.load(0).parts().values()] == expected


def test_a_configuration_stored_before_split_by_existed_keeps_its_cut(tmp_path: Path) -> None:
    config = configure(["data=folder", f"data.path={tmp_path}"], Choices()).config
    text = to_yaml(config)
    assert from_yaml(text, "").data.split_by == "hash"
    assert from_yaml(text.replace("split_by: hash", "split_by: name"), "").data.split_by == "name"
    assert from_yaml(text.replace("  split_by: hash\n", ""), "").data.split_by == "position"


def test_names_in_any_script_are_accepted(tmp_path: Path) -> None:
    names = ("می\u200cخواهم", "हिन्दी", "👩\u200d👧", "猫")
    fill(tmp_path, classes=names)
    assert set(Folder(path=str(tmp_path)).load(0).names) == set(names)


def test_a_folder_that_is_a_link_to_itself_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert_refused(tmp_path / "loop", "remove the symbolic link")


def test_pipes_and_links_that_repeat_images_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "piped")
    os.mkfifo(tmp_path / "piped" / "ant" / "x.png")
    assert_refused(tmp_path / "piped", "x.png", "is no file but a pipe")
    fill(tmp_path / "looped")
    (tmp_path / "looped" / "ant" / "up").symlink_to(tmp_path / "looped")
    assert_refused(tmp_path / "looped", "up", "counted twice")
    fill(tmp_path / "twice")
    (tmp_path / "twice" / "dog").symlink_to(tmp_path / "twice" / "ant")
    assert_refused(tmp_path / "twice", "dog", "counted twice")
    fill(tmp_path / "elsewhere" / "photos")
    fill(tmp_path / "linked", classes=("bee", "cat"))
    (tmp_path / "linked" / "ant").symlink_to(tmp_path / "elsewhere" / "photos" / "ant")
    assert Folder(path=str(tmp_path / "linked")).load(0).names == ["ant", "bee", "cat"]


def test_jpegs_of_any_ending_are_images_and_heic_files_are_to_be_converted(tmp_path: Path) -> None:
    fill(tmp_path, 6)
    for number, ending in enumerate(("jfif", "JPE", "webp")):
        kind = "WEBP" if ending == "webp" else "JPEG"
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "ant" / f"photo.{ending}", format=kind)
    for number in range(2):
        (tmp_path / "ant" / f"{number}.HEIC").write_bytes(b"ftypheic")
    splits = Folder(path=str(tmp_path), image_size=8).load(0)
    assert sum(map(len, splits.parts().values())) == 3 * 6 + 3
    notice = "not used, as their names are not those of images: 2 .HEIC; .HEIC files are not read: convert"
    assert any(line.startswith(notice) for line in splits.notices)
    for name in ("bee", "cat"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "0.heic").write_bytes(b"ftypheic")
    assert_refused(tmp_path / "photos", "no images in bee, cat", ".heic files are not read: convert them")
