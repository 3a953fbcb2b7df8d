"""docs/reference.md and the pages in docs/reference/ equal the generated reference."""

from pathlib import Path

from cnntrain.config.generate_reference import reference

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_in_docs_is_current() -> None:
    paths = [DOCS / "reference.md", *(DOCS / "reference").iterdir()]
    pages = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    assert pages == reference(), "run `make docs`"
