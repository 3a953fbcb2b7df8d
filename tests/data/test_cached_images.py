"""Images read from the cache are those decoded from their files, whatever happened to either in between."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnntrain.augmentation.file_crop import FileCrop
from cnntrain.cli import main
from cnntrain.data import cached_images, image_cache
from cnntrain.data.batches import Batches
from cnntrain.data.file_crops import FileCrops
from cnntrain.data.image_loading import into_memory
from cnntrain.data.image_set import FileImages, MemoryImages
from cnntrain.data.splits import Splits

Usage = namedtuple("Usage", "total used free")


def photo(path: Path, seed: int) -> str:
    pixels = np.random.default_rng(seed).integers(0, 256, (60 + seed, 90, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> FileImages:
    paths = [photo(tmp_path / "photos" / f"{number}.jpg", number) for number in range(6)]
    return FileImages(paths, torch.arange(6), 16, "crop", 3, 0, str(tmp_path / "photos"))


def loaded(files: FileImages, caches: Path | None, limit: float = 1.0) -> Splits:
    parts = [files.subset(torch.tensor(indices)) for indices in ([0, 1, 2], [3], [4, 5])]
    return into_memory(Splits(*parts, ["a", "b"]), limit, False, caches)


def pixels(splits: Splits) -> torch.Tensor:
    return torch.cat([chunk for part in splits.parts().values() for chunk in part.chunks(2)])


def decoded_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the name of each file is added that is decoded."""
    names = list[str]()
    plain = FileImages.read

    def read(self: FileImages, index: int) -> torch.Tensor:
        if self.cached is None or self.cached.find(index) is None:
            names.append(os.path.basename(self.paths[index]))
        return plain(self, index)

    monkeypatch.setattr(FileImages, "read", read)
    return names


