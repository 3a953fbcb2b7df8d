"""A user's own YAML files: added to the choices, checked like the package's, ambiguous values refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure

Write = Callable[[str, str | bytes], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes a file into the folder `own` of an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def write_file(name: str, content: str | bytes) -> None:
        file = tmp_path / "own" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    return write_file


def compose(*overrides: str):
    return configure(list(overrides), Choices(Path("own").resolve())).config


def test_a_user_file_adds_a_choice_based_on_a_built_in_one(write: Write) -> None:
    write("optim/mine.yaml", "defaults: [adam, _self_]\nlr: 1e-3\nbetas: [0.8, 0.99]\n")
    write("augmentation/mine.yaml", "defaults: [crop_flip, _self_]\nflip: no\n")
    config = compose("optim=mine", "augmentation=mine", "optim.eps=1e-6")
    assert (config.optim.name, config.optim.lr, config.optim.betas) == ("adam", 0.001, [0.8, 0.99])
    assert config.optim.eps == 1e-6
    assert config.augmentation.flip is False


def test_a_user_file_may_replace_a_built_in_choice_of_the_same_name(write: Write) -> None:
    write("optim/adam.yaml", "defaults: [/schema/optim/adam@_here_, _self_]\nlr: 0.5\n")
    assert compose("optim=adam").optim.lr == 0.5


@pytest.mark.parametrize("order", ["_self_, adam", "_self_, adam, _self_", "adam, _self_", "adam"])
def test_a_setting_that_a_later_file_replaces_is_refused(
    order: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("optim/mine.yaml", f"defaults: [{order}]\nlr: 3e-4\n")
    code = main(["--config-dir", "own", "optim=mine", "--cfg", "job"])
    captured = capsys.readouterr()
    if code == 0:
        assert "lr: 0.0003" in captured.out
    else:
        assert "optim.lr: 0.0003: is replaced by a file" in captured.err
    assert (code == 0) is (order != "_self_, adam")


@pytest.mark.parametrize("part", ["mode: MULTIRUN", "job: {chdir: true}", "searchpath: [x]", "[1]"])
def test_settings_of_hydra_that_nothing_reads_are_refused(
    part: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    content = f"hydra: {{{part}}}" if part != "[1]" else "hydra: [1]"
    write("experiment/mine.yaml", f"# @package _global_\n{content}\n")
    assert main(["--config-dir", "own", "experiment=mine", "--cfg", "job"]) == 2
    assert "has no effect" in capsys.readouterr().err


def test_a_file_with_a_byte_order_mark_is_an_experiment_too(write: Write) -> None:
    write("experiment/mine.yaml", b"\xef\xbb\xbf# @package _global_\nseed: 7\n")
    assert configure(["experiment=mine"], Choices(Path("own").resolve())).config.seed == 7


def test_a_file_that_cannot_be_chosen_by_its_name_is_to_be_renamed(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("optim/slow.yml", "defaults: [adam, _self_]\n")
    write("optim/my slow.yaml", "defaults: [adam, _self_]\n")
    for name, hint in (("slow", "slow.yml to slow.yaml"), ("my slow", "my slow.yaml: letters")):
        assert main(["--config-dir", "own", f"optim='{name}'"]) == 2
        assert hint in capsys.readouterr().err
    assert "my slow" not in Choices(Path("own").resolve()).names("optim")


def test_a_run_is_continued_where_a_file_has_the_name_of_its_choice(write: Write) -> None:
    quick = ["trainer.max_steps_per_epoch=2", "trainer.pictures=false", "trainer.report=false"]
    assert main(["model=linear", "trainer.epochs=1", "hydra.run.dir=run", *quick]) == 0
    write("optim/sgd.yaml", "defaults: [adam, _self_]\nlr: 0.002\n")
    (notice,) = configure(["model=linear"], Choices(Path("own").resolve())).notices
    assert "own/optim/sgd.yaml: is used in place of the optim sgd" in notice
    assert main(["--config-dir", "own", "run=run", "trainer.epochs=2"]) == 0
    assert main(["--config-dir", "own", "run=run", "job=evaluate"]) == 0


def test_a_single_run_of_an_experiment_for_sweeps_gives_a_notice(write: Write) -> None:
    write("experiment/mine.yaml", "# @package _global_\nhydra: {sweeper: {params: {seed: '1,2'}}}\n")
    checked = configure(["experiment=mine"], Choices(Path("own").resolve()))
    assert checked.notices == ["experiment=mine: its hydra.sweeper applies to sweeps only; add -m"]


def test_a_choice_may_have_a_name_in_any_letters(write: Write) -> None:
    write("optim/sänft.yaml", "defaults: [adam, _self_]\nlr: 0.007\n")
    assert compose("optim=sänft").optim.lr == 0.007


def test_an_experiment_sets_options_and_the_command_line_takes_precedence(write: Write) -> None:
    write(
        "experiment/mine.yaml",
        "# @package _global_\ndefaults:\n  - override /optim: adam\n  - override /schedule: step\n"
        "optim:\n  lr: 0.02\nschedule:\n  milestones: [3, 5]\ntrainer:\n  epochs: 7\n",
    )
    config = compose("experiment=mine", "trainer.epochs=9")
    assert (config.optim.name, config.optim.lr, config.trainer.epochs) == ("adam", 0.02, 9)
    assert config.schedule.milestones == [3, 5]
    assert compose("experiment=mine", "optim=sgd").optim.name == "sgd"


INVALID_FILES = [
    ("optim", b"defaults: [adam, _self_]\nlr: 0.1\n\tbeta: 1\n", ["line 3", "tab"]),
    ("optim", b"defaults: [adam, _self_]\nlr: 0.1\nlr: 0.2\n", ["line 3", "lr", "twice"]),
    ("optim", b"defaults: [adam, _self_]\nlearning_rate: 0.1\n", ["optim.learning_rate", "lr, betas, eps"]),
    ("optim", b"defaults: [adam, _self_]\nlr: [0.1, 0.2]\n", ["optim.lr", "number > 0"]),
    ("trainer", b'defaults: [default, _self_]\nepochs: "ten"\n', ["trainer.epochs", '"ten"', "number"]),
    ("optim", b"", ["empty", "defaults: [NAME, _self_]", "adagrad"]),
    ("optim", b"# only a comment\n", ["empty"]),
    ("optim", b"defaults: [adam, _self_]\nlr: 0.1 # \xff\xfe\n", ["not UTF-8"]),
    ("optim", b"defaults: [mine, _self_]\nlr: 0.1\n", ["names the file itself"]),
    ("optim", b"lr: 0.1\n", ["does not say which settings it has", "defaults: [NAME, _self_]"]),
    ("optim", b"defaults: [adamm, _self_]\nlr: 0.1\n", ["adamm", "did you mean adam?"]),
    ("optim", b"defaults: [/schema/optim/adamm@_here_]\nlr: 0.1\n", ["/schema/optim/adamm", "no schema"]),
    ("optim", b"- lr\n- 0.1\n", ["key: value"]),
    ("optim", b"defaults: [adam, _self_]\nlr: {a: 1\n", ["line"]),
    ("trainer", b"defaults: [default, _self_]\nepochs: 012\n", ["line 2", "012", "base 8", "write 12"]),
    ("trainer", b"defaults: [default, _self_]\nmax_minutes: 1:30\n", ["line 2", "1:30", "base 60"]),
    ("experiment", b"# @package _global_\nseed: 012\n", ["012", "base 8"]),
    ("experiment", b"# @package _global_\noptim:\n  betas: [1]\n", ["optim.betas", "not a setting"]),
    ("experiment", b"# @package _global_\nepochs: 3\n", ["epochs", "not a setting"]),
    ("experiment", b"# @package _global_\ndefaults:\n  - override /modle: vgg11\n", ["modle", "model"]),
    ("experiment", b"# @package _global_\ndefaults:\n  - override /model: vgg12\n", ["vgg12", "vgg1"]),
    ("experiment", b"# @package _global_\noptim:\n  lr: 0\n", ["optim.lr", "> 0"]),
    ("experiment", b"optim:\n  lr: 0.1\n", ["# @package _global_", "add it"]),
    ("experiment", b"# @package _global_\nrun: outputs/a\n", ["run=FOLDER on the command line"]),
]


@pytest.mark.parametrize(("group", "content", "expected"), INVALID_FILES)
def test_an_invalid_file_is_reported_with_its_path_and_the_problem(
    write: Write, group: str, content: bytes, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(f"{group}/mine.yaml", content)
    assert main(["--config-dir", "own", f"{group}=mine"]) == 2
    stderr = capsys.readouterr().err
    for part in [f"{Path('own') / group / 'mine.yaml'}", *expected]:
        assert part in stderr
    assert "Traceback" not in stderr
    assert [path.name for path in Path.cwd().iterdir()] == ["own"]


def test_all_problems_of_a_file_are_reported_at_once(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("optim/mine.yaml", "defaults: [adam, _self_]\nlr: 0\nmomentum: 0.9\nbetas: [0.9]\n")
    assert main(["--config-dir", "own", "optim=mine", "seed=-1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 4


@pytest.mark.parametrize(
    "content", ["lr: ${missing.key}", "lr: ${optim.eps}\neps: ${optim.lr}"], ids=["missing", "circular"]
)
def test_unresolvable_interpolations_are_reported_on_one_line(
    write: Write, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("optim/mine.yaml", f"defaults: [adam, _self_]\n{content}\n")
    assert main(["--config-dir", "own", "optim=mine"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "optim.lr" in line
    assert "own/optim/mine.yaml, line 2: " in line
