"""docs/reference.md says what the code says."""

from pathlib import Path

from cnntrain.config.reference import reference


def test_the_reference_in_docs_is_current() -> None:
    written = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
    assert written == reference(), "run `make docs`"
