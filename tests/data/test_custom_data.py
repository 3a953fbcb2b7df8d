"""Data of the user's own: arrays and Datasets become the same splits, and what is wrong with them is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnntrain.data.image_set import MemoryImages
from cnntrain.data.settings.arrays import Custom
from cnntrain.data.splits import Splits
from cnntrain.errors import ConfigError, DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 4, 5, 3), dtype=np.uint8)
LABELS = np.arange(20) % 2
# What `given` returns: set by each test.
RETURNED: list[Callable[[], Any]] = []


def given() -> Any:
    return RETURNED[0]()


class Pairs:
    """A Dataset of (image, label) pairs, converted by a function."""

    def __init__(self, convert: Callable[[Any], Any], count: int = 20):
        self.convert = convert
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.convert(PIXELS[index]), int(LABELS[index])


def read(returned: Any, **settings: Any) -> Splits:
    RETURNED[:] = [returned if callable(returned) else lambda: returned]
    custom = Custom(factory=f"{__name__}:given", **settings)
    assert list(custom.problems()) == []
    return custom.read()


def pixels(splits: Splits, split: str) -> Any:
    part = splits.parts()[split]
    assert isinstance(part, MemoryImages)
    return part.images.numpy()


@pytest.mark.parametrize(
    "split",
    [
        (PIXELS, LABELS),
        [torch.from_numpy(PIXELS), torch.from_numpy(LABELS)],
        (PIXELS / 255, LABELS[:, None]),
        Pairs(lambda image: image),
        Pairs(Image.fromarray),
        Pairs(lambda image: torch.from_numpy(image).permute(2, 0, 1)),
        Pairs(lambda image: torch.from_numpy(image).permute(2, 0, 1).float() / 255),
    ],
    ids=["arrays", "tensors", "floats", "arrays-one-by-one", "pillow", "tensors-one-by-one", "ToTensor"],
)
def test_every_form_of_a_split_has_the_same_images_and_labels(split: Any) -> None:
    splits = read({"train": split, "val": (PIXELS[:4], LABELS[:4]), "test": (PIXELS, LABELS)})
    assert np.array_equal(pixels(splits, "train"), PIXELS)
    assert splits.train.labels.tolist() == LABELS.tolist()
    assert [len(splits.val), len(splits.test)] == [4, 20]


def test_without_a_test_split_a_part_of_the_training_images_is_cut_off() -> None:
    splits = read({"train": (PIXELS, LABELS), "names": ("cat", "dog")}, test_fraction=0.2)
    assert [len(splits.train), len(splits.val), len(splits.test)] == [16, 0, 4]
    assert splits.test.labels.tolist().count(0) == 2
    assert splits.names == ["cat", "dog"]


def test_values_keep_their_columns_and_names() -> None:
    values = np.linspace(0, 1, 40).reshape(20, 2)
    splits = read({"train": (PIXELS, values), "names": ["width", "height"]}, target="values")
    assert splits.names == ["width", "height"]
    assert splits.train.labels.shape == (18, 2)


def fails() -> Any:
    raise KeyError("my bug")


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ([1], "returned a list; it must return a mapping {'train': (images, labels)}"),
        ({"tarin": (PIXELS, LABELS)}, "returned a mapping with the key 'tarin'"),
        ({"val": (PIXELS, LABELS)}, "returned a mapping with no 'train'"),
        ({"train": 5}, "returned an int as train; it must be a pair (images, labels) or a Dataset"),
        ({"train": (PIXELS, LABELS), "names": "ab"}, "returned a str as names; it must be a list of names"),
        (
            {"train": (PIXELS, LABELS[:9])},
            "labels of train has 9 labels, images of train has 20 images; ",
        ),
        (
            {"train": (PIXELS.transpose(0, 3, 1, 2), LABELS)},
            "channels first; return it as (N, height, width",
        ),
        (
            {"train": (PIXELS, LABELS), "test": (PIXELS[:, 1:], LABELS)},
            "images of test of 3x5x3; make them",
        ),
        (
            {"train": (PIXELS, LABELS), "names": ["a"]},
            "labels of train has the label 1, out of range for",
        ),
        ({"train": [(PIXELS[0], 0), (PIXELS[1, 1:], 1)]}, "train[1] is an image of 3x5x3, train[0] of 4x5x3"),
        ({"train": [PIXELS[0]] * 3}, "train[0] is a ndarray; it must be a pair (image, label)"),
        ({"train": Pairs(lambda image: image / 1.0)}, "floats must lie in [0, 1], so leave normalization to"),
        ({"train": Pairs(lambda image: image, 0)}, "train has no images"),
        ({"train": Pairs(lambda image: image, 21)}, "reading the data that it returned failed in "),
    ],
)
def test_what_is_no_data_set_is_refused_with_the_reason(returned: Any, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        read(returned)
    assert f"data.factory={__name__}:given: " in str(caught.value)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_of_the_function_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"calling given failed in .*data.py, line \d+: KeyError: 'my bug"):
        read(fails)


def test_a_dataset_beyond_the_limit_of_memory_is_refused_before_it_is_read() -> None:
    with pytest.raises(DataError, match=r"has 20000000 images, 1\.2 GB, more than data\.memory_limit_gb=1"):
        read({"train": Pairs(lambda image: image, 20_000_000)}, memory_limit_gb=1.0)
