"""Parts of the user's own: the examples and commands of docs/custom_parts.md, word for word."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from cnntrain.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "custom_parts.md").read_text(encoding="utf-8")
QUICK = [
    *("trainer.epochs=1", "trainer.max_steps_per_epoch=2", "trainer.pictures=false"),
    *("trainer.report=false", "trainer.instruments=false"),
]
COMMANDS = [shlex.split(block) for block in re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)]


@pytest.fixture(autouse=True)
def my_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the examples of the page into the working folder."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)
    source = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    (tmp_path / "my_parts.py").write_text(source, encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[1])
def test_a_command_of_the_page_trains(command: list[str]) -> None:
    assert command[0] == "cnntrain"
    assert main(["hydra.run.dir=run", *command[1:], *QUICK]) == 0
