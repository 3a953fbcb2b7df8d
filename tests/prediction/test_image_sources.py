"""The same images from every source, and what is no source of images."""

from __future__ import annotations

import io
import itertools
import os
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnntrain.errors import DataError
from cnntrain.prediction.image_sources import find_images, label_of, names_in
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
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\r\n".join(NAMES).encode() + b"\n\n")))
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
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(DataError, match=expected):
        find_images(where)


class Chunks(io.BytesIO):
    """A stream that hands out pieces of its content of these sizes."""

    def __init__(self, content: bytes, sizes: Iterator[int]):
        super().__init__(content)
        self._sizes = sizes

    def read1(self, size: int | None = -1) -> bytes:
        return super().read1(next(self._sizes))


@pytest.mark.parametrize("seed", range(60))
def test_names_of_any_bytes_are_read_from_lines_and_between_nul_characters(seed: int) -> None:
    rng = random.Random(seed)
    separator = (b"\n", b"\r\n", b"\0")[seed % 3]
    allowed = sorted(set(range(256)) - set(b"\0\r\n"))
    names = [bytes(rng.choices(allowed, k=rng.randrange(1, 30))) for _ in range(rng.randrange(1, 8))]
    content = separator.join(names) + (separator if separator == b"\0" or rng.random() < 0.5 else b"")
    sizes = [rng.randrange(1, 40) for _ in range(5)]
    found = names_in(Chunks(content, itertools.cycle(sizes)))
    assert [os.fsencode(name) for name in found] == names


def test_names_between_nul_characters_may_have_line_breaks() -> None:
    assert list(names_in(io.BytesIO(b"a\nb.png\0c.png\r\0"))) == ["a\nb.png", "c.png\r"]


def test_what_is_no_image_in_a_folder_is_yielded_with_its_reason_in_the_same_order_always(
    folder: Path,
) -> None:
    names = [b"a/1.png", b"a/\xff.png", b"b/2.png"]
    for name in names:
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).touch()
    for name in ("gone.png", "away.png"):
        (folder / "a" / name).symlink_to("nowhere")
    (folder / "b" / "up").symlink_to(folder)
    os.mkfifo(folder / "b" / "pipe.png")
    found = {os.path.relpath(source.name, folder): source.no_image for source in find_images(str(folder))}
    assert list(found) == [
        "a/away.png",
        "a/gone.png",
        "a/1.png",
        "a/\udcff.png",
        "b/pipe.png",
        "b/up",
        "b/2.png",
    ]
    whole = [os.fsencode(name) for name, reason in found.items() if reason is None]
    assert whole == names
    assert (
        found["a/gone.png"]
        == found["b/pipe.png"]
        == ("is no file but a pipe, a device or a link to nothing; remove it")
    )
    assert str(found["b/up"]).startswith(f"is a link to {folder}, whose images would be counted twice")


def test_a_file_with_the_name_of_a_pattern_is_that_file() -> None:
    for name in ("*.png", "[a]*.png", "a.png"):
        Path(name).touch()
    for name in ("*.png", "[a]*.png"):
        assert [source.name for source in find_images(name)] == [name]


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
