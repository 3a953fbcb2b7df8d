"""The same images from every source, and what is no source of images."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnntrain.errors import DataError
from cnntrain.prediction.image_sources import find_images, label_of
from cnntrain.prediction.prediction_stream import read_source

NAMES = ["a b/0.png", "a b/1.png", "a b/c-d/2.png", "a b/c/3.png", "a b/é.png", "a b/猫 1.png"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_source_of_the_same_images_has_them_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    for name, image in zip(NAMES, pixels, strict=True):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(name)
    for ignored in (".hidden.png", "notes.txt", "Thumbs.db"):
        (Path("a b") / ignored).write_text("no image")
    np.savez("images.npz", images=pixels)
    np.savez_compressed("parts.npz", x_train=pixels[:4], y_train=[0], x_test=pixels[4:] / np.float32(255))
    np.savez("fortran.npz", images=np.asfortranarray(pixels))
    numbered = [f"images[{number}]" for number in range(6)]
    parts = [*(f"x_train[{number}]" for number in range(4)), "x_test[0]", "x_test[1]"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\r\n".join(NAMES) + "\n\n"))
    for where, names in (
        ("a b", NAMES),
        ("a b/**", NAMES),
        ("-", NAMES),
        ("images.npz", numbered),
        ("parts.npz", parts),
        ("fortran.npz", numbered),
    ):
        sources = list(find_images(where))
        assert [source.name for source in sources] == names, where
        found = torch.stack([read_source(source, (8, 8, 3), "crop") for source in sources])
        assert np.array_equal(found.numpy(), pixels), where
    assert [source.name for source in find_images(NAMES[4])] == [NAMES[4]]
    assert [source.name for source in find_images("a b/c*")] == [NAMES[3], NAMES[2]]


def test_the_order_of_a_folder_is_that_of_the_paths(folder: Path) -> None:
    names = ["a/z.png", "a-b.png", "a-b/x.png", "a.png", "a.b/y.png", "ab/1.png", "b.png", "é/2.png"]
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert [source.name for source in find_images(str(folder))] == sorted(
        str(folder / name) for name in names
    )


def test_a_version_changes_with_the_file() -> None:
    Path("1.png").write_bytes(b"one")
    (before,) = find_images("1.png")
    os.utime("1.png", (1, 1))
    (after,) = find_images("1.png")
    assert (before.name, before.version != after.version) == (after.name, True)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("nowhere", "predict.images=nowhere: does not exist"),
        ("empty", "predict.images=empty: holds no images"),
        ("*.jpg", r"predict.images=\*.jpg: matches no images"),
        ("labels.npz", r"labels.npz: has no array images or x_test \(it has y\)"),
        ("objects.npz", "objects.npz: images has Python objects inside"),
        ("bytes.npz", "bytes.npz: images is of type int64; save it as uint8"),
        ("bad.npz", "bad.npz: is damaged or not an .npz file"),
        ("cut.npz", r"cut.npz: is damaged or not an .npz file \(it ends too early\)"),
        ("a.zip", "predict.images=a.zip: is an archive; unpack it"),
        ("-", "standard input has no names"),
        ("a\0b", "does not exist"),
    ],
)
def test_what_has_no_images_is_refused_in_words(
    where: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("empty").mkdir()
    np.savez("labels.npz", y=np.zeros(3))
    np.savez("objects.npz", images=np.array([[[None]]]))
    np.savez("bytes.npz", images=np.zeros((1, 8, 8), np.int64))
    Path("bad.npz").write_bytes(b"PK\3\4 nothing")
    whole = io.BytesIO()
    np.save(whole, np.zeros((4, 8, 8, 3), np.uint8))
    with zipfile.ZipFile("cut.npz", "w") as archive:
        archive.writestr("images.npy", whole.getvalue()[:300])
    Path("a.zip").write_bytes(b"")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(DataError, match=expected):
        find_images(where)


@pytest.mark.parametrize(
    ("where", "label"),
    [
        ("-", "stdin"),
        ("photos/new/", "new"),
        ("photos/*/a*.jpg", "photos"),
        ("*.jpg", "images"),
        ("a b.c.png", "a_b_c"),
    ],
)
def test_names_of_files_are_made_of_what_is_predicted(where: str, label: str) -> None:
    assert label_of(where) == label
