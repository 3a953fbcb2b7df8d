"""job=report end to end: findings, evidence and one page, after a run and on an earlier one."""

from __future__ import annotations

import json
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.config.resume_overrides import changed
from cnntrain.errors import ConfigError
from cnntrain.findings.judge import findings_of
from cnntrain.findings.replay import Replay
from cnntrain.findings.run_record import read_record
from cnntrain.runs.run_folder import RunFolder

QUICK = ["model=mlp", "trainer.threads=1", "trainer.pictures=false", "trainer.epochs=4"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def findings(folder: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((folder / "findings.json").read_text())
    return content


class Page(HTMLParser):
    """Collects ids, targets of links, resources from elsewhere, and whether every element is closed."""

    VOID = ("meta", "img", "br", "hr", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[str] = []
        self.outside: list[str] = []
        self.open: list[str] = []
        self.images_without_text = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(str(values["id"]))
        if tag == "a":
            self.targets.append(str(values["href"]))
        self.outside += [
            str(values[name])
            for name in ("src", "href")
            if name in values and not str(values[name]).startswith(("#", "data:"))
        ]
        self.images_without_text += tag == "img" and not values.get("alt")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_sound_run_says_so_on_one_line_and_has_a_page(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trainer.epochs=8", "trainer.threads=1", f"hydra.run.dir={folder}"]) == 0
    assert "\nfindings  none: nothing looks wrong\n" in capsys.readouterr().out
    assert findings(folder) == []
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert {target.removeprefix("#") for target in page.targets} <= page.ids
    assert page.outside == []
    assert page.images_without_text == 0
    assert len(text) < 5_000_000
    for part in ("Nothing looks wrong", "Confusion matrix", "Filters of the first layer", "trainer.epochs=8"):
        assert part in text


def test_what_is_wrong_is_said_with_a_command_that_mends_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, "initialization=zeros", f"hydra.run.dir={folder}"]) == 0
    (finding,) = findings(folder)
    assert finding["name"] == "symmetric initialization"
    assert finding["evidence"]["equal_units"]["head.hidden.0"] > 0.9
    printed = capsys.readouterr().out
    assert f"finding   {finding['sentence']}" in printed
    assert f"try       {finding['try']}" in printed
    assert finding["sentence"] in (folder / "report.html").read_text()

    mended = folder.with_name("mended")
    assert main([*shlex.split(finding["try"])[1:], f"hydra.run.dir={mended}"]) == 0
    accuracy = [json.loads((path / "summary.json").read_text())["val/accuracy"] for path in (folder, mended)]
    assert accuracy[0] < 0.2 < 0.8 < accuracy[1]


def test_a_run_that_diverged_is_judged_before_it_ends(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*QUICK, "optim.lr=1e6", "trainer.max_grad_norm=null", f"hydra.run.dir={folder}"]
    assert main(overrides) == 4
    assert [finding["name"] for finding in findings(folder)] == ["diverged"]
    assert "Training diverged" in capsys.readouterr().out
    assert main([f"run={folder}", "job=report", "report.updates=10", "report.seeds=2"]) == 0
    assert "Training diverged" in capsys.readouterr().out


def test_an_earlier_run_is_judged_alike_its_remedy_tried_and_nothing_else_of_it_changed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smooth = "regularization.label_smoothing=0.6"
    assert main([*QUICK, smooth, "trainer.report=false", f"hydra.run.dir={folder}"]) == 0
    assert not (folder / "findings.json").exists()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    report = ["job=report", f"run={folder}", "report.updates=20", "report.seeds=2"]
    assert main(report) == 0
    printed = capsys.readouterr().out
    bound = (
        "20 updates with and without each, 2 seeds, at most about 120 s (report.confirm=false leaves it out)"
    )
    assert printed.index(bound) < printed.index("replayed  ")
    assert "of 20 updates from the run's best network: validation accuracy" in printed
    first = (folder / "findings.json").read_bytes()
    assert main(report) == 0
    assert (folder / "findings.json").read_bytes() == first
    added = {path.name for path in folder.rglob("*") if path.is_file() and path not in before}
    assert added == {"findings.json", "evidence.json", "report.html"}
    for path, content in before.items():
        assert path.read_bytes() == content
    capsys.readouterr()
    assert main(["job=report", f"run={folder}", "report.confirm=false"]) == 0
    assert "replay" not in capsys.readouterr().out
    assert all("replay" not in finding for finding in findings(folder))


def test_what_a_run_was_told_of_replays_neither_decides_for_its_report_nor_keeps_other_jobs_from_it() -> None:
    told = ["model=mlp", "report.confirm=true", "report.updates=20"]
    stored = configure(told, Choices()).config
    for job, given, expected in (("report", [], None), ("report", ["report.confirm=false"], False)):
        config = changed(stored, [f"job={job}", *given], Choices())
        assert config.report.confirm is expected
    assert changed(stored, ["job=summary"], Choices()).job == "summary"
    with pytest.raises(ConfigError, match="has no effect on job=summary"):
        changed(stored, ["job=summary", "report.seeds=2"], Choices())


# Lines that no run writes, and one that a run writes only beside others.
FOREIGN = [
    *("1", '"text"', "[]", "null", "{}", '{"a": NaN}', '{"step": 1}', '{"step": 1, "epoch": "x"}', "{"),
    *('{"step": 1, "epoch": 1, "lr": [1]}', '{"step": 1, "epoch": 1, "lr": {}}', '{"step": NaN, "epoch": 1}'),
    *('{"step": 1, "epoch": 1, "train/loss": "2"}', '{"step": 1, "epoch": 1, "lr": true}', ""),
    '{"step": 1, "epoch": 1}',
]


def test_measurements_that_are_missing_or_foreign_are_not_judged(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, "trainer.report=false", f"hydra.run.dir={folder}"]) == 0
    metrics = folder / "metrics.jsonl"
    written = metrics.read_text().splitlines()
    for line in FOREIGN:
        metrics.write_text(f"{line}\n")
        assert main([f"run={folder}", "job=report"]) == 3, line
        assert str(metrics) in capsys.readouterr().err
    metrics.unlink()
    assert main([f"run={folder}", "job=report"]) == 3
    assert "has no row of a step" in capsys.readouterr().err
    assert not (folder / "findings.json").exists()
    # Every key of every row may be missing or null; the fewer epochs, the fewer findings.
    rows = [json.loads(line) for line in written]
    for name in {name for row in rows for name in row} - {"step", "epoch", "lr"}:
        for absent in ({}, {name: None}):
            kept = [{key: value for key, value in row.items() if key != name} | absent for row in rows]
            metrics.write_text("".join(json.dumps(row) + "\n" for row in kept))
            assert isinstance(findings_of(read_record(RunFolder(folder), {})), list)
    metrics.write_text("\n".join(written[:-1]) + "\n")
    assert main([f"run={folder}", "job=report"]) == 0
    assert "lacks the rows of 1 epochs" in capsys.readouterr().out


def test_remedies_are_tried_when_asked_for_and_what_gains_nothing_is_weaker(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = ["model=mlp", "trainer.threads=1", "trainer.pictures=false", "trainer.epochs=4"]
    confirm = ["report.confirm=true", "report.updates=40"]
    assert main([*quick, *confirm, "optim.lr=1e-6", f"hydra.run.dir={folder}"]) == 0
    (found,) = [one for one in findings(folder) if one["name"] == "learning rate too low"]
    assert found["replay"]["gains"] is True
    gained = "replayed  it gains over 3 seeds of 40 updates from the initial weights: validation accuracy"
    assert gained in capsys.readouterr().out

    smooth = folder.with_name("smooth")
    assert main([*quick, "regularization.label_smoothing=0.6", f"hydra.run.dir={smooth}"]) == 0
    (before,) = [one for one in findings(smooth) if one["name"] == "label smoothing too strong"]
    assert "replay" not in before
    capsys.readouterr()
    no_gain = Replay("accuracy", 40, [0.1, 0.2, 0.15], [0.11, 0.19, 0.15])
    monkeypatch.setattr("cnntrain.findings.confirm.replay", lambda *arguments: no_gain)
    assert main([f"run={smooth}", "job=report", *confirm]) == 0
    printed = capsys.readouterr().out
    (after,) = [one for one in findings(smooth) if one["name"] == "label smoothing too strong"]
    assert after["replay"]["gains"] is False
    assert after["strength"] < before["strength"]
    assert "finding   (not confirmed) Label smoothing" in printed
    assert "(not confirmed)" in (smooth / "report.html").read_text()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["report.confirm=false", "report.updates=50"], "applies to replays only; add report.confirm=true"),
        (["report.updates=50"], "applies to replays only; add report.confirm=true"),
        (["job=summary", "report.confirm=true"], "applies to job=report only"),
        (["trainer.report=false", "report.confirm=true"], "applies to job=report only"),
    ],
)
def test_settings_of_replays_without_replays_are_refused(
    overrides: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(overrides) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("target", ["attributes", "values"])
def test_runs_on_attributes_and_values_are_judged_too(folder: Path, target: str) -> None:
    loss = {"attributes": "attribute_logistic", "values": "l2"}[target]
    overrides = [*QUICK, f"data.target={target}", f"loss={loss}", f"hydra.run.dir={folder}"]
    assert main(overrides) == 0
    assert isinstance(findings(folder), list)
    assert Page((folder / "report.html").read_text()).open == []


def test_text_of_the_run_is_escaped_in_the_page(folder: Path) -> None:
    run = folder.with_name("<b>run & co")
    assert main([*QUICK, f"hydra.run.dir={run}"]) == 0
    text = (run / "report.html").read_text()
    assert "<b>run" not in text
    assert "&lt;b&gt;run &amp; co" in text


def test_a_run_on_images_that_stay_in_files_ends_with_its_report(folder: Path) -> None:
    for kind, value in (("dark", 20), ("light", 220)):
        Path("photos", kind).mkdir(parents=True)
        for number in range(12):
            pixels = np.full((8, 8, 3), value, np.uint8)
            pixels[number % 8] = 128
            Image.fromarray(pixels).save(Path("photos", kind, f"{number}.png"))
    overrides = [
        "data=folder",
        "data.path=photos",
        "data.memory_limit_gb=0",
        "data.batch_size=4",
        "model=linear",
    ]
    assert main([*overrides, f"hydra.run.dir={folder}", "trainer.epochs=1"]) == 0
    assert {"findings.json", "report.html"} <= {path.name for path in folder.iterdir()}


def test_a_run_that_ends_while_its_head_is_trained_alone_has_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = ["model=lenet5", "trainer.pictures=false", "data.limit=200"]
    assert main([*quick, "trainer.epochs=1", "trainer.report=false", "hydra.run.dir=source"]) == 0
    fine = [*quick, "initialization=from_run", "initialization.run=source", "model.head_epochs=3"]
    stops = ["trainer.epochs=4", "trainer.early_stopping_epochs=1", "optim.lr=1e-12", "schedule=constant"]
    assert main([*fine, *stops, "schedule.warmup_epochs=0", "hydra.run.dir=run"]) == 0
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["epochs"] <= 3
    assert Path("run/report.html").is_file()
