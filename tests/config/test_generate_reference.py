"""docs/reference.md equals the generated reference."""

from pathlib import Path

from cnntrain.config.generate_reference import reference


def test_the_reference_in_docs_is_current() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page == reference(), "run `make docs`"
