"""Which column of a table has the images, the classes, the splits and the groups."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from ..errors import DataError
from ..settings.nearest_name import nearest
from .csv_file import CsvFile

# Usual names without spaces, _, - and ., in any case; the first that a table has is taken.
USUAL = {
    "image": "filepath path imagepath imgpath file filename imagefile imagefilename image img imagename "
    "imgname fname photo picture imageid imgid id",
    "label": "label class category target y labels classname labelname categoryname classid labelid "
    "categoryid diagnosis species breed",
    "split": "split subset set partition usage",
    "group": "group groupid patient patientid patientname subject subjectid person personid participant "
    "participantid video videoid videoname burst burstid sequence sequenceid",
}
# What the columns have, in messages.
CONTENT = {"image": "images", "label": "classes", "split": "splits", "group": "groups"}


@dataclass(frozen=True)
class Columns:
    """The names of columns as the user gave them: "" where it is to be guessed, None where there is none."""

    image: str = ""
    label: str = ""
    split: str | None = ""
    group: str | None = ""


GUESSED = Columns()


def chosen_columns(content: CsvFile, given: Columns) -> tuple[dict[str, int | None], list[str]]:
    """Return the column of each role, None for none, and a notice of those that were guessed by their names.

    Without a usual name, the first column has the images, and the only one left the classes. Raises
    DataError where a given column does not exist, or no column has the classes.
    """
    if len(content.columns) < 2:
        raise DataError(f"{content.file}: its first line must name the columns, with commas: image,label")
    chosen: dict[str, int | None] = {}
    for role, name in asdict(given).items():
        if name != "":
            chosen[role] = named_column(content, role, name)
    guessed = [role for role in USUAL if role not in chosen]
    for role in guessed:
        chosen[role] = _usual(content.columns, role, list(chosen.values()))
    if chosen["image"] is None:
        free = [column for column in range(len(content.columns)) if column not in chosen.values()]
        chosen["image"] = min(free, key=lambda column: (not content.columns[column], column), default=None)
    left = [column for column, name in enumerate(content.columns) if name and column not in chosen.values()]
    if chosen["label"] is None and len(left) == 1:
        chosen["label"] = left.pop()
    for role in ("image", "label"):
        if chosen[role] is None:
            raise DataError(
                f"{content.file}: which of its columns has the {CONTENT[role]}? "
                f"Write data.csv_{role}= and one of {', '.join(filter(None, content.columns))}"
            )
    for role in guessed:
        column = chosen[role]
        if column is not None and (name := content.columns[column]) and content.columns.count(name) > 1:
            count = content.columns.count(name)
            raise DataError(f"{content.file}: has {count} columns called {name}; give each a name of its own")
    return chosen, _notices(content, chosen, guessed, left)


def named_column(content: CsvFile, role: str, name: str | None) -> int | None:
    """Return the column of a name, in any case if none has it exactly; None without a name.

    Raises DataError where there is none of this name, or more than one.
    """
    if not name:
        return None
    for found in (
        [column for column, other in enumerate(content.columns) if other == name],
        [column for column, other in enumerate(content.columns) if other.lower() == name.lower()],
    ):
        if len(found) > 1:
            raise DataError(f"data.csv_{role}={name}: {content.file} has {len(found)} columns of this name")
        if found:
            return found[0]
    names = list(filter(None, content.columns))
    near = nearest(name, names)
    hint = f"; did you mean {near}?" if near else ""
    raise DataError(f"data.csv_{role}={name}: {content.file} has the columns {', '.join(names)}{hint}")


def _usual(columns: list[str], role: str, taken: list[int | None]) -> int | None:
    plain = [re.sub(r"[\s_.-]", "", name).lower() for name in columns]
    for name in USUAL[role].split():
        found = [column for column, other in enumerate(plain) if other == name and column not in taken]
        if found:
            return found[0]
    return None


def _notices(
    content: CsvFile, chosen: dict[str, int | None], guessed: list[str], left: list[int]
) -> list[str]:
    found = [
        f"{content.columns[column] or 'the first column'} has the {what}"
        for role, what in CONTENT.items()
        if role in guessed and (column := chosen[role]) is not None
    ]
    others = ", ".join(content.columns[column] for column in left[:5]) + (", …" if len(left) > 5 else "")
    notices = []
    if found:
        notices.append(
            f"{content.file.name}: {', '.join(found)}, by their names; data.csv_label=COLUMN and the like "
            "name others, data.csv_group=none leaves a column out"
        )
    if others:
        notices.append(f"{content.file.name}: not used are the columns {others}")
    return notices
