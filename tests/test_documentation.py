"""The pages of the documentation: reachable, with every picture they show, and as current as the package."""

import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cnntrain.version import __version__

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PICTURE = re.compile(r"(?:!\[[^]]*]\(|<img src=\")([^)\s\"]+)")


def pages_in(entry: Any) -> set[str]:
    """Return the pages below an entry of `nav`."""
    if isinstance(entry, str):
        return {entry}
    parts = entry.values() if isinstance(entry, dict) else entry
    return {page for part in parts for page in pages_in(part)}


def test_every_page_is_in_the_navigation() -> None:
    navigation = pages_in(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} == navigation


def test_every_picture_exists() -> None:
    """The strict build of the site looks at links to pages alone."""
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    pictures = [(page, match[1]) for page in pages for match in PICTURE.finditer(page.read_text("utf-8"))]
    assert [(page.name, target) for page, target in pictures if not (page.parent / target).is_file()] == []


def test_the_license_of_every_requirement_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    texts = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    needed = {canonicalize_name(Requirement(text).name) for text in texts} - {"cnntrain"}
    listed = re.findall(r"^\| (\S+) \| \S.* \|$", (DOCS / "licenses.md").read_text("utf-8"), re.MULTILINE)
    assert needed <= set(listed), "run `make licenses`"


def test_the_citation_has_the_version_of_the_package() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == __version__


def test_links_from_the_readme_and_the_guide_lead_to_pages() -> None:
    """Both are no pages of the site, whose build looks at all other links."""
    for name in ("README.md", "CONTRIBUTING.md"):
        targets = re.findall(r"]\((docs/[^)#]+)", (ROOT / name).read_text("utf-8"))
        assert [target for target in targets if not (ROOT / target).is_file()] == []
