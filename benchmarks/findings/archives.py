"""The arrays of the runs: subsets of Fashion-MNIST, MNIST and CIFAR-10, the digits, and damaged copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure

TRAIN_IMAGES, TEST_IMAGES = 2500, 500
SETS = {"fashion": "fashion_mnist", "mnist": "mnist", "cifar": "cifar10"}
Arrays = dict[str, Any]


def write_archives(folder: Path, root: Path) -> None:
    """Write digits.npz, fashion.npz, mnist.npz and cifar.npz; root: where the complete sets are."""
    for name, data in {**SETS, "digits": "digits"}.items():
        where = [] if name == "digits" else [f"data.root={root}"]
        settings = configure([f"data={data}", *where], Choices()).config.data
        splits = settings.read()
        arrays: Arrays = {}
        for split, count in (("train", TRAIN_IMAGES), ("test", TEST_IMAGES)):
            images = splits.parts()[split]
            arrays[f"x_{split}"] = images.images[:count].numpy()
            arrays[f"y_{split}"] = images.labels[:count].numpy()
        np.savez(folder / f"{name}.npz", **arrays)


def changed(arrays: Arrays, change: str) -> Arrays:
    """Return damaged arrays; `change` is the name of a fault and its dose."""
    rng = np.random.default_rng(0)
    kind, _, dose = change.partition("_")
    x, y = arrays["x_train"].copy(), arrays["y_train"].copy()
    new = dict(arrays)
    if kind == "random":
        y = rng.permutation(y)
        if dose == "labels_all":
            new["y_test"] = rng.permutation(arrays["y_test"])
    elif kind == "wrong":
        chosen = rng.random(len(y)) < int(dose) / 100
        y[chosen] = (y[chosen] + rng.integers(1, 10, chosen.sum())) % 10
    elif kind == "rare":
        keep = (y < 6) | (rng.random(len(y)) < int(dose) / 100)
        for label in range(6, 10):
            keep[np.flatnonzero(y == label)[:12]] = True
        x, y = x[keep], y[keep]
    elif kind == "copies":
        count = len(x) * int(dose) // 100
        x, y = np.concatenate([x, x[:count]]), np.concatenate([y, y[:count]])
    elif kind == "contrast":
        for key in ("x_train", "x_test"):
            new[key] = (100 + arrays[key] // int(dose)).astype(np.uint8)
        x = new["x_train"]
    elif kind == "constant":
        for key in ("x_train", "x_test"):
            images = arrays[key] if arrays[key].ndim == 4 and arrays[key].shape[3] > 1 else None
            if images is None:
                images = np.repeat(arrays[key].reshape(*arrays[key].shape[:3], 1), 3, 3)
            new[key] = images.copy()
            new[key][..., 1] = int(dose)
        x = new["x_train"]
    new["x_train"], new["y_train"] = x, y
    return new
