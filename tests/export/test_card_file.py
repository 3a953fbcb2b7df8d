"""Model cards on disk: replaced while they are as they were written, kept once a user has changed them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cnntrain.errors import DataError
from cnntrain.export.card_file import write_card

TEXT = "# Digits\n\n| a | b |\n|---|---|\n| ä | 1 |\n"


def test_an_unchanged_card_is_replaced_also_with_line_ends_of_another_system(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    write_card(card, TEXT)
    assert card.read_text(encoding="utf-8").startswith(TEXT)
    card.write_bytes(card.read_bytes().replace(b"\n", b"\r\n"))
    write_card(card, "other\n")
    assert card.read_text().startswith("other\n")


@pytest.mark.parametrize("seed", range(30))
def test_a_card_with_any_change_is_kept_and_this_is_said(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card, rng = tmp_path / "README.md", random.Random(seed)
    write_card(card, TEXT)
    before = card.read_text(encoding="utf-8")
    start, length = rng.randrange(len(before)), rng.randrange(3)
    changed = before[:start] + rng.choice(["", "x", "\n\n", "-->"]) + before[start + length :]
    card.write_text(changed, encoding="utf-8")
    write_card(card, "other\n")
    assert (card.read_text(encoding="utf-8") == changed) == (changed.rstrip() != before.rstrip())
    assert (f"kept      {card}: was changed" in capsys.readouterr().out) == (
        changed.rstrip() != before.rstrip()
    )


@pytest.mark.parametrize("content", [b"", b"my own card\n", b"\xff\xfe"])
def test_a_card_that_was_not_written_here_is_kept(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(content)
    write_card(tmp_path / "README.md", TEXT)
    assert (tmp_path / "README.md").read_bytes() == content


def test_a_folder_in_place_of_a_card_is_said(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()
    with pytest.raises(DataError, match=r"README.md: cannot be read \(Is a directory\)"):
        write_card(tmp_path / "README.md", TEXT)


def test_a_link_to_nothing_in_place_of_a_card_is_kept(tmp_path: Path) -> None:
    (tmp_path / "README.md").symlink_to("elsewhere.md")
    write_card(tmp_path / "README.md", TEXT)
    assert (tmp_path / "README.md").is_symlink()
