"""Samples of streams whose length is not known before."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cnntrain.prediction.even_sample import EvenSample


@pytest.mark.parametrize("length", [0, 1, 39, 40, 41, 79, 80, 81, 1000, 12345])
def test_a_sample_is_evenly_spaced_over_the_whole_stream(length: int) -> None:
    sample = EvenSample[int](40)
    most = 0
    for number in range(length):
        sample.add(number if sample.takes_next() else None)
        most = max(most, len(sample._items))
    chosen = sample.chosen()
    assert len(chosen) == min(length, 40)
    assert most <= 80
    if length > 40:
        steps = [after - before for before, after in pairwise(chosen)]
        assert chosen[0] == 0
        assert chosen[-1] >= length - 1 - length // 40
        assert max(steps) <= 2 * min(steps)
