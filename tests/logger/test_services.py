"""What each service has of a run, read with its own package: a run logged in two processes, as if killed."""

from __future__ import annotations

import json
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from PIL import Image

from cnntrain.cli import main
from cnntrain.logger.destinations import wandb_problem
from cnntrain.logger.process import LoggerProcess
from cnntrain.logger.settings import SINKS, Loggers
from cnntrain.logger.sink import flat, numbers

# The block of a log of LevelDB, whose format wandb's files have after 7 bytes of their own.
BLOCK = 32768


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run with a picture and a page, logged to nothing yet."""
    folder = tmp_path_factory.mktemp("logged") / "run"
    folder.mkdir()
    Image.new("RGB", (5, 3)).save(folder / "images.png")
    (folder / "report.html").write_text("<p>the report</p>")
    overrides = ["model=mlp", "trainer.epochs=2", "trainer.pictures=false", "trainer.report=false"]
    assert main([f"hydra.run.dir={folder}", "trainer.record_every_steps=6", *overrides]) == 0
    return folder


@pytest.fixture
def service_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which the services keep what they keep outside of the run's folder."""
    for name, value in (
        ("TRACKIO_DIR", str(tmp_path / "trackio")),
        ("MLFLOW_ALLOW_FILE_STORE", "true"),
        ("WANDB_ERROR_REPORTING", "false"),
        *((f"WANDB_{kind}_DIR", str(tmp_path / "wandb")) for kind in ("DATA", "CACHE", "CONFIG")),
    ):
        monkeypatch.setenv(name, value)
    return tmp_path


def log_twice(folder: Path, service: str, **settings: Any) -> dict[str, Any]:
    """Log a run to a service up to its middle, then again as its continuation; return what was noted."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["logger"] = vars(Loggers(**{service: True, **settings}))
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "loggers").mkdir(exist_ok=True)
    rows, summary = (folder / "metrics.jsonl").read_text(), (folder / "summary.json").read_text()
    (folder / "metrics.jsonl").write_text("".join(rows.splitlines(keepends=True)[:4]))
    histograms = (folder / "histograms.jsonl").read_text()
    (folder / "histograms.jsonl").write_text(histograms.splitlines(keepends=True)[0])
    (folder / "summary.json").write_text('{"status": "interrupted"}')
    for _ in range(2):
        ended = threading.Event()
        ended.set()
        LoggerProcess(service, SINKS[service], folder, ["cnntrain", "model=mlp"], ended).run()
        (folder / "metrics.jsonl").write_text(rows)
        (folder / "histograms.jsonl").write_text(histograms)
        (folder / "summary.json").write_text(summary)
    noted: dict[str, Any] = json.loads((folder / "loggers" / f"{service}.json").read_text())
    return noted


def expected(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the steps and values of each name in metrics.jsonl, and the results of summary.json."""
    values: dict[str, list[tuple[int, float]]] = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        for name, value in numbers(row):
            values.setdefault(name, []).append((row["step"], value))
    return values


def results(folder: Path) -> dict[str, float]:
    """Return the results of summary.json under the names that services give them."""
    summary = json.loads((folder / "summary.json").read_text())
    test = {name: value for name, value in summary.items() if name.startswith("test/")}
    best = {f"best/{name}": value for name, value in summary.items() if name.startswith("val/")}
    assert len(test) > 1
    return {**test, **best, "best/epoch": summary["best_epoch"]}


def settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a run by their full names, without those of the logger."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    del config["logger"]
    return flat(config)


