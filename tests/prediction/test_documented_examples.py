"""The Python of docs/prediction.md runs as it stands there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from cnntrain.prediction.explanation import Explanation

PAGE = Path(__file__).parents[2] / "docs" / "prediction.md"


def test_the_examples_of_the_page_run(shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(shades / "run", tmp_path / "outputs/photos")
    (tmp_path / "new").mkdir()
    for number in range(2):
        shutil.copy(shades / f"photos/grey/{number}.png", tmp_path / f"new/IMG_00{32 + number}.jpg")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert isinstance(names["explained"], Explanation)
    assert names["explained"].name == "grey"
    assert {path.name for path in tmp_path.glob("*.png")} == {"map.png", "gradient.png"}
