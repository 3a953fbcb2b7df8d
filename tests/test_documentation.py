"""The pages of the documentation: reachable, and with every picture they show."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PICTURE = re.compile(r"!\[[^]]*]\(([^)\s]+)")


def pages_in(entry: Any) -> set[str]:
    """Return the pages below an entry of `nav`."""
    if isinstance(entry, str):
        return {entry}
    parts = entry.values() if isinstance(entry, dict) else entry
    return {page for part in parts for page in pages_in(part)}


def test_every_page_is_in_the_navigation() -> None:
    navigation = pages_in(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} <= navigation


def test_every_picture_exists() -> None:
    """The strict build of the site looks at links to pages alone."""
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    pictures = [(page, match[1]) for page in pages for match in PICTURE.finditer(page.read_text("utf-8"))]
    assert [(page.name, target) for page, target in pictures if not (page.parent / target).is_file()] == []
