"""The text of `cnntrain --help`: the groups, their choices with descriptions, examples."""

from __future__ import annotations

import textwrap
from pathlib import Path

from ..settings.config_tree import GROUPS
from ..settings.job_settings import JOBS
from .choice_files import EXPERIMENT, Choices

EXAMPLES = """\
cnntrain                                         a small network on handwritten digits, in seconds
cnntrain model=vgg11 optim=adam                  any choice below, by name
cnntrain data=cifar10 model=resnet20 trainer.epochs=10 optim.lr=0.1
cnntrain -m model=lenet5,vgg11 optim.lr=0.01,0.001    every combination (a sweep)
cnntrain run=outputs/DATE/TIME                   continue an interrupted run
cnntrain run=outputs/DATE/TIME trainer.epochs=40      train it for more epochs
cnntrain job=evaluate run=outputs/DATE/TIME      evaluate its best network, with metrics per class
cnntrain job=summary model=vgg16 data=imagenet   layers, parameters, multiply-adds and memory of a network
cnntrain data=folder data.path=photos data.image_size=64     your own images, a folder per class"""

COMMANDS = """\
cnntrain checks                     versions, processor, devices and their speed, for reports of problems
cnntrain copy optim/adam mine       begin a folder of your own choices: mine/optim/adam.yaml
cnntrain cache                      caches of decoded images (data.cache); cache remove removes them"""

FLAGS = """\
-m, --multirun       train every combination of values separated by commas
--config-dir FOLDER  add your own FOLDER/<group>/<name>.yaml to the choices
--cfg job            print the whole configuration and stop (or: hydra, all)
-sc install=bash     print the tab completion for bash (or: zsh, fish)
--version, --help"""


def help_text(user_folder: Path | None = None) -> str:
    """Return the whole help text, with the choices of the user's folder."""
    choices = Choices(user_folder)
    parts = [
        "cnntrain trains convolutional networks for image classification from configuration alone.",
        f"Usage: cnntrain [GROUP=CHOICE …] [GROUP.SETTING=VALUE …]\n\n{textwrap.indent(EXAMPLES, '  ')}",
        "Jobs (job=NAME):\n" + _table(list(JOBS.items())),
    ]
    for group in (*GROUPS, EXPERIMENT):
        default = choices.defaults.get(group)
        rows = [
            (choice.name, choice.description() + (" [default]" if choice.name == default else ""))
            for choice in choices.all(group)
        ]
        parts.append(f"{group}=\n" + _table(rows))
    parts.append("Commands:\n" + textwrap.indent(COMMANDS, "  "))
    parts.append("Flags:\n" + textwrap.indent(FLAGS, "  "))
    parts.append("Every setting, with its type, default and range: docs/reference.md; or cnntrain --cfg job.")
    return "\n\n".join(parts)


def _table(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    lines = []
    for name, description in rows:
        wrapped = textwrap.wrap(description, 96 - width) or [""]
        lines.append(f"  {name:<{width}}  {wrapped[0]}")
        lines += [" " * (width + 4) + line for line in wrapped[1:]]
    return "\n".join(lines)
