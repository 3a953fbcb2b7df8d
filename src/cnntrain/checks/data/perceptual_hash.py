"""Perceptual hashes of 64 bits, and the pairs of them that are close: near duplicates."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

BITS = 64
Hashes = NDArray[np.uint64]

# Values compared at once, of 8 bytes each: so many fit into a core's cache.
CHUNK_PAIRS = 1 << 20
# Hashes between which the distances of unrelated images are measured.
SAMPLE = 2000
# Of a sample's pairs, those whose distances are the lower tail that is continued to smaller distances. Lower
# ones might be duplicates: of N images, a few for each of them are a few N of N²/2 pairs.
TAIL, TAIL_WIDTH, MAX_TAIL = 0.005, 10.0, 0.5
DUPLICATES_PER_IMAGE = 5
MIN_IMAGES = 2 * DUPLICATES_PER_IMAGE


def perceptual_hash(image: Image) -> np.uint64:
    """Return the hash of an image: signs of its 8x8 lowest frequencies against their median (pHash).

    Computed by the library imagehash; the number of differing bits of two is that of its operator `-`.
    """
    import imagehash

    bits = imagehash.phash(image).hash
    packed: np.uint64 = np.packbits(bits.flatten()).view(np.uint64)[0]
    return packed


def distances(hashes: Hashes, others: Hashes) -> NDArray[np.uint8]:
    """Return the number of differing bits of each pair, (N, M), of hashes (N,) and others (M,)."""
    differing: NDArray[np.uint8] = np.bitwise_count(hashes[:, None] ^ others[None, :])
    return differing


def close_pairs(hashes: Hashes, largest: int, limit: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the pairs (P, 2), ascending, whose hashes differ in at most `largest` bits, and how many.

    All pairs are compared, in chunks, on all cores. No further ones are looked for once `limit` are exceeded.
    """
    rows = max(1, CHUNK_PAIRS // max(1, len(hashes)))
    found = 0

    def compare(start: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        nonlocal found
        if found > limit:
            return np.empty((0, 2), np.int64), np.empty(0, np.uint8)
        differing = distances(hashes[start : start + rows], hashes[start:])
        one, other = np.divmod(np.flatnonzero(differing <= largest), differing.shape[1])
        later = other > one
        one, other = one[later], other[later]
        found += len(one)
        return np.stack([one, other], 1) + start, differing[one, other]

    pool = ThreadPoolExecutor()
    try:
        parts = list(pool.map(compare, range(0, len(hashes), rows)))
    finally:
        pool.shutdown(cancel_futures=True)
    if not parts:
        return np.empty((0, 2), np.int64), np.empty(0, np.uint8)
    return np.concatenate([pairs for pairs, _ in parts]), np.concatenate([bits for _, bits in parts])


def expected_by_chance(hashes: Hashes, largest: int) -> float:
    """Return about how many pairs of unrelated images differ in at most `largest` bits.

    Distances of unrelated images are about normal (a straight line on normal probability paper), the more
    alike the images of a data set, the wider. The line is fitted to the lower tail of the distances within an
    even sample, above those that duplicates could have, and continued to `largest`.
    """
    count = len(hashes)
    sample = hashes[np.arange(min(SAMPLE, count)) * count // max(1, min(SAMPLE, count))]
    if len(sample) < MIN_IMAGES:
        return 0.0
    counts = np.zeros(BITS + 1, np.int64)
    for index in range(len(sample) - 1):
        counts += np.bincount(np.bitwise_count(sample[index] ^ sample[index + 1 :]), minlength=BITS + 1)
    below = counts.cumsum() / counts.sum()
    low = max(TAIL, DUPLICATES_PER_IMAGE / len(sample))
    high = min(MAX_TAIL, TAIL_WIDTH * low)
    tail = np.flatnonzero((counts > 0) & (below >= low) & (below < 1))
    tail = tail[: max(2, int((below[tail] <= high).sum()))]
    if len(tail) < 2:
        return float(count * (count - 1) / 2)  # all alike: nothing stands out
    normal = NormalDist()
    slope, offset = np.polyfit(tail, [normal.inv_cdf(float(below[bits])) for bits in tail], 1)
    return float(count * (count - 1) / 2 * normal.cdf(float(slope * largest + offset)))


def connected(pairs: NDArray[np.int64]) -> list[list[int]]:
    """Return the groups of numbers that pairs connect, each ascending, ordered by their first numbers."""
    parent: dict[int, int] = {}

    def root(number: int) -> int:
        parent.setdefault(number, number)
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for one, other in pairs.tolist():
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for number in sorted(set(chain.from_iterable(pairs.tolist()))):
        groups.setdefault(root(number), []).append(number)
    return list(groups.values())
