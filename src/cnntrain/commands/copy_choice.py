"""`cnntrain copy optim/adam mine/`: begin a folder of one's own with the file of a choice."""

from __future__ import annotations

from pathlib import Path

from ..config.choice_files import EXPERIMENT, Choices
from ..errors import ConfigError, DataError
from ..settings.config_tree import GROUPS
from ..settings.fields import expanded, shorten
from ..settings.nearest_name import did_you_mean

USAGE = "write cnntrain copy GROUP/CHOICE FOLDER, as in cnntrain copy optim/adam mine"


def copy_choice(arguments: list[str], choices: Choices) -> Path:
    """Copy the file of a choice into the user's folder, and print how it is chosen; return the copy.

    arguments: group/choice, and a folder, or the file to make, whose name is that of the new choice. Raises
    ConfigError for another choice or too few arguments, DataError if the file exists or cannot be written.
    """
    written = shorten(" ".join(["copy", *arguments]))
    if len(arguments) != 2 or "/" not in arguments[0].strip("/"):
        raise ConfigError([f"{written}: {USAGE}"])
    group, _, name = arguments[0].strip("/").removesuffix(".yaml").partition("/")
    known = (*GROUPS, EXPERIMENT)
    if group not in known:
        raise ConfigError([f"{written}: there is no group {shorten(group)}; {did_you_mean(group, known)}"])
    choice = choices.find(group, name)
    if choice is None:
        hint = did_you_mean(name, (found.name for found in choices.all(group)))
        raise ConfigError([f"{written}: {group} has no choice {shorten(name)}; {hint}"])
    folder = expanded(arguments[1])
    file = folder / group / f"{name}.yaml"
    if folder.suffix == ".yaml":
        file, folder = folder, folder.parent.parent
        if file.parent.name != group:
            raise ConfigError([f"{written}: a file of this group lies in FOLDER/{group}/"])
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as copy:
            copy.write(choice.path.read_text(encoding="utf-8"))
    except FileExistsError as error:
        raise DataError(
            f"{file}: exists already; remove it, or name another file: {folder}/{group}/NAME.yaml"
        ) from error
    except OSError as error:
        raise DataError(f"{file}: cannot be written ({error.strerror})") from error
    print(f"{file}: change it, and choose it by cnntrain --config-dir {folder} {group}={file.stem}")
    return file
