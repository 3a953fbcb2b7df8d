"""Samples in tar files, as WebDataset writes them: members of one name are an image and its label.

A tar file has no index. It is read once from header to header, and where its samples lie is kept in the
user's cache; an image is then read from its place, in whatever order.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from glob import glob
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..settings.cache_folder import cache_folder
from ..settings.fields import expanded, has_control_characters
from .folder_scan import EXTENSIONS, is_hidden

ENDING = ".tar"
# Raised with every change of what is kept of a tar file.
VERSION = 2
# {000..099} or {train,val} in a pattern.
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
# The first bytes of gzip, bzip2, xz and zstd.
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zX", b"\x28\xb5\x2f\xfd")
MAX_NAMED = 5
# The fields of a JSON member that have the class, in the order in which they are looked for.
JSON_FIELDS = ("cls", "label", "class")


@dataclass
class Shard:
    """What is kept of a tar file.

    images: the member, offset and size of the image of each sample. labels: the text of each sample's label.
    problems: of samples, in words. others: the number of members that are not used, by their endings.
    """

    images: list[list[Any]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)


def shard_files(pattern: str) -> list[str]:
    """Return the tar files of a folder, or those that a pattern names, with {000..099}, {a,b}, * and ?.

    Raises DataError where there is none, or one of those that braces name is missing.
    """
    root = expanded(pattern)
    if root.is_dir():
        files = sorted(str(file) for file in root.rglob(f"*{ENDING}") if not is_hidden(file.name))
        if not files:
            raise DataError(f"{root}: has no {ENDING} files in it")
        return files
    files = list[str]()
    for name in _without_braces(str(root)):
        found = sorted(glob(name)) if any(sign in name for sign in "*?[") else [name]
        files += found
        if not found or not os.path.isfile(found[0]):
            raise DataError(f"{name}: there is no such tar file")
    if not files:
        raise DataError(f"{root}: names no tar file; ranges rise, as in {{000..099}}")
    return list(dict.fromkeys(files))


def read_shard(file: str, image: str, label: str) -> Shard:
    """Return the samples of a tar file, from the user's cache where it was read before.

    image, label: the endings of their members, "" for the usual ones; label may be `json:FIELD`. Raises
    DataError where the file cannot be read.
    """
    try:
        state = os.stat(file)
        text = f"{os.path.realpath(file)} {state.st_size} {state.st_mtime_ns} {image} {label} {VERSION}"
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        kept = cache_folder("shards") / f"{Path(file).stem}-{digest}.json"
        with suppress(OSError, ValueError, TypeError):
            return Shard(**json.loads(kept.read_text(encoding="utf-8")))
        with tarfile.open(file, "r:") as content:
            shard = _samples(content, image, label, state.st_size)
            _check_end(file, content.offset)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise DataError(f"{file}: {_reason(file, error)}") from error
    with suppress(OSError):  # it is read again next time
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f".{kept.name}.{os.getpid()}")
        partial.write_text(json.dumps(asdict(shard), ensure_ascii=False), encoding="utf-8")
        partial.replace(kept)
    return shard


def _check_end(file: str, offset: int) -> None:
    """Raise ReadError unless the last member is followed by zeros alone, one block of them at least.

    tarfile takes a damaged header for the end of the file. offset: the end of the last member.
    """
    length = 0
    with open(file, "rb") as stream:
        stream.seek(offset)
        while chunk := stream.read(1 << 20):
            if chunk.strip(b"\0"):
                raise tarfile.ReadError(f"the header at byte {offset} is damaged")
            length += len(chunk)
    if length < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("unexpected end of data")


def _samples(content: tarfile.TarFile, image: str, label: str, total: int) -> Shard:
    shard, others, seen = Shard(), Counter[str](), set[str]()
    members = (one for one in content if one.isfile() and not is_hidden(os.path.basename(one.name)))
    for key, group in itertools.groupby(members, lambda member: _parts(member.name)[0]):
        of_sample = {_parts(member.name)[1]: member for member in group}
        images = [ending for ending in of_sample if _is_image(ending, image)]
        labels = [ending for ending in _label_endings(label) if ending in of_sample]
        others.update(ending for ending in of_sample if ending not in (*images, *labels[:1]))
        if not _is_text(key):
            shard.problems.append(f"{key!a} is no text in UTF-8 that can be printed")
            continue
        if key in seen:
            shard.problems.append(f"{key} is there twice")
            continue
        seen.add(key)
        if len(images) != 1:
            kinds = "no image" if not images else f"{len(images)} images ({', '.join(images)})"
            shard.problems.append(f"{key} has {kinds}")
            continue
        member = of_sample[images[0]]
        if member.offset_data + member.size > total:
            raise tarfile.ReadError("unexpected end of data")
        text = _label(content, of_sample, labels, label)
        if text is None:
            damaged = labels and of_sample[labels[0]].size > 0
            what = f"a .{labels[0]} file without a label" if damaged else "no label"
            shard.problems.append(f"{key} has {what}")
            continue
        shard.images.append([member.name, member.offset_data, member.size])
        shard.labels.append(text)
    shard.others = dict(others)
    return shard


def _label(
    content: tarfile.TarFile, of_sample: dict[str, tarfile.TarInfo], endings: list[str], label: str
) -> str | None:
    """Return the text of a sample's label, None where it has none."""
    if not endings:
        return None
    opened = content.extractfile(of_sample[endings[0]])
    assert opened is not None
    text = opened.read().decode("utf-8", "replace").strip()
    if endings[0] != "json":
        return text or None
    fields = [label.partition(":")[2]] if label.startswith("json:") else list(JSON_FIELDS)
    try:
        values: Any = json.loads(text)
    except ValueError:
        return None
    found = [values[name] for name in fields if isinstance(values, dict) and values.get(name) is not None]
    return str(found[0]) if found else None


def _label_endings(label: str) -> tuple[str, ...]:
    return (label.partition(":")[0],) if label else ("cls", "json")


def _is_image(ending: str, image: str) -> bool:
    return ending == image if image else f".{ending}" in EXTENSIONS


def _is_text(name: str) -> bool:
    """Return whether a name can be written into the files of a run."""
    with suppress(UnicodeEncodeError):
        name.encode()
        return not has_control_characters(name)
    return False


def _parts(name: str) -> tuple[str, str]:
    """Return the name of a sample, and the ending of its member from the first dot of the file's name on."""
    folder, _, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    return f"{folder}/{stem}" if folder else stem, ending.lower()


def _without_braces(pattern: str) -> Iterator[str]:
    found = BRACES.search(pattern)
    if found is None:
        yield pattern
        return
    words = found[1].split(",")
    if bounds := RANGE.fullmatch(found[1]):
        digits = len(bounds[1])
        words = [f"{number:0{digits}}" for number in range(int(bounds[1]), int(bounds[2]) + 1)]
    for word in words:
        yield from _without_braces(pattern[: found.start()] + word + pattern[found.end() :])


def _reason(file: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror is not None:
        return f"cannot be read ({error.strerror})"
    with open(file, "rb") as content:
        if content.read(4).startswith(COMPRESSED):
            return "is compressed, so that no image can be read without those before it; decompress it"
    return f"is no tar file, or damaged ({error})"
