"""Every batch is a pure function of (seed, epoch, step), independent of earlier reads and of workers."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from cnntrain.augmentation.transforms import Augment, Flip, PaddedCrop
from cnntrain.data.batches import Batches
from cnntrain.data.image_set import FileImages, MemoryImages
from cnntrain.data.readers import _watched, usable_workers
from cnntrain.machine_errors import ReaderDied

CPU = torch.device("cpu")


@pytest.fixture
def images() -> MemoryImages:
    torch.manual_seed(0)
    return MemoryImages(torch.randint(256, (50, 6, 6, 3), dtype=torch.uint8), torch.arange(50))


@pytest.mark.parametrize("batch_size", [1, 7, 8, 13, 25, 49, 50, 51, 1000])
def test_an_epoch_has_each_image_once_in_batches_of_equal_size(images: MemoryImages, batch_size: int) -> None:
    batches = Batches(images, batch_size, CPU, seed=3)
    found = [labels for _, labels in batches.epoch(0, 0, 99)]
    sizes = [len(labels) for labels in found]
    assert sorted(torch.cat(found).tolist()) == list(range(50))
    assert len(batches) == len(sizes) == math.ceil(50 / batch_size)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size


def test_full_batches_alone_leave_out_other_images_in_each_epoch(images: MemoryImages) -> None:
    batches = Batches(images, 8, CPU, seed=3, drop_last=True)
    labels = torch.cat([labels for _, labels in batches.epoch(0, 0, 99)])
    assert len(batches) == 6
    assert len(labels) == 48
    assert len(set(labels.tolist())) == 48
    others = torch.cat([labels for _, labels in batches.epoch(1, 0, 99)])
    assert set(labels.tolist()) != set(others.tolist())
    for batch, indices in batches.epoch(1, 0, 99):
        assert torch.equal(batch, images.images[indices])


def test_every_epoch_and_seed_has_a_different_order(images: MemoryImages) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return torch.cat([labels for _, labels in Batches(images, 8, CPU, seed).epoch(epoch, 0, 99)]).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_batches_are_the_same_when_an_epoch_is_entered_in_the_middle(images: MemoryImages) -> None:
    batches = Batches(images, 8, CPU, seed=3, augment=Augment([PaddedCrop(1), Flip()]))
    whole = list(batches.epoch(2, 0, 99))
    part = list(batches.epoch(2, 4, 6))
    assert len(part) == 2
    for (left, left_labels), (right, right_labels) in zip(whole[4:6], part, strict=True):
        assert torch.equal(left, right)
        assert torch.equal(left_labels, right_labels)


@pytest.mark.parametrize("workers", [0, 2])
def test_worker_processes_give_the_same_batches_as_images_in_memory(tmp_path: Path, workers: int) -> None:
    rng = np.random.default_rng(0)
    paths = []
    for i in range(20):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(paths[-1])
    files = FileImages(paths, torch.arange(20), 8, "crop", 3, workers)
    memory = files.to_memory(progress=False)
    augment = Augment([PaddedCrop(1), Flip()])
    for epoch in (0, 1):
        from_files = list(Batches(files, 6, CPU, 5, augment).epoch(epoch, 1, 99))
        from_memory = list(Batches(memory, 6, CPU, 5, augment).epoch(epoch, 1, 99))
        assert len(from_files) == len(from_memory) == 3
        for (left, left_labels), (right, right_labels) in zip(from_files, from_memory, strict=True):
            assert torch.equal(left, right)
            assert torch.equal(left_labels, right_labels)


def test_more_workers_than_cores_read_without_torchs_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    files = FileImages([str(tmp_path / "a.png")] * 4, torch.arange(4), 2, "crop", 1, 2)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0}, raising=False)
    with pytest.warns(UserWarning, match="This DataLoader will create 2 worker processes"):
        DataLoader(TensorDataset(torch.arange(4)), num_workers=2)
    labels = [labels.tolist() for _, labels in Batches(files, 2, CPU).in_order()]
    assert labels == [[0, 1], [2, 3]]


def test_evaluation_reads_all_images_in_order(images: MemoryImages) -> None:
    labels = torch.cat([labels for _, labels in Batches(images, 8, CPU).in_order()])
    assert labels.tolist() == list(range(50))


def test_the_last_batch_of_evaluation_has_the_remaining_images(images: MemoryImages) -> None:
    batches = list(Batches(images, 8, CPU).in_order())
    assert [len(batch) for batch, _ in batches] == [8] * 6 + [2]
    assert torch.equal(torch.cat([batch for batch, _ in batches]), images.images)


@pytest.mark.parametrize(
    ("missing_blocks", "writable", "system", "workers"),
    [(0, True, "linux", 3), (1, True, "linux", 0), (0, False, "linux", 0), (1, False, "darwin", 3)],
)
def test_images_are_read_by_processes_where_two_batches_of_each_fit_into_shared_memory(
    missing_blocks: int,
    writable: bool,
    system: str,
    workers: int,
    images: MemoryImages,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = FileImages(["a.png"] * 20, torch.arange(20), 8, "crop", 3, 3)
    batch = torch.empty(5, *files.shape, dtype=torch.uint8)
    # f_bfree counts the blocks reserved for the superuser too, f_bsize is not the unit of blocks.
    free = SimpleNamespace(
        f_frsize=16, f_bavail=3 * 2 * batch.nbytes // 16 - missing_blocks, f_bsize=4096, f_bfree=10**9
    )
    monkeypatch.setattr("os.statvfs", lambda path: free, raising=False)
    monkeypatch.setattr("os.access", lambda path, mode: writable)
    monkeypatch.setattr("sys.platform", system)
    assert usable_workers(files, 5) == workers
    assert usable_workers(images, 5) == 0


def test_without_a_folder_of_shared_memory_images_are_read_without_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(path: str) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr("os.statvfs", missing, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert usable_workers(FileImages(["a.png"], torch.arange(1), 8, "crop", 3, 2), 1) == 0


@pytest.mark.parametrize(("spare_bytes", "stored"), [(0, True), (-1, False)])
def test_images_beyond_a_quarter_of_free_gpu_memory_are_moved_batch_by_batch(
    spare_bytes: int, stored: bool, images: MemoryImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[torch.Size] = []

    def move(tensor: torch.Tensor, device: torch.device, **_: Any) -> torch.Tensor:
        moved.append(tensor.shape)
        return tensor

    free = 4 * (images.images.nbytes + spare_bytes)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free, 100 * free))
    monkeypatch.setattr(torch.Tensor, "to", move)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    batches = Batches(images, 25, torch.device("cuda"))
    assert moved == ([images.images.shape, images.labels.shape] if stored else [])
    moved.clear()
    assert len(list(batches.in_order())) == 2
    assert stored or moved == [(25, 6, 6, 3), (25,)] * 2


class Reader:
    """As a DataLoader: its process is killed, and its connection then breaks somehow."""

    def __init__(self, error: Exception, number: int):
        self._workers = [multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))]
        self._iterator = self
        self.error, self.number = error, number

    def __iter__(self) -> Iterator[Any]:
        self._workers[0].start()
        os.kill(self._workers[0].pid or 0, self.number)
        yield torch.zeros(1), torch.zeros(1)
        raise self.error


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(104, "Connection reset by peer"),
        EOFError(),
        RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed."),
        pickle.UnpicklingError("pickle data was truncated"),
        FileNotFoundError(2, "No such file or directory", "/dev/shm/torch_1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_killed_reader_is_named_whatever_torch_raises_then(
    error: Exception, number: signal.Signals
) -> None:
    reader = Reader(error, number)
    with pytest.raises(ReaderDied, match=rf"\(pid \d+\) was killed by signal {number.name}"):
        list(_watched(reader))  # type: ignore[arg-type]


def test_an_error_of_a_reader_that_lives_is_passed_on() -> None:
    reader = Reader(FileNotFoundError(2, "No such file"), 0)
    try:
        with pytest.raises(FileNotFoundError):
            list(_watched(reader))  # type: ignore[arg-type]
    finally:
        reader._workers[0].kill()
        reader._workers[0].join()
