"""Where services keep a run, as far as it can be seen before training, without them and without a network."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What MLflow's addresses begin with, before "://"; databases may name a driver, as in mysql+pymysql.
SERVERS = ("http", "https", "databricks", "databricks-uc", "uc")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
# The group of entry points by which packages add kinds of addresses to MLflow.
MLFLOW_PLUGINS = "mlflow.tracking_store"
# With this variable, MLflow 3.17 keeps runs in folders, as earlier versions did without it.
ALLOW_FOLDERS = "MLFLOW_ALLOW_FILE_STORE"
# What the services refuse in names (wandb 0.31, mlflow 3.17).
WANDB_FORBIDDEN, WANDB_LENGTH, WANDB_TAG_LENGTH, MLFLOW_LENGTH = "/\\#?%:", 128, 64, 500


def wandb_problem(project: str, tags: list[str]) -> str | None:
    """Return what Weights & Biases refuses of a project's name and of tags, None if nothing."""
    if found := [char for char in WANDB_FORBIDDEN if char in project]:
        return f"logger.project={project}: Weights & Biases allows no {found[0]} in it; leave it out"
    if len(project) > WANDB_LENGTH:
        return f"logger.project: Weights & Biases allows {WANDB_LENGTH} characters; shorten it"
    if wrong := [tag for tag in tags if not 1 <= len(tag) <= WANDB_TAG_LENGTH]:
        return f"logger.tags={wrong}: Weights & Biases allows tags of 1 to {WANDB_TAG_LENGTH} characters"
    return None


def mlflow_problem(project: str, uri: str | None) -> str | None:
    """Return why MLflow cannot keep runs at an address, None if that cannot be seen from here.

    uri: that of the settings; None: that of the environment.
    """
    if len(project) > MLFLOW_LENGTH:
        return f"logger.project: MLflow allows {MLFLOW_LENGTH} characters; shorten it"
    name, address = "logger.mlflow_uri", uri
    if uri is None:
        name, address = "MLFLOW_TRACKING_URI", os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    assert address is not None
    scheme = urlsplit(address).scheme.partition("+")[0]
    path = _local_path(address, scheme)
    if path is not None:
        if scheme != "sqlite" and os.environ.get(ALLOW_FOLDERS, "").lower() not in ("true", "1"):
            return (
                f"{name}={address}: MLflow keeps no runs in folders unless {ALLOW_FOLDERS}=true; write "
                f"sqlite:///{path / 'mlflow.db'}"
            )
        wrong = _unwritable(path.parent if scheme == "sqlite" else path)
        return None if wrong is None else f"{name}={address}: {wrong}"
    if not {scheme, address} & {*SERVERS, *DATABASES, *_plugins()}:
        return (
            f"{name}={address}: MLflow does not know {scheme}://; write sqlite:///FILE, http://SERVER:PORT "
            "or the address of another database"
        )
    if scheme in ("http", "https") and not urlsplit(address).hostname:
        return f"{name}={address}: has no server; write http://SERVER:PORT"
    return None


def trackio_problem() -> str | None:
    """Return why Trackio cannot keep runs in its folder, None if it can."""
    hub = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    folder = os.environ.get("TRACKIO_DIR")
    path = Path(folder) if folder else Path(hub, "trackio").expanduser()
    wrong = _unwritable(path)
    return None if wrong is None else f"logger.trackio=true: {path} {wrong}, or set TRACKIO_DIR"


def _plugins() -> list[str]:
    from importlib.metadata import entry_points  # takes long to import

    return [plugin.name for plugin in entry_points(group=MLFLOW_PLUGINS)]


def _local_path(address: str, scheme: str) -> Path | None:
    """Return the file or folder of an address of MLflow, None of a server or a database in memory."""
    if scheme == "" and address not in SERVERS:
        return Path(address)
    if scheme == "file":
        return Path(unquote(urlsplit(address).path))
    path = address.partition(":///")[2].partition("?")[0]
    return Path(path) if scheme == "sqlite" and path and path != ":memory:" else None


def _unwritable(folder: Path) -> str | None:
    """Return why a folder cannot be made or written to, None if it can."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        return f"cannot be made, as {existing} is a file; name another folder"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"cannot be written to, as {existing} is read-only for you; name another folder"
    return None
