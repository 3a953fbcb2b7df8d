"""Ranges of settings: notation, values, and the way back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest

from cnntrain.search.ranges import Range, Values, parse_range

NOTATIONS = {
    "log(1e-4,1)": Range(1e-4, 1.0, log=True),
    "uniform( -1 , 2.5 )": Range(-1.0, 2.5),
    "interval(0,1)": Range(0.0, 1.0),
    "interval(start=0,end=1)": Range(0.0, 1.0),
    "int(1,8)": Range(1.0, 8.0, whole=True),
    "int(interval(1,8))": Range(1.0, 8.0, whole=True),
    "int(log(1,512))": Range(1.0, 512.0, log=True, whole=True),
    "tag(log, interval(1e-6,10))": Range(1e-6, 10.0, log=True),
    "tag(log,int(interval(1,64)))": Range(1.0, 64.0, log=True, whole=True),
}


@pytest.mark.parametrize(("text", "expected"), NOTATIONS.items())
def test_each_notation_is_read_and_written_again(text: str, expected: Range) -> None:
    assert parse_range(text) == expected
    assert parse_range(expected.written()) == expected


@pytest.mark.parametrize(
    "text", ["0.1", "0.1,0.2", "choice(a,b)", "range(1,4)", "int(3.0)", "[1,2]", "log", "(1,2)"]
)
def test_other_values_are_no_ranges(text: str) -> None:
    assert parse_range(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("log(0,1)", "begins above 0"),
        ("log(1,0.1)", "the lowest number comes first"),
        ("uniform(1,1)", "must differ"),
        ("uniform(1)", "needs two numbers"),
        ("uniform(1,2,3)", "needs two numbers"),
        ("log(a,b)", "needs two numbers"),
        ("uniform(nan,1)", "finite"),
        ("int(1.5,3)", "whole numbers"),
        ("tag(linear, interval(1,2))", "the tag linear"),
    ],
)
def test_what_can_be_no_range_is_said(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_range(text)


@pytest.mark.parametrize("entry", NOTATIONS.values())
def test_values_lie_inside_and_lead_back_to_their_place(entry: Range) -> None:
    for fraction in np.linspace(0, 1, 101)[:-1]:
        value = entry.at(float(fraction))
        assert entry.low <= float(value) <= entry.high
        back = entry.fraction(value)
        assert back is not None
        # A rounded value lies beside its place, by half a whole number or half its last digit.
        again = entry.at(back)
        assert math.isclose(float(again), float(value), rel_tol=2e-3), (value, again)
        assert entry.whole is ("." not in value and "e" not in value)
    assert entry.fraction(str(entry.high * 2 + 1)) is None
    assert entry.fraction("text") is None


def test_scales_are_uniform_and_logarithmic() -> None:
    fractions = np.random.default_rng(0).random(4000)
    uniform = [float(Range(2.0, 6.0).at(u)) for u in fractions]
    logarithmic = [float(Range(1e-6, 10.0, log=True).at(u)) for u in fractions]
    assert kstest(uniform, "uniform", args=(2, 4)).pvalue > 0.01
    assert kstest(logarithmic, "loguniform", args=(1e-6, 10)).pvalue > 0.01


def test_every_whole_number_is_as_likely_as_the_others() -> None:
    fractions = (np.arange(6000) + 0.5) / 6000
    counts = np.bincount([int(Range(1.0, 6.0, whole=True).at(u)) for u in fractions], minlength=7)
    assert counts.tolist() == [0, *[1000] * 6]


def test_a_narrowed_range_lies_between_the_two_fractions() -> None:
    narrowed = Range(1e-4, 1.0, log=True).narrowed(0.25, 0.75)
    assert (narrowed.low, narrowed.high) == pytest.approx((1e-3, 0.1))
    whole = Range(0.0, 9.0, whole=True).narrowed(0.31, 0.32)
    assert (whole.low, whole.high) == (2.0, 3.0)
    assert whole.whole


def test_values_of_a_list_share_the_range_evenly() -> None:
    values = Values(("a", "b", "c"))
    assert [values.at(u) for u in (0.0, 0.33, 0.34, 0.66, 0.67, 0.999)] == ["a", "a", "b", "b", "c", "c"]
    assert [values.at(values.fraction(name) or 0.0) for name in "abc"] == ["a", "b", "c"]
    assert values.fraction("d") is None
