"""Other stacks that train the same network on the same images, each written as usual for it."""

from __future__ import annotations

import contextlib
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from .workloads import BATCH_SIZE, Workload

PADDING = 4


def autocast(bf16: bool) -> contextlib.AbstractContextManager[Any]:
    """Return a context with autocast to bfloat16, or one without effect."""
    return torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext()


def timed(
    workload: Workload,
    network: torch.nn.Module,
    passes: int,
    bf16: bool,
    batches: Callable[[], Iterable[Any]],
) -> list[float]:
    """Train for some passes with a plain loop; return the images per second of each."""
    optimizer = torch.optim.SGD(network.parameters(), workload.lr, momentum=0.9, nesterov=True)
    rates = []
    for _ in range(passes):
        images_seen, started = 0, time.perf_counter()
        for batch_number, (images, labels) in enumerate(batches(), 1):
            with autocast(bf16):
                loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            images_seen += len(images)
            if batch_number == workload.batches:
                break
        rates.append(images_seen / (time.perf_counter() - started))
    return rates


def bare_batches(workload: Workload, root: Path) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    """Return a function that yields the batches of a pass: from memory, augmented by indexing, normalized."""
    array, label_array = workload.images(root)
    images, labels = torch.from_numpy(array).permute(0, 3, 1, 2), torch.from_numpy(label_array)
    mean, deviation = (
        255 * torch.tensor(values).view(1, -1, 1, 1) for values in (workload.mean, workload.deviation)
    )
    side = images.shape[-1]
    padded = F.pad(images, (PADDING,) * 4) if workload.augment else images

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(images)).split(BATCH_SIZE):
            if workload.augment:
                top, left = torch.randint(2 * PADDING + 1, (2, len(index)))
                rows = top[:, None] + torch.arange(side)
                columns = left[:, None] + torch.arange(side)
                columns = torch.where(torch.rand(len(index), 1) < 0.5, columns.flip(1), columns)
                batch = padded[index[:, None, None], :, rows[:, :, None], columns[:, None, :]]
                batch = batch.permute(0, 3, 1, 2)
            else:
                batch = images[index]
            yield (batch.float() - mean) / deviation, labels[index]

    return batches


def bare(workload: Workload, root: Path, passes: int, bf16: bool) -> list[float]:
    """Upper bound: images in memory, whole batches augmented by indexing, channels last, no metrics."""
    network = workload.network().to(memory_format=torch.channels_last)
    return timed(workload, network, passes, bf16, bare_batches(workload, root))


class PilImages(Dataset[Any]):
    """Images with per-image transforms, like torchvision's data sets."""

    def __init__(self, workload: Workload, root: Path):
        self.images, self.labels = workload.images(root)
        side = self.images.shape[1]
        augmentations = [transforms.RandomCrop(side, padding=PADDING), transforms.RandomHorizontalFlip()]
        self.transform = transforms.Compose(
            [
                *(augmentations if workload.augment else []),
                transforms.ToTensor(),
                transforms.Normalize(workload.mean, workload.deviation),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.images[index].squeeze())), int(self.labels[index])


def loader(workload: Workload, root: Path) -> DataLoader[Any]:
    """Return the usual DataLoader without workers, which on two cores only slow the network down."""
    return DataLoader(PilImages(workload, root), BATCH_SIZE, shuffle=True, drop_last=True)


def script(workload: Workload, root: Path, passes: int, bf16: bool) -> list[float]:
    """Usual training script: DataLoader, torchvision transforms, a plain loop."""
    batches = loader(workload, root)
    return timed(workload, workload.network(), passes, bf16, lambda: batches)


def lightning(workload: Workload, root: Path, passes: int, bf16: bool) -> list[float]:
    """Lightning with the same loader, with accuracy, CSV logger and checkpoint."""
    import lightning as pl
    from torchmetrics.classification import MulticlassAccuracy

    rates: list[float] = []

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.accuracy = workload.network(), MulticlassAccuracy(10)

        def training_step(self, batch: Any, index: int) -> Tensor:
            images, labels = batch
            scores = self.network(images)
            loss = F.cross_entropy(scores, labels)
            self.accuracy(scores, labels)
            self.log_dict({"loss": loss, "accuracy": self.accuracy}, prog_bar=True, on_epoch=True)
            return loss

        def on_train_epoch_start(self) -> None:
            self.started = time.perf_counter()

        def on_train_epoch_end(self) -> None:
            rates.append(workload.batches * BATCH_SIZE / (time.perf_counter() - self.started))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), workload.lr, momentum=0.9, nesterov=True)

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=passes,
            limit_train_batches=workload.batches,
            precision="bf16-mixed" if bf16 else "32-true",
            default_root_dir=folder,
            logger=pl.pytorch.loggers.CSVLogger(folder),
            enable_model_summary=False,
        )
        trainer.fit(Module(), loader(workload, root))
    return rates


STACKS = {"bare": bare, "script": script, "lightning": lightning}
