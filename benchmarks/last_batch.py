"""What becomes of the images that are left over after an epoch's last full batch: four ways, compared.

drop         they are not used in this epoch, as before data.drop_last existed
smaller      they are a last batch of their own
carried      they begin the next epoch's first batch; epochs differ in their number of batches
equal        the images are divided into batches that differ by one image at most (the default)

A small network with batch normalization learns the digits from few images: python -m benchmarks.last_batch
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from cnntrain.assemble.parts import build_step, evaluation_batches
from cnntrain.assemble.run import build_parts
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.model.fine_tuning import training_mode
from cnntrain.seeding import generator
from cnntrain.training.evaluate_split import evaluate_split

WAYS = ("drop", "smaller", "carried", "equal")
# Training images, and the batch size.
CASES = ((129, 64), (200, 64), (130, 128), (190, 128), (500, 128))
EPOCHS, SEEDS = 20, 5
# Validation images are taken from the others, so that so many are left.
OVERRIDES = [
    "data.val_fraction=0.2",
    "model.normalization=batch",
    "trainer.instruments=false",
    "trainer.threads=1",
    f"trainer.epochs={EPOCHS}",
]


def batches(way: str, images: int, size: int, seed: int) -> Iterator[Tensor]:
    """Yield the indices of each batch of EPOCHS epochs."""
    orders = [torch.randperm(images, generator=generator(seed, "order", epoch)) for epoch in range(EPOCHS)]
    if way == "carried":
        stream = torch.cat(orders)
        yield from stream[: len(stream) // size * size].split(size)
        return
    for order in orders:
        if way == "equal":
            count = -(-images // size)
            yield from (order[i * images // count : (i + 1) * images // count] for i in range(count))
        else:
            yield from (part for part in order.split(size) if way == "smaller" or len(part) == size)


def accuracy(way: str, images: int, size: int, seed: int) -> float:
    """Return the test accuracy after training one network."""
    choices = [*OVERRIDES, f"data.limit={round(images / 0.8)}", f"data.batch_size={size}", f"seed={seed}"]
    config = configure(choices, Choices()).config
    parts = build_parts(config, None, Path(), "")
    train, compute = parts.splits.train, parts.compute
    assert len(train) == images
    chosen = list(batches(way, images, size, seed))
    # A schedule over all updates, however they are spread over epochs.
    config = replace(parts.config, trainer=replace(config.trainer, epochs=1))
    old = parts.step
    step = build_step(config, old.network, old.preprocess, old.criterion, compute, len(chosen))
    training_mode(step.network)
    for number, indices in enumerate(chosen):
        batch = train.subset(indices)
        (pixels,) = batch.chunks(len(batch))
        step.run(number, pixels, batch.labels, recording=False)
    test = evaluation_batches(parts.splits.test, config, compute)
    found = evaluate_split(step.network, step.preprocess, step.criterion, test, compute)
    return float(found.metrics["accuracy"] or 0)


def main() -> None:
    print("| images | batch | " + " | ".join(WAYS) + " |\n|---|---|" + "---|" * len(WAYS))
    for images, size in CASES:
        cells = []
        for way in WAYS:
            found = [100 * accuracy(way, images, size, seed) for seed in range(SEEDS)]
            cells.append(f"{statistics.fmean(found):.2f} ± {statistics.stdev(found):.2f}")
        print(f"| {images} | {size} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
