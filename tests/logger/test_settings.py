"""Settings of loggers: presets that add up, settings without effect, packages, earlier configurations."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from cnntrain.config import stored_config
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.config.resume_overrides import changed
from cnntrain.errors import ConfigError
from cnntrain.logger.settings import SINKS, Loggers


@pytest.mark.parametrize("name", ["none", *SINKS])
def test_each_choice_logs_to_the_service_of_its_name_alone(name: str) -> None:
    config = configure([f"logger={name}"], Choices()).config
    assert list(config.logger.sinks()) == ([] if name == "none" else [name])


def test_services_add_up_and_a_continued_run_may_change_them() -> None:
    config = configure(["logger=wandb", "logger.mlflow=true"], Choices()).config
    assert list(config.logger.sinks()) == ["wandb", "mlflow"]
    assert list(changed(config, ["logger=trackio"], Choices()).logger.sinks()) == ["trackio"]
    more = changed(config, ["logger.tensorboard=true", "logger.project=birds"], Choices()).logger
    assert (list(more.sinks()), more.project) == (["tensorboard", "wandb", "mlflow"], "birds")


@pytest.mark.parametrize(("name", "services"), [("none", []), ("tensorboard", ["tensorboard"])])
def test_the_logger_of_an_earlier_version_is_read(name: str, services: list[str]) -> None:
    text = stored_config.to_yaml(configure(["seed=3"], Choices()).config)
    before, _, rest = text.partition("logger:\n")
    after = rest[rest.index("\nevaluate:") :]
    config = stored_config.from_yaml(f"{before}logger:\n  name: {name}{after}", "config.yaml")
    assert (list(config.logger.sinks()), config.seed) == (services, 3)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"project": "birds"}, "logger.project=birds: has no effect without logger.wandb=true or"),
        ({"tensorboard": True, "tags": ["a"]}, "logger.tags=[a]: has no effect without"),
        ({"mlflow": True, "wandb_mode": "offline"}, "logger.wandb_mode=offline: has no effect without"),
        ({"wandb": True, "mlflow_uri": "http://x"}, "logger.mlflow_uri=http://x: has no effect without"),
        ({"mlflow": True, "mlflow_uri": "https://me:secret@host"}, "logger.mlflow_uri: has a password"),
        ({"trackio": True, "project": ""}, "logger.project: is empty"),
    ],
)
def test_settings_without_effect_and_passwords_are_refused(values: dict[str, Any], problem: str) -> None:
    (line,) = Loggers(**values).problems()
    assert line.startswith(problem)
    assert "secret" not in line


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"wandb": True, "project": "a/b"}, "logger.project=a/b: Weights & Biases allows no / in it"),
        ({"wandb": True, "project": "a" * 129}, "logger.project: Weights & Biases allows 128 characters"),
        ({"wandb": True, "tags": [""]}, "logger.tags=['']: Weights & Biases allows tags of 1 to 64"),
        ({"mlflow": True, "project": "a" * 501}, "logger.project: MLflow allows 500 characters"),
        ({"mlflow": True, "mlflow_uri": "htp://x"}, "logger.mlflow_uri=htp://x: MLflow does not know htp://"),
        ({"mlflow": True, "mlflow_uri": "http:///x"}, "logger.mlflow_uri=http:///x: has no server"),
        ({"mlflow": True, "mlflow_uri": "runs"}, "logger.mlflow_uri=runs: MLflow keeps no runs in folders"),
        ({"mlflow": True, "mlflow_uri": "sqlite:///file/x.db"}, "sqlite:///file/x.db: cannot be made, as"),
        ({"trackio": True}, "logger.trackio=true: file/trackio cannot be made, as"),
    ],
)
def test_what_services_refuse_is_said_before_training(
    values: dict[str, Any], problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.setenv("TRACKIO_DIR", "file/trackio")
    Path("file").touch()
    (line,) = Loggers(**values).destination_problems()
    assert problem in line


@pytest.mark.parametrize(
    "uri",
    [
        *("sqlite:///new/x.db", "sqlite://", "sqlite:////tmp/x.db", "mysql+pymysql://me@host/db"),
        *("postgresql://host/db", "http://host:5000", "databricks", "databricks://profile"),
    ],
)
def test_addresses_that_mlflow_may_use_are_accepted(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(Loggers(mlflow=True, mlflow_uri=uri).destination_problems()) == []


def test_a_package_that_is_not_installed_is_named_also_beside_a_folder_of_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "folder_of_runs").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    found = importlib.util.find_spec("folder_of_runs")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with pytest.raises(ConfigError, match=r"logger\.wandb=true: needs .* pip install 'cnntrain\[wandb\]'"):
        configure(["logger=wandb"], Choices())
