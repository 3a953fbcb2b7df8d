"""Commands that torchrun starts in several processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnntrain.config import stored_config
from cnntrain.config.choice_files import Choices
from cnntrain.config.command_line import parse
from cnntrain.config.pipeline import configure
from cnntrain.config.started_together import as_started, begun_before
from cnntrain.errors import ConfigError
from cnntrain.training.process_place import RESTARTS, Place

SECOND = Place(1, 3, 1, 3)


def test_the_number_of_processes_is_that_of_torchrun() -> None:
    assert as_started(parse(["seed=1"]), SECOND).overrides == ["seed=1", "trainer.processes=3"]
    assert as_started(parse(["trainer.processes=3"]), SECOND).overrides == ["trainer.processes=3"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["trainer.processes=2"], "torchrun has started 3"),
        (["job=check"], "without torchrun"),
        (["-m", "seed=1,2"], "trainer.processes=3"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(arguments: list[str], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        as_started(parse(arguments), SECOND)


def test_when_started_again_a_command_goes_on_with_the_run_that_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(*overrides: str) -> bool:
        return begun_before(configure([f"hydra.run.dir={tmp_path}", *overrides], Choices())) is not None

    monkeypatch.setenv(RESTARTS, "1")
    assert not again("seed=1")
    stored = configure(["seed=1"], Choices()).config
    (tmp_path / "config.yaml").write_text(stored_config.to_yaml(stored))
    assert again("seed=1")
    assert again("seed=1", "trainer.processes=2")
    assert not again("seed=2")
    assert not again("seed=1", "trainer.epochs=3")
    monkeypatch.setenv(RESTARTS, "0")
    assert not again("seed=1")
