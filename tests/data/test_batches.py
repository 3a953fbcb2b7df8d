"""Every batch is a pure function of (seed, epoch, step), independent of earlier reads and of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnntrain.augmentation.transforms import Augment, Flip, PaddedCrop
from cnntrain.data.batches import Batches
from cnntrain.data.image_set import FileImages, MemoryImages

CPU = torch.device("cpu")


@pytest.fixture
def images() -> MemoryImages:
    torch.manual_seed(0)
    return MemoryImages(torch.randint(256, (50, 6, 6, 3), dtype=torch.uint8), torch.arange(50))


def test_an_epoch_has_each_image_once_without_the_incomplete_last_batch(images: MemoryImages) -> None:
    batches = Batches(images, 8, CPU, seed=3)
    labels = torch.cat([labels for _, labels in batches.epoch(0, 0, 99)])
    assert len(batches) == 6
    assert len(labels) == 48
    assert len(set(labels.tolist())) == 48
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
        assert len(from_files) == len(from_memory) == 2
        for (left, left_labels), (right, right_labels) in zip(from_files, from_memory, strict=True):
            assert torch.equal(left, right)
            assert torch.equal(left_labels, right_labels)


def test_evaluation_reads_all_images_in_order(images: MemoryImages) -> None:
    labels = torch.cat([labels for _, labels in Batches(images, 8, CPU).in_order()])
    assert labels.tolist() == list(range(50))
