"""`cnntrain cache`: the caches of decoded images (data.cache), their sizes, and their removal."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigError, DataError
from ..settings.cache_folder import ABOUT, amount, cache_folder
from ..settings.fields import expanded, shorten

REMOVE = "remove"
USAGE = "write cnntrain cache, or cnntrain cache remove, and the FOLDER of data.cache unless that is disk"


class Cache(NamedTuple):
    """The folder of a cache, its bytes, and the data set and the kind of images in it."""

    folder: Path
    size: int
    root: str
    decoding: str


def manage_caches(arguments: list[str]) -> None:
    """Print a line on each cache, or remove them all: arguments are `remove`, a folder of caches, or both.

    Raises ConfigError for other arguments, DataError where a cache cannot be removed.
    """
    removes = arguments[:1] == [REMOVE]
    named = arguments[1:] if removes else arguments
    if len(named) > 1 or any(name.startswith("-") for name in named):
        raise ConfigError([f"{shorten(' '.join(['cache', *arguments]))}: {USAGE}"])
    folder = expanded(named[0]) if named else cache_folder("images")
    if named and not folder.is_dir():
        raise DataError(f"{folder}: is no folder; {USAGE}")
    caches = caches_in(folder)
    if not caches:
        print(f"no cache of decoded images in {folder}")
    for cache in caches:
        if removes:
            _remove(cache.folder)
        done = "removed   " if removes else ""
        print(f"{done}{cache.folder}: {amount(cache.size)}, {cache.decoding} of {cache.root}")


def caches_in(folder: Path) -> list[Cache]:
    """Return the caches in a folder; nothing else that lies there is one."""
    found = []
    for about in sorted(folder.glob(f"*/{ABOUT}")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            described = json.loads(about.read_text(encoding="utf-8"))
            size = sum(file.stat().st_size for file in about.parent.iterdir())
            found.append(Cache(about.parent, size, described["root"], described["decoding"]))
    return found


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be removed ({error.strerror})") from error
