"""Upload to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from ..prediction.hub import refusal
from ..prediction.library_messages import without_messages


def upload(folder: Path, repository: str, private: bool) -> str:
    """Upload the files of a folder to a repository, which is created if there is none; return its address.

    Raises DataError where the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        with without_messages():
            address = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Published by cnntrain")
    except Exception as error:  # its own classes, those of httpx, and of the operating system
        raise DataError(f"publish.repository={repository}: {refusal(error)}") from error
    return str(address)
