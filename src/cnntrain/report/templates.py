"""Pages from the templates of this folder, in which all text is escaped."""

from __future__ import annotations

import json
from functools import partial
from typing import Any


def render(template: str, **values: Any) -> str:
    """Return the page that a template makes of these values."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("cnntrain", "report"), autoescape=True)
    environment.filters["json"] = partial(json.dumps, indent=1)
    return environment.get_template(template).render(**values)
