"""The two data sets that need no files: digits and synthetic."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from cnntrain.data.image_set import ImageSet, MemoryImages
from cnntrain.data.settings.built_in import Digits
from cnntrain.data.settings.generated import Synthetic


def flat(part: ImageSet) -> np.ndarray:
    assert isinstance(part, MemoryImages)
    return part.images.flatten(1).numpy()


def test_digits_contain_each_image_of_scikit_learn_exactly_once() -> None:
    splits = Digits().load(seed=0)
    parts = [splits.train, splits.val, splits.test]
    ours = np.concatenate([flat(part) for part in parts])
    labels = np.concatenate([part.labels.numpy() for part in parts])
    reference = load_digits()
    scaled = np.floor(reference.images.reshape(-1, 64) * 255 / 16 + 0.5)
    order, reference_order = np.lexsort(ours.T), np.lexsort(scaled.T)
    np.testing.assert_array_equal(ours[order], scaled[reference_order])
    assert (
        labels[order] == reference.target[reference_order]
    ).mean() > 0.999  # identical images may be swapped
    assert ours.min() == 0
    assert ours.max() == 255
    assert splits.train.shape == (8, 8, 1)


def test_the_test_split_of_digits_is_the_same_for_every_seed() -> None:
    first, second = Digits().load(seed=0), Digits().load(seed=1)
    np.testing.assert_array_equal(flat(first.test), flat(second.test))
    assert not np.array_equal(flat(first.val), flat(second.val))
    counts = np.bincount(load_digits().target) / 5
    assert (abs(torch.bincount(first.test.labels).numpy() - counts) < 1).all()


def test_info_of_digits_describes_the_loaded_splits() -> None:
    info, splits = Digits().info(), Digits(val_fraction=0).load(0)
    assert info.train_images == len(splits.train)
    assert (info.height, info.width, info.channels) == splits.train.shape
    assert info.outputs == len(splits.names)


def test_synthetic_images_follow_the_settings_and_do_not_depend_on_the_seed() -> None:
    settings = Synthetic(
        classes=3, image_size=9, channels=2, train_images=300, test_images=31, val_fraction=0
    )
    first, second = settings.load(0), settings.load(1)
    np.testing.assert_array_equal(flat(first.train), flat(second.train))
    assert (len(first.train), len(first.test)) == (300, 31)
    assert first.train.shape == (9, 9, 2)
    assert torch.bincount(first.train.labels).tolist() == [100, 100, 100]
    assert (flat(first.train)[:31] == flat(first.test)).mean() < 0.1
    assert flat(first.train).std() > 30


def test_synthetic_classes_are_separable_by_the_nearest_mean() -> None:
    splits = Synthetic(image_size=8, train_images=400, test_images=200, val_fraction=0).load(0)
    train, test = flat(splits.train).astype(float), flat(splits.test).astype(float)
    means = np.stack([train[splits.train.labels.numpy() == label].mean(0) for label in range(10)])
    nearest = ((test[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == splits.test.labels.numpy()).mean() > 0.9
