"""The Hugging Face hub: networks published by job=publish, loaded by `cnntrain.load("hf:user/name")`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..errors import ConfigError, DataError, first_line
from ..runs import file_names
from .library_messages import without_messages

# Before the name of a repository, in place of a path.
HUB = "hf:"
FILES = [file_names.MODEL, file_names.CONFIG, "README.md"]


def download(repository: str) -> Path:
    """Return the folder with the files of a repository, user/name, in the hub's cache.

    Raises ConfigError without huggingface_hub, DataError where the repository cannot be read.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError([f"{HUB}{repository}: needs huggingface_hub; pip install 'cnntrain[hf]'"])
    from huggingface_hub import snapshot_download

    try:
        with without_messages():
            return Path(snapshot_download(repository, allow_patterns=FILES))
    except Exception as error:  # its own classes, those of httpx, and of the operating system
        raise DataError(f"{HUB}{repository}: {refusal(error)}") from error


def refusal(error: Exception) -> str:
    """Return in words why the hub did not do what it was asked, and what to do."""
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return "is no name of a repository; write user/name"
    if isinstance(error, errors.LocalTokenNotFoundError) or _status(error) == 401:
        return "the hub does not know who you are, or has no such repository; log in with `hf auth login`"
    if isinstance(error, errors.GatedRepoError) or _status(error) == 403:
        return "the hub does not allow this; log in with a token that may, `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub has no such repository; check the name, and log in if it is private"
    if isinstance(error, errors.HfHubHTTPError) and _status(error) is not None:
        return f"the hub answered {first_line(error)[:200]}; try again later"
    return f"the hub cannot be reached ({first_line(error)[:200]}); check the network connection"


def _status(error: Exception) -> int | None:
    """Return the status of the hub's answer, None without one."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None