@pytest.mark.parametrize("limit", [1.0, 0.0])
def test_images_are_decoded_once_and_those_of_changed_or_new_files_again(
    files: FileImages, limit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, caches = pixels(loaded(files, None)), tmp_path / "caches"
    assert torch.equal(pixels(loaded(files, caches, limit)), expected)
    names = decoded_names(monkeypatch)
    splits = loaded(files, caches, limit)
    assert isinstance(splits.train, MemoryImages) == (limit > 0)
    assert torch.equal(pixels(splits), expected)
    assert names == []
    photo(Path(files.paths[2]), 50)  # another image in place of the third
    again = pixels(loaded(files, caches, limit))
    assert set(names) == {"2.jpg"}
    assert torch.equal(again[[0, 1, 3, 4, 5]], expected[[0, 1, 3, 4, 5]])
    assert torch.equal(again, pixels(loaded(files, None)))


def test_other_pixels_are_in_another_folder(files: FileImages, tmp_path: Path) -> None:
    loaded(files, tmp_path / "caches")
    files.resize = "squash"
    assert torch.equal(pixels(loaded(files, tmp_path / "caches")), pixels(loaded(files, None)))
    assert len(list((tmp_path / "caches").iterdir())) == 2


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_crops_from_the_cache_are_those_of_the_files_for_any_number_of_workers(
    files: FileImages, workers: int, tmp_path: Path
) -> None:
    files.workers = workers
    crop = FileCrop(0.2, 12)
    sources = [FileCrops(files, crop, 0)]
    sources += [FileCrops(files, crop, limit, tmp_path / "caches") for limit in (0, 1e9)]
    assert [source.is_decoded for source in sources] == [False, False, True]
    # Another size needs other reductions of the same images.
    coarse = FileCrop(0.2, 3)
    assert not FileCrops(files, coarse, 0, tmp_path / "caches").cached.missing()  # type: ignore[union-attr]
    epochs = [Batches(files, 4, torch.device("cpu"), 5, crops=source).epoch(1, 0, 9) for source in sources]
    for (decoded, _), *others in zip(*epochs, strict=True):
        assert all(torch.equal(decoded, other) for other, _ in others)


def test_a_disk_without_room_is_said_and_images_are_read_from_their_files(
    files: FileImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pixels(loaded(files, None))
    monkeypatch.setattr(cached_images.shutil, "disk_usage", lambda folder: Usage(9, 9, 100))
    splits = loaded(files, tmp_path / "caches", 0)
    assert "MB are needed" in splits.notices[0]
    assert torch.equal(pixels(splits), expected)
    monkeypatch.undo()

    def full(file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_cache, "_flush", full)
    splits = loaded(files, tmp_path / "caches", 0)
    assert "cannot be written (No space left on device; free space)" in splits.notices[0]
    assert torch.equal(pixels(splits), expected)
    (folder,) = (tmp_path / "caches").iterdir()
    assert {file.name for file in folder.iterdir()} <= {".lock", "about.json"}


def killed_while_writing(files: FileImages, caches: Path) -> None:
    image_cache._flush = lambda file: os.kill(os.getpid(), signal.SIGKILL)
    loaded(files, caches)


def slowly(files: FileImages, caches: Path) -> None:
    flush = image_cache._flush
    image_cache._flush = lambda file: (time.sleep(0.3), flush(file))[1]
    loaded(files, caches)


@pytest.mark.skipif(os.name == "nt", reason="needs fork")
def test_what_a_killed_process_left_is_not_used_and_a_second_process_waits_for_the_first(
    files: FileImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    caches, fork = tmp_path / "caches", multiprocessing.get_context("fork")
    killed = fork.Process(target=killed_while_writing, args=(files, caches))
    killed.start()
    killed.join()
    (folder,) = caches.iterdir()
    assert list(folder.glob(".*.writing"))
    others = [fork.Process(target=slowly, args=(files, caches)) for _ in range(2)]
    for process in others:
        process.start()
    for process in others:
        process.join()
    assert "waiting for another process" in capfd.readouterr().out
    assert len(list(folder.glob("*.images"))) == 1
    assert not list(folder.glob(".*.writing"))
    names = decoded_names(monkeypatch)
    assert torch.equal(pixels(loaded(files, caches)), pixels(loaded(files, caches, 0)))
    assert names == []


@pytest.mark.parametrize("ending", [".images", ".npz"])
def test_damaged_files_of_the_cache_are_not_used(files: FileImages, ending: str, tmp_path: Path) -> None:
    expected = pixels(loaded(files, tmp_path / "caches"))
    (file,) = tmp_path.rglob(f"0*{ending}")
    file.write_bytes(file.read_bytes()[:-5])
    assert torch.equal(pixels(loaded(files, tmp_path / "caches", 0)), expected)


def test_a_process_that_is_no_copy_maps_the_files_itself(files: FileImages, tmp_path: Path) -> None:
    train = loaded(files, tmp_path / "caches", 0).train
    stored = pickle.dumps(train)
    assert len(stored) < train.shape[0] ** 2 * 3 * 3  # no pixels
    assert torch.equal(torch.cat(list(pickle.loads(stored).chunks(9))), torch.cat(list(train.chunks(9))))


def test_a_run_says_where_the_cache_is_and_the_command_removes_it(
    files: FileImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for name in ("a", "b"):
        for number in range(4):
            photo(tmp_path / "own" / name / f"{number}.png", number)
    quick = ["trainer.epochs=1", "trainer.report=false", "trainer.pictures=false", "data.image_size=8"]
    assert main(["data=own", "data.cache=disk", "model=linear", *quick]) == 0
    printed = capsys.readouterr().out
    assert "caching 8 decoded images, about 0.00154 MB" in printed
    assert f"cache     decoded images in {tmp_path}/xdg/cnntrain/images/own-" in printed
    kept = tmp_path / "xdg" / "cnntrain" / "images" / "own_file"
    kept.mkdir()
    assert main(["cache"]) == 0
    assert f"MB, 8x8, crop of {tmp_path}/own" in capsys.readouterr().out
    assert main(["cache", "remove"]) == 0
    assert list(kept.parent.iterdir()) == [kept]
    assert main(["cache", "remove", "nowhere"]) == 3
    assert main(["cache", "remove", "a", "b"]) == 2
    assert main(["cache", "--help"]) == 2


@pytest.mark.parametrize("given", ["true", "False", "Disk", "", "http://x.org/a", "own", "own/a"])
def test_a_cache_is_none_disk_or_a_folder_away_from_the_images(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "own" / "a" / "0.png", 0)
    assert main(["data=folder", "data.path=own", f"data.cache={given}", "model=linear"]) == 2
    assert f"data.cache={given}: " in capsys.readouterr().err
