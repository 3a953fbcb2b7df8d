"""Training that needs more memory than there is: said before, with settings that need less."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from cnntrain.assemble.run import Parts, build_parts
from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.costs import memory_notice
from cnntrain.training import memory_use
from cnntrain.training.memory_use import available_memory

RUN = ["model=convnet", "model.channels=[8]", "data.batch_size=64", "data.limit=128", "trainer.epochs=1"]
RUN += ["trainer.pictures=false", "trainer.report=false", "trainer.precision=fp32"]


def limit(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(memory_notice, "available_memory", lambda: size)


def parts_of(*overrides: str) -> Parts:
    return build_parts(configure([*RUN, *overrides], Choices()).config, None, Path("run"), "")


def test_training_that_needs_too_much_is_told_by_what_it_needs_less(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = parts_of()
    limit(monkeypatch, 1)
    nothing = memory_notice.memory_notice(parts)
    assert nothing is not None
    assert "take a smaller network" in nothing
    found = re.search(r"needs about ([\d.]+) MB", nothing)
    assert found is not None
    needed = int(1e6 * float(found[1]))
    limit(monkeypatch, int(1.1 * needed))
    assert memory_notice.memory_notice(parts) is None
    limit(monkeypatch, needed // 2)
    advice = re.search(
        r"write (data\.batch_size=\d+ trainer\.accumulate_steps=\d+)$",
        str(memory_notice.memory_notice(parts)),
    )
    assert advice is not None
    less = parts_of(*advice[1].split())
    assert memory_notice.memory_notice(less) is None
    assert less.train.batch_size == parts.train.batch_size


def test_the_notice_changes_nothing_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = []
    for name, size in (("plain", 2 * 10**9), ("noticed", 1)):
        limit(monkeypatch, size)
        assert main([*RUN, f"hydra.run.dir={name}"]) == 0
        assert ("notice    training needs" in capsys.readouterr().out) == (name == "noticed")
        state = torch.load(Path(name) / "checkpoints/last.pt", weights_only=True)
        weights.append(torch.cat([tensor.flatten() for tensor in state["network"].values()]))
    assert torch.equal(*weights)


def test_training_that_is_far_from_the_limit_is_not_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_notice, "Simulation", lambda *arguments: pytest.fail("simulated"))
    limit(monkeypatch, 10**9)
    assert memory_notice.memory_notice(parts_of()) is None
    monkeypatch.setattr(memory_notice, "values_of", lambda *arguments: pytest.fail("measured"))
    limit(monkeypatch, 3 * 10**9)
    assert memory_notice.memory_notice(parts_of()) is None


@pytest.mark.parametrize(
    ("limit_file", "used_file", "kept"),
    [
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_of_a_container_what_is_left_of_its_limit_is_available(
    limit_file: str, used_file: str, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\n")
    monkeypatch.setattr(memory_use, "MEMORY", tmp_path / "meminfo")
    names = ("memory.max", "memory.limit_in_bytes")
    monkeypatch.setattr(memory_use, "CONTAINER_LIMITS", tuple(tmp_path / name for name in names))
    assert available_memory() == 5000 * 1024
    (tmp_path / used_file).write_text("3000\n")
    (tmp_path / "memory.stat").write_text(f"active_file 7\n{kept} 500\n")
    (tmp_path / limit_file).write_text("max\n")
    assert available_memory() == 5000 * 1024
    (tmp_path / limit_file).write_text("4000\n")
    assert available_memory() == 4000 - 3000 + 500
    (tmp_path / "meminfo").write_text("")
    assert available_memory() is None
