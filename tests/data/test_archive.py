"""Archives of images: the same as their folder, unpacked once, and nothing outside of it."""

from __future__ import annotations

import io
import os
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from cnntrain.data import archive
from cnntrain.data.image_set import MemoryImages
from cnntrain.data.settings.image_files import Folder
from cnntrain.data.splits import Splits
from cnntrain.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cnntrain" / "archives"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, name in enumerate(("cat", "dög")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for shade in range(10):
            image = Image.new("L", (8, 8), 100 * number + shade)
            image.save(tmp_path / "photos" / name / f"{shade}.png")
    return tmp_path / "photos"


def load(path: Path) -> Splits:
    return Folder(path=str(path), image_size=8, channels=1).load(0)


def make(kind: str, photos: Path, with_folder: bool) -> Path:
    root = photos.parent if with_folder else photos
    name = shutil.make_archive(
        str(photos.parent / "archive"), kind, root, photos.name if with_folder else "."
    )
    return Path(name)


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "xztar"])
@pytest.mark.parametrize("with_folder", [True, False])
def test_an_archive_is_the_folder_that_it_was_made_of(
    kind: str, with_folder: bool, photos: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = make(kind, photos, with_folder)
    expected = load(photos)
    for attempt in range(2):
        found = load(packed)
        assert found.names == expected.names == ["cat", "dög"]
        for one, other in zip(found.parts().values(), expected.parts().values(), strict=True):
            assert isinstance(one, MemoryImages)
            assert isinstance(other, MemoryImages)
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels)
        assert ("unpacking" in capsys.readouterr().out) == (attempt == 0)
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1
    os.utime(packed, (1, 1))  # another archive
    load(packed)
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 2


def test_what_a_zip_of_macos_has_beside_the_folder_is_not_used(photos: Path) -> None:
    packed = make("zip", photos, with_folder=True)
    with zipfile.ZipFile(packed, "a") as content:
        content.writestr("__MACOSX/photos/cat/._0.png", b"x")
        content.writestr("photos/.DS_Store", b"x")
    assert load(packed).names == ["cat", "dög"]


def zip_with(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as content:
        for name in names:
            content.writestr(name, b"x")
    return path


def tar_with(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as content:
        for member in members:
            content.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def device(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.CHRTYPE
    return member


@pytest.mark.parametrize(
    "name", ["../evil.png", "/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_no_file_is_written_outside(name: str, kind: str, tmp_path: Path, cache: Path) -> None:
    file = tmp_path / f"evil.{kind}"
    packed = zip_with(file, "cat/0.png", name) if kind == "zip" else tar_with(file, tarfile.TarInfo(name))
    before = {path for path in tmp_path.rglob("*") if path.suffix == ".png"}
    with pytest.raises(DataError, match="would be unpacked outside"):
        load(packed)
    assert {path for path in tmp_path.rglob("*") if path.suffix == ".png"} == before
    assert [path for path in cache.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("member", [link("cat/0.png", "/etc/passwd"), link("cat", ".."), device("cat/0.png")])
def test_links_to_outside_and_devices_are_refused(
    member: tarfile.TarInfo, tmp_path: Path, cache: Path
) -> None:
    with pytest.raises(DataError, match="cannot be unpacked"):
        load(tar_with(tmp_path / "evil.tar", member))
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_what_is_too_large_is_refused_before_it_is_unpacked(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = make("zip", photos, with_folder=True)
    monkeypatch.setattr(archive, "MAX_BYTES", 100)
    with pytest.raises(DataError, match="has 23 files of"):
        load(packed)
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_a_zip_that_lies_about_its_size_is_not_unpacked(tmp_path: Path) -> None:
    packed = tmp_path / "bomb.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("cat/0.png", b"\0" * 10**6)
    data = bytearray(packed.read_bytes())
    for place in (data.index(b"PK\x03\x04") + 22, data.index(b"PK\x01\x02") + 24):
        data[place : place + 4] = struct.pack("<I", 10)
    packed.write_bytes(bytes(data))
    with pytest.raises(DataError, match="cannot be unpacked"):
        load(packed)


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_a_damaged_archive_is_named(kind: str, photos: Path, cache: Path) -> None:
    packed = make(kind, photos, with_folder=True)
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(DataError, match="archive"):
        load(packed)
    packed.write_bytes(b"no archive")
    with pytest.raises(DataError, match="is no zip or tar archive, or incomplete"):
        load(packed)
    with pytest.raises(DataError, match="cannot be read"):
        load(packed.with_name("missing.zip"))
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_a_zip_of_a_program_for_windows_has_folders(tmp_path: Path, photos: Path) -> None:
    file = tmp_path / "windows.zip"
    with zipfile.ZipFile(file, "w") as content:
        for path in sorted(photos.rglob("*.png")):
            entry = zipfile.ZipInfo("x")
            entry.filename = str(path.relative_to(photos)).replace("/", "\\")
            content.writestr(entry, path.read_bytes())
    assert load(file).names == load(photos).names


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_with_two_files_of_one_name_is_refused(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"twice.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr("cat/a.png", b"one")
            with pytest.warns(UserWarning, match="Duplicate name"):
                packed.writestr("cat/a.png", b"other")
    else:
        with tarfile.open(file, "w") as content:
            for text in (b"one", b"other"):
                member = tarfile.TarInfo("cat/a.png")
                member.size = len(text)
                content.addfile(member, io.BytesIO(text))
    with pytest.raises(DataError, match=r"has two files of the name 'cat/a\.png'"):
        load(file)


def test_an_encrypted_zip_is_said_to_be_one(tmp_path: Path) -> None:
    file = tmp_path / "secret.zip"
    with zipfile.ZipFile(file, "w") as content:
        content.writestr("cat/a.png", b"one")
    packed = bytearray(file.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags in both headers
        packed[packed.index(signature) + offset] |= 1
    file.write_bytes(packed)
    with pytest.raises(DataError, match="is encrypted; unpack it yourself"):
        load(file)
