"""Overrides are parsed as Hydra's own parser does."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from cnntrain.config import parse_override as module
from cnntrain.config.parse_override import PLAIN, parse_override, quoted

KEYS = ("optim.lr", "+model.depth", "++a.b_1.c", "model", "a/b", "seed", "_x.y", "m0")
ALPHABET = [
    "0",
    "1",
    "12",
    "-",
    ".",
    "e",
    "E",
    "x",
    "_",
    "/",
    "true",
    "NULL",
    "False",
    "inf",
    "nan",
    "é",
    "a",
]


def texts() -> list[str]:
    """Return overrides with random values made from the pieces of numbers, names, constants and paths."""
    rng = random.Random(0)
    values = ["".join(rng.choices(ALPHABET, k=rng.randint(1, 5))) for _ in range(1500)]
    return [f"{rng.choice(KEYS)}={value}" for value in dict.fromkeys(values)]


def test_plain_overrides_have_the_key_and_value_that_hydra_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    parser, by_hydra = OverridesParser.create(), module._parsed_by_hydra
    plain = []
    monkeypatch.setattr(module, "_parsed_by_hydra", lambda text: None)
    for text in texts():
        if (override := parse_override(text)) is not None:
            plain.append(text)
            expected = parser.parse_override(text)
            assert (override.key, override.value) == (expected.key_or_group, expected.value()), text
            assert type(override.value) is type(expected.value()), text
            assert replace(override, written="") == replace(by_hydra(text), written="")
    assert len(plain) > 500


@pytest.mark.parametrize(
    "text", ["optim.lr=0.1", "model=vgg11", "run=outputs/2026-01-01/10-00-00", "a=-1e-3"]
)
def test_common_overrides_do_not_need_hydras_parser(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(module, "_parsed_by_hydra")
    assert PLAIN.match(text) is not None
    assert parse_override(text).written == text.partition("=")[2]


def test_other_overrides_are_read_by_hydra() -> None:
    assert parse_override("a=[1,{b: 'x'}]").value == [1, {"b": "x"}]
    assert parse_override("a='1'").value == "1"
    assert parse_override("~a").deletes
    assert parse_override("a@b=c").package == "b"
    assert parse_override("a=1,2").sweeps
    assert "mismatched input" in str(parse_override("a=b=c").error)


@pytest.mark.parametrize("seed", range(20))
def test_quoted_text_is_the_same_text_in_hydras_grammar(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(50):
        text = "".join(rng.choices("ab'\"\\ =,[]{}()#&~$é日:%@!*?", k=rng.randint(1, 12)))
        if "${" not in text:
            value = OverridesParser.create().parse_override(f"a={quoted(text)}").value()
            assert getattr(value, "text", value) == text
