"""Perceptual hashes: distances are those of imagehash, near duplicates are found, chance is not reported."""

from __future__ import annotations

import io
from itertools import combinations

import imagehash
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from cnntrain.checks.data.image_records import measure
from cnntrain.checks.data.near_duplicates import NearDuplicates, find_near_duplicates
from cnntrain.checks.data.perceptual_hash import (
    close_pairs,
    connected,
    distances,
    expected_by_chance,
    perceptual_hash,
)
from cnntrain.data.digits import read_digits
from cnntrain.data.image_set import MemoryImages
from cnntrain.data.splits import Splits


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return smooth random colour images (count, 48, 48, 3)."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    big = [np.asarray(Image.fromarray(one).resize((48, 48), Image.Resampling.BICUBIC)) for one in small]
    return np.stack(big)


def hashes_of(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.array([perceptual_hash(Image.fromarray(one)) for one in images])


def test_distances_are_those_of_imagehash() -> None:
    images = pictures(12)
    theirs = [imagehash.phash(Image.fromarray(one)) for one in images]
    expected = [[one - other for other in theirs] for one in theirs]
    hashes = hashes_of(images)
    assert distances(hashes, hashes).tolist() == expected
    assert len({bits for row in expected for bits in row}) > 5


@pytest.mark.parametrize("chunk", [1, 50, 10**6])
@pytest.mark.parametrize("largest", [0, 4, 30])
def test_close_pairs_are_all_pairs_within_the_distance(
    chunk: int, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnntrain.checks.data.perceptual_hash.CHUNK_PAIRS", chunk)
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 40, dtype=np.uint64)
    hashes[7] = hashes[3]
    hashes[20] = hashes[11] ^ np.uint64(0b1001_0110)
    pairs, bits = close_pairs(hashes, largest, limit=10**6)
    expected = {
        (one, other): (int(hashes[one]) ^ int(hashes[other])).bit_count()
        for one, other in combinations(range(40), 2)
        if (int(hashes[one]) ^ int(hashes[other])).bit_count() <= largest
    }
    assert dict(zip(map(tuple, pairs.tolist()), bits.tolist(), strict=True)) == expected
    assert list(map(tuple, pairs.tolist())) == list(expected)


def test_no_pairs_are_looked_for_beyond_the_limit() -> None:
    pairs, _ = close_pairs(np.zeros(3000, np.uint64), 0, limit=100)
    assert 100 < len(pairs) < 3000 * 2999 / 2 - 1000


def test_of_no_image_there_are_no_pairs() -> None:
    pairs, bits = close_pairs(np.zeros(0, np.uint64), 4, limit=10)
    assert pairs.shape == (0, 2)
    assert bits.shape == (0,)


def test_groups_are_the_connected_components() -> None:
    assert connected(np.array([[5, 9], [1, 2], [2, 7], [9, 12], [3, 12]])) == [[1, 2, 7], [3, 5, 9, 12]]


def test_by_chance_random_bits_agree_as_the_binomial_distribution_says() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 2000, dtype=np.uint64)
    # P(X <= 20), X binomial of 64 bits of probability ½: 0.0018; a normal line is a few percent off.
    assert expected_by_chance(hashes, 20) == pytest.approx(2000 * 1999 / 2 * 0.00184, rel=0.15)
    assert expected_by_chance(hashes, 4) < 1e-3


def splits_of(images: NDArray[np.uint8]) -> Splits:
    """Return images as training images, the last five as test images, all of class 0."""
    pixels = torch.from_numpy(images).contiguous()
    whole = MemoryImages(pixels, torch.zeros(len(pixels), dtype=torch.int64))
    indices = torch.arange(len(pixels))
    return Splits(whole.subset(indices[:-5]), whole.subset(indices[:0]), whole.subset(indices[-5:]), ["a"])


def found_in(splits: Splits) -> NearDuplicates:
    return find_near_duplicates(measure(splits), splits)


def saved_anew(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image scaled down and up again, as JPEG of low quality."""
    content = io.BytesIO()
    Image.fromarray(image).resize((40, 40)).save(content, "JPEG", quality=50)
    return np.asarray(Image.open(content).resize((48, 48)))


def test_an_image_saved_anew_is_found_and_no_other() -> None:
    images = pictures(60)
    assert found_in(splits_of(images)).groups == []
    images[57] = saved_anew(images[3])
    images[20] = np.clip(images[40].astype(int) + 12, 0, 255)
    found = found_in(splits_of(images))
    assert [[(one.split, one.index) for one in group] for group in found.groups] == [
        [("train", 3), ("test", 2)],
        [("train", 20), ("train", 40)],
    ]


def test_exact_copies_are_no_near_duplicates_but_belong_to_their_group() -> None:
    images = pictures(40)
    images[5] = images[4]
    assert found_in(splits_of(images)).groups == []
    images[9] = saved_anew(images[4])
    (group,) = found_in(splits_of(images)).groups
    assert [one.index for one in group] == [4, 5, 9]


def test_images_of_a_single_colour_are_not_compared() -> None:
    images = pictures(30)
    images[3], images[8] = 40, 200
    assert found_in(splits_of(images)).groups == []


def test_digits_agree_by_chance_and_are_not_reported() -> None:
    found = found_in(read_digits())
    assert found.bits is None
    assert found.groups == []
    assert found.pairs > 0
