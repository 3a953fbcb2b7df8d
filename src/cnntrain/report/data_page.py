"""data.html: what a data set looks like and what was found in it, in one file that needs no network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks.check_result import CheckResult
from ..checks.data import files
from ..checks.data.audit import Audit
from ..checks.data.copies import Group, image_text, labels_contradict
from ..checks.data.image_names import ImageId
from ..checks.data.labels import label_text
from ..data.image_set import FileImages, ImageSet
from ..data.splits import Splits
from ..regularization.mixing import Mixed
from .data_file import described
from .pictures.thumbnails import thumbnail
from .templates import render

# Images on the page, whose size they decide: of each class, of all classes, of each list, of groups.
PER_CLASS, OF_CLASSES, LISTED, GROUPS, PER_GROUP, OF_BATCH = 9, 200, 27, 30, 6, 36
MAX_CLASSES = 100
# A smaller part of a mixed image cannot be seen, and would be 0.00.
LEAST_SHOWN = 0.005
# Files are shown as a whole, in squares of this side; arrays of this many pixels at least can be seen.
SIDE, MIN_SIDE = 64, 4
VERDICTS = {"✓": "passed", "!": "warning", "✗": "error", "–": "not judged"}
Shown = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """A training batch as the network gets it: images float (n, H, W, C) in 0…1, and their mixed labels."""

    images: Tensor
    mixed: Mixed


@dataclass(frozen=True)
class DataPage:
    """The contents of the page: the audit, the content of data.json, and a batch if one can be drawn."""

    title: str
    splits: Splits
    audit: Audit
    content: dict[str, Any]
    batch: Batch | None
    command: str

    def html(self) -> str:
        """Return the page."""
        unreadable = self.content["images"]["unreadable"]
        lists, copies, near = (
            self._lists(),
            self._groups(self.audit.copies),
            self._groups(self.audit.near.groups),
        )
        classes, batch = self._classes(), self._batch()
        sections = [("checks", "Checks"), ("labels", "Labels and files")]
        sections += [("suspicious", "Suspicious images")] if unreadable or lists else []
        sections += [("copies", "Copies")] if copies else []
        sections += [("near", "Near duplicates")] if near else []
        sections += [("images", "Images")] if classes else []
        sections += [("batch", "A training batch")] if batch else []
        return render(
            "data_page.html.j2",
            title=self.title,
            subtitle=self._subtitle(),
            sections=sections,
            checks=[_row(result) for result in self.audit.results],
            splits=self.content["splits"],
            label_rows=self._label_rows(),
            stored=self.content["stored"],
            unreadable=unreadable,
            lists=lists,
            copies=copies,
            copies_left_out=len(self.audit.copies) - len(copies),
            near=near,
            near_left_out=len(self.audit.near.groups) - len(near),
            classes=classes,
            one_label=self.splits.train.labels.ndim == 1,
            classes_left_out=max(0, len(self.splits.names) - len(classes)) if classes else 0,
            batch=batch,
            command=self.command,
        )

    def _subtitle(self) -> str:
        height, width, channels = self.splits.train.shape
        counts = ", ".join(f"{len(part)} {split}" for split, part in self.splits.parts().items())
        source = self.content["source"] or self.content["data"]
        return f"{source}: {counts} images, read as {height}x{width}x{channels}"

    def _label_rows(self) -> list[tuple[str, list[str]]]:
        """Return a row for each of the first classes, attributes or values, with a cell for each split."""
        rows = []
        for name in self.splits.names[: 2 * MAX_CLASSES]:
            cells = []
            for split in self.content["splits"].values():
                value = split["labels"].get(name, "–")
                if isinstance(value, dict):
                    value = f"{value['mean']:.4g} ± {value['deviation']:.3g}"
                cells.append(str(value))
            rows.append((name, cells))
        return rows

    def _lists(self) -> list[tuple[str, list[Shown], int]]:
        """Return each kind of suspicious image: its title, the images shown, and how many are left out."""
        records = self.audit.records
        kinds = {
            "Of a single colour": files.single_coloured(records),
            "Tiny, enlarged more than twice": files.tiny_images(records, self.splits),
            "More than twice as long as wide": files.long_images(records),
        }
        return [
            (title, self._shown(images[:LISTED]), max(0, len(images) - LISTED))
            for title, images in kinds.items()
            if images
        ]

    def _groups(self, groups: list[Group]) -> list[tuple[str, list[Shown], int]]:
        """Return groups of images side by side, the most harmful first: other labels, then across splits."""

        def harm(group: Group) -> tuple[bool, bool]:
            return labels_contradict(group, self.splits), len({one.split for one in group}) > 1

        harms = {id(group): harm(group) for group in groups}
        ranked = sorted(groups, key=lambda group: harms[id(group)], reverse=True)[:GROUPS]
        shown = []
        for group in ranked:
            contradict, across = harms[id(group)]
            kinds = ["different labels"] if contradict else []
            kinds += ["across splits"] if across else []
            heading = ", ".join(kinds) or "in one split, with one label"
            images = self._shown(self._varied(group)[:PER_GROUP])
            shown.append((heading, images, max(0, len(group) - PER_GROUP)))
        return shown

    def _varied(self, group: Group) -> Group:
        """Return the images of a group, first one of each split and label."""
        firsts: dict[tuple[str, str], ImageId] = {}
        for one in group:
            label = label_text(self.splits.parts()[one.split].labels[one.index], self.splits.names)
            firsts.setdefault((one.split, label), one)
        chosen = set(firsts.values())
        return [*firsts.values(), *(one for one in group if one not in chosen)]

    def _classes(self) -> list[tuple[str, list[Shown]]]:
        """Return, for each class, images of the training split evenly spread over it.

        For attributes, images that have each; for values, images from the smallest to the largest of each.
        """
        train = self.splits.train
        read = torch.from_numpy(self.audit.records["train"].is_read())
        if min(train.shape[:2]) < MIN_SIDE or not read.any():
            return []
        names = self.splits.names[:MAX_CLASSES]
        count = max(2, min(PER_CLASS, OF_CLASSES // len(names)))
        rows = []
        for label, name in enumerate(names):
            if train.labels.ndim == 1:
                members = ((train.labels == label) & read).nonzero().flatten()
            elif self._has_attributes():
                members = ((train.labels[:, label] == 1) & read).nonzero().flatten()
            else:
                members = read.nonzero().flatten()
                members = members[train.labels[members, label].argsort(stable=True)]
            shown = min(count, len(members))
            chosen = members[torch.arange(shown) * len(members) // max(1, shown)]
            ids = [ImageId("train", index) for index in chosen.tolist()]
            rows.append((name, self._shown(ids, whole=False)))
        return rows

    def _has_attributes(self) -> bool:
        labels = self.splits.train.labels
        return bool(((labels == 0) | (labels == 1)).all())

    def _batch(self) -> list[Shown]:
        """Return the images of a training batch, each with the label or the two labels that it has."""
        if self.batch is None:
            return []
        images, mixed = self.batch.images[:OF_BATCH], self.batch.mixed
        pixels = (images * 255).round().clamp(0, 255).to(torch.uint8)
        shown = []
        for number, picture in enumerate(map(thumbnail, pixels)):
            parts = [(mixed.lam, mixed.labels)]
            parts += [(1 - mixed.lam, mixed.other_labels)] if mixed.other_labels is not None else []
            named = [(part, label_text(labels[number], self.splits.names)) for part, labels in parts]
            label = " + ".join(f"{part:.2f} {name}" for part, name in named if part >= LEAST_SHOWN)
            shown.append({"picture": picture, "label": label if len(parts) > 1 else named[0][1]})
        return shown

    def _shown(self, images: list[ImageId], whole: bool = True) -> list[Shown]:
        """Return images with their pictures, names, splits and labels.

        whole: files as a whole, else as they are read for training.
        """
        return [
            {**described(one, self.splits), "text": image_text(one, self.splits), "picture": picture}
            for one, picture in zip(images, self._pictures(images, whole), strict=True)
        ]

    def _pictures(self, images: Iterable[ImageId], whole: bool) -> list[str]:
        parts = self.splits.parts()
        if whole:
            parts = {split: _whole(part) for split, part in parts.items()}
        found = []
        for one in images:
            (pixels,) = parts[one.split].subset(torch.tensor([one.index])).chunks(1)
            found.append(thumbnail(pixels[0]))
        return found


def _row(result: CheckResult) -> dict[str, Any]:
    return {
        "mark": result.mark,
        "verdict": VERDICTS[result.mark],
        "name": result.name,
        "sentence": result.sentence,
    }


def _whole(images: ImageSet) -> ImageSet:
    """Return images of files as a whole, scaled into squares of SIDE; others as they are."""
    if not isinstance(images, FileImages):
        return images
    return FileImages(images.paths, images.labels, SIDE, "pad", images.channels, 0, images.root)