def test_tensorboard_has_all_rows_once_histograms_pictures_and_results(trained: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_twice(trained, "tensorboard")
    events = EventAccumulator(str(trained / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    wanted = expected(trained)
    assert set(events.Tags()["scalars"]) == {*wanted, *results(trained)}
    for name, points in wanted.items():
        logged = [(event.step, event.value) for event in events.Scalars(name)]
        assert logged == [(step, pytest.approx(value)) for step, value in points], name
    for name, value in results(trained).items():
        assert events.Scalars(name)[0].value == pytest.approx(value)
    (picture,) = events.Images("pictures/images")
    assert (picture.width, picture.height) == (5, 3)
    assert picture.encoded_image_string == (trained / "images.png").read_bytes()
    config = events.Tensors("config")[0].tensor_proto.string_val[0].decode()
    assert (
        json.loads(config.strip("`json\n"))["optim"]
        == yaml.safe_load((trained / "config.yaml").read_text())["optim"]
    )
    assert sorted(events.Tags()["histograms"]) == sorted(
        {
            name
            for line in (trained / "histograms.jsonl").read_text().splitlines()
            for name in json.loads(line)
        }
        - {"step"}
    )


def records(file: Path) -> Iterator[Any]:
    """Yield the records of a .wandb file: a log of LevelDB, whose records are wandb's protocol buffers."""
    from wandb.proto import wandb_internal_pb2

    content, position, parts = file.read_bytes(), 7, b""
    while position + 7 <= len(content):
        if BLOCK - position % BLOCK < 7:  # too little for a header
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def items(entries: Any) -> dict[str, Any]:
    """Return the items of a record of wandb by name."""
    return {
        "/".join(entry.nested_key) or entry.key: json.loads(entry.value_json)
        for entry in entries
        if entry.value_json
    }


def test_wandb_offline_has_all_rows_once_under_one_id_with_files_and_results(
    trained: Path, service_folder: Path
) -> None:
    noted = log_twice(trained, "wandb", wandb_mode="offline", tags=["try"], project="digits")
    files = sorted(trained.glob("wandb/offline-run-*/*.wandb"))
    assert [file.name for file in files] == [f"run-{noted['ids']['id']}.wandb"] * 2
    both = [list(records(file)) for file in files]
    history = [items(entry.history.item) for part in both for entry in part if entry.HasField("history")]
    own_steps = [row["_step"] for row in history]
    assert own_steps == sorted(set(own_steps))
    for name, points in expected(trained).items():
        assert [(row["step"], row[name]) for row in history if name in row] == points, name
    (run,) = [entry.run for entry in both[1] if entry.HasField("run")]
    assert (run.project, run.display_name, list(run.tags)) == ("digits", "run", ["try"])
    config = items(run.config.update)
    assert config["optim"]["lr"] == settings(trained)["optim.lr"]
    summary: dict[str, Any] = {}
    for entry in both[1]:
        if entry.HasField("summary"):
            summary |= items(entry.summary.update)
    assert {name: summary[name] for name in results(trained)} == results(trained)
    assert summary["status"] == "finished"
    kinds = [history[-1][f"{name}/_type"] for name in ("pictures/images", "pages/report")]
    assert kinds == ["image-file", "html-file"]
    (artifact,) = [entry.artifact for part in both for entry in part if entry.HasField("artifact")]
    assert (artifact.type, set(artifact.aliases)) == ("model", {"best", "latest"})
    assert [entry.path for entry in artifact.manifest.contents] == ["best.pt"]
    assert [part[-1].exit.exit_code for part in both] == [1, 0]


def test_mlflow_has_all_rows_once_in_one_run_with_parameters_files_and_results(
    trained: Path, service_folder: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydantic and others, while mlflow is imported
        from mlflow import MlflowClient
    uri = (service_folder / "mlruns").as_uri()
    noted = log_twice(trained, "mlflow", mlflow_uri=uri, tags=["try"], group="first")
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("cnntrain")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.run_name, run.info.status) == (noted["ids"]["id"], "run", "FINISHED")
    for name, points in expected(trained).items():
        history = client.get_metric_history(run.info.run_id, name)
        assert [(entry.step, entry.value) for entry in history] == points, name
    assert {name: run.data.metrics[name] for name in results(trained)} == results(trained)
    assert run.data.params == {name: str(value) for name, value in settings(trained).items()}
    assert run.data.tags.items() >= {"try": "true", "group": "first", "command": "cnntrain model=mlp"}.items()
    stored = client.download_artifacts(run.info.run_id, "", str(service_folder))
    assert {path.name for path in Path(stored).rglob("*.*")} >= {"images.png", "report.html", "best.pt"}


def test_trackio_has_all_rows_once_in_one_run_with_configuration_files_and_results(
    trained: Path, service_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of websockets and others, while trackio is imported
        import trackio
        from trackio.sqlite_storage import SQLiteStorage
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    log_twice(trained, "trackio", project="digits")
    assert [run.name for run in trackio.Api().runs("digits")] == ["run"]
    rows = SQLiteStorage.get_logs("digits", "run")
    for name, points in expected(trained).items():
        assert [(row["step"], row[name]) for row in rows if name in row] == points, name
    assert {name: rows[-1][name] for name in results(trained)} == results(trained)
    assert rows[-1]["status"] == "finished"
    config = SQLiteStorage.get_run_config("digits", "run")
    assert {name: config[name] for name in settings(trained)} == settings(trained)
    assert {path.suffix for path in (service_folder / "trackio" / "media").rglob("*.*")} >= {".png", ".html"}
    (artifact,) = SQLiteStorage.get_artifacts("digits")
    assert artifact["type"] == "model"


def test_wandb_is_written_offline_where_its_server_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from wandb.errors import CommError

    from cnntrain.logger.sink import LoggedRun
    from cnntrain.logger.wandb import WeightsAndBiases

    modes = []

    def init(*arguments: Any, mode: str | None, **settings: Any) -> Any:
        modes.append(mode)
        if mode != "offline":
            raise CommError("no such host")
        return mock.MagicMock(url=None)

    monkeypatch.setattr("wandb.init", init)
    monkeypatch.setattr("wandb.teardown", lambda: None)
    settings = vars(Loggers(wandb=True))
    sink = WeightsAndBiases(
        LoggedRun(Path("run"), "run", None, None, {"job": "train"}, settings, [], 0, {}, 0)
    )
    assert modes == [None, "offline"]
    assert sink.where == "wandb sync run/wandb/offline-run-*"


@pytest.mark.parametrize("name", ["a b", "ä.ö-1_2", "a/b", "a?", "a%", "a:", "a" * 128, "a" * 129])
def test_the_names_of_projects_are_those_that_wandb_takes(name: str) -> None:
    import wandb

    def refused() -> bool:
        try:
            wandb.Settings(project=name)
        except (wandb.errors.UsageError, ValueError):
            return True
        return False

    assert (wandb_problem(name, []) is not None) == refused()
