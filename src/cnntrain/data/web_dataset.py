"""Classes of images in tar files (data=webdataset): splits, names of classes, and labels."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass

import torch

from ..errors import DataError
from ..settings.fields import expanded
from .image_set import FileImages
from .splits import SPLIT_OF, SPLITS, Splits, test_cut
from .tar_member import TarMember
from .tar_shards import MAX_NAMED, Shard, read_shard, shard_files

WORDS = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class TarSource:
    """Where samples lie and what is taken of them: a folder or pattern, the endings of image and label, and a
    file with a class in each line."""

    path: str
    image: str
    label: str
    classes: str


def read_web_dataset(
    source: TarSource,
    test_fraction: float,
    split_by: str,
    size: int,
    resize: str,
    channels: int,
    workers: int,
) -> Splits:
    """Return the splits of samples in tar files, as `FileImages`.

    A tar file whose name has train, val or test in it, or another name of SPLIT_OF, is of that split; without
    such names all samples are for training. Without test samples, `test_fraction` of the training samples are
    the test split, chosen as `split_by` says. Raises DataError where the files cannot be used.
    """
    files = shard_files(source.path)
    root = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files])
    shards = {file: read_shard(file, source.image, source.label) for file in files}
    _check_samples(shards)
    texts = {text for shard in shards.values() for text in shard.labels}
    names, label_of = _classes(source.classes, texts)
    parts: dict[str, FileImages] = {}
    for split, of_split in _of_splits(files, root).items():
        paths: list[str] = [TarMember(file, *image) for file in of_split for image in shards[file].images]
        labels = [label_of[text] for file in of_split for text in shards[file].labels]
        label_tensor = torch.tensor(labels, dtype=torch.int64)
        parts[split] = FileImages(paths, label_tensor, size, resize, channels, workers, root)
    train, val, test = (parts[split] for split in SPLITS)
    if not len(test):
        rest, tested = test_cut(train, test_fraction, split_by)
        train, test = train.subset(rest), train.subset(tested)
    return Splits(train, val, test, names, _not_used(shards))


def _of_splits(files: list[str], root: str) -> dict[str, list[str]]:
    """Return the files of each split, by the words in their names below the folder of all."""
    found: dict[str, list[str]] = {split: [] for split in SPLITS}
    unnamed = []
    for file in files:
        words = WORDS.findall(os.path.relpath(file, root).lower())
        splits = {SPLIT_OF[word] for word in words if word in SPLIT_OF}
        if len(splits) > 1:
            raise DataError(f"{file}: has several splits in its name ({', '.join(sorted(splits))}); keep one")
        if splits:
            found[splits.pop()].append(file)
        else:
            unnamed.append(file)
    if not any(found.values()):
        return found | {"train": unnamed}
    if not found["train"]:
        raise DataError(f"{root}: has no tar files for training; write train in the names of some")
    if unnamed:
        raise DataError(
            f"{unnamed[0]}: has no split in its name, as others have; write train, val or test in it"
        )
    return found


def _check_samples(shards: dict[str, Shard]) -> None:
    """Raise DataError naming samples without an image or a label."""
    found = [f"{file}: {problem}" for file, shard in shards.items() for problem in shard.problems]
    if found:
        more = f"\n  and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
        lines = "\n  ".join(found[:MAX_NAMED]) + more
        raise DataError(
            f"{len(found)} of the samples cannot be used; give each an image and a label, or name their "
            f"members (data.image=ENDING, data.label=ENDING or json:FIELD):\n  {lines}"
        )
    if not any(shard.images for shard in shards.values()):
        raise DataError(f"{next(iter(shards))}: has no samples")


def _classes(file: str, texts: set[str]) -> tuple[list[str], dict[str, int]]:
    """Return the names of classes, and the label of each text: the line of a name, or its number from 0."""
    are_numbers = all(text.isdecimal() for text in texts)
    if not file:
        names = sorted(texts, key=int) if are_numbers else sorted(texts)
        if len(names) < 2:
            raise DataError(f"the samples have only one class ({names[0]}); at least two are needed")
        return names, {name: label for label, name in enumerate(names)}
    try:
        lines = expanded(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data.classes={file}: cannot be read ({error})") from error
    names = [line.strip() for line in lines if line.strip()]
    label_of = {name: label for label, name in enumerate(names)}
    if are_numbers and not texts <= set(names):
        label_of = {text: int(text) for text in texts if int(text) < len(names)}
    if unknown := sorted(texts - set(label_of)):
        first = ", ".join(unknown[:MAX_NAMED])
        raise DataError(f"data.classes={file}: has {len(names)} classes, none of them for {first}")
    return names, label_of


def _not_used(shards: dict[str, Shard]) -> list[str]:
    """Return a notice of the members that are not used."""
    others = Counter[str]()
    for shard in shards.values():
        others.update(shard.others)
    kinds = ", ".join(f"{count} .{ending}" for ending, count in others.most_common(MAX_NAMED))
    return [f"not used of the samples: {kinds}"] if others else []
