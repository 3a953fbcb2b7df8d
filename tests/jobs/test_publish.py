"""job=publish: a folder that cnntrain.load reads, and its upload up to the hub's own client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

import cnntrain
from cnntrain.cli import main
from cnntrain.errors import DataError
from cnntrain.runs import file_names

QUICK = ("model=linear", "trainer.epochs=1", "trainer.pictures=false", "trainer.instruments=false")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("publish") / "run"
    assert main([f"hydra.run.dir={folder}", *QUICK]) == 0
    return folder


def test_a_published_folder_predicts_what_the_run_does(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    for _ in range(2):  # the second time, it holds its own files
        assert main([f"run={trained}", "job=publish", f"publish.folder={folder}"]) == 0
    (folder / "README.md").write_text("my own card")
    assert main([f"run={trained}", "job=publish", f"publish.folder={folder}"]) == 0
    assert (folder / "README.md").read_text() == "my own card"
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "config.yaml", "model.safetensors"]
    images = torch.arange(2 * 64).to(torch.uint8).view(2, 8, 8, 1)
    found, expected = cnntrain.load(folder).predict(images), cnntrain.load(trained).predict(images)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_the_hub_reads_the_cards_header(trained: Path, tmp_path: Path) -> None:
    assert main([f"run={trained}", "job=publish", f"publish.folder={tmp_path}"]) == 0
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "cnntrain"
    assert card.data.pipeline_tag == "image-classification"
    (accuracy,) = [result for result in card.data.eval_results if result.metric_type == "accuracy"]
    summary = json.loads((trained / "summary.json").read_text())
    assert accuracy.metric_value == summary["test/accuracy"]
    assert accuracy.dataset_split == "test"


def test_a_folder_with_other_files_is_left_alone(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret.txt").write_text("private")
    assert main([f"run={trained}", "job=publish", f"publish.folder={tmp_path}"]) == 3
    assert "has other files (secret.txt), which would be published" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["secret.txt"]


def test_the_staged_folder_is_uploaded_to_the_repository(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    class Hub:
        def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
            calls.append(("create", repo_id, private, exist_ok))
            return f"https://huggingface.co/{repo_id}"

        def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
            calls.append(("upload", repo_id, sorted(file.name for file in folder_path.iterdir())))
            assert 'cnntrain.load("hf:user/digits")' in (folder_path / "README.md").read_text()

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    settings = ["publish.repository=user/digits", "publish.private=true"]
    assert main([f"run={trained}", "job=publish", *settings]) == 0
    files = ["README.md", "config.yaml", "model.safetensors"]
    assert calls == [("create", "user/digits", True, True), ("upload", "user/digits", files)]
    assert 'cnntrain.load("hf:user/digits")' in capsys.readouterr().out


def answer(status: int) -> HfHubHTTPError:
    request = httpx.Request("POST", "https://huggingface.co/api/repos/create")
    return HfHubHTTPError("refused", response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LocalTokenNotFoundError("no token"), "log in with `hf auth login`"),
        (answer(401), "log in with `hf auth login`"),
        (answer(403), "the hub does not allow this"),
        (answer(500), "the hub answered"),
        (httpx.ConnectError("no route to host"), "the hub cannot be reached (no route to host)"),
    ],
)
def test_refusals_of_the_hub_are_one_line(
    error: Exception,
    message: str,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Hub:
        def create_repo(self, *arguments: Any, **named: Any) -> None:
            raise error

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert main([f"run={trained}", "job=publish", "publish.repository=user/digits"]) == 3
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_a_repository_is_loaded_from_the_hubs_cache(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([f"run={trained}", "job=publish", f"publish.folder={tmp_path}"]) == 0
    asked = []

    def snapshot_download(repository: str, allow_patterns: list[str]) -> str:
        asked.append((repository, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert len(cnntrain.load("hf:user/digits").names) == 10
    assert asked == [("user/digits", [file_names.MODEL, file_names.CONFIG, "README.md"])]
    monkeypatch.undo()
    with pytest.raises(DataError, match="write user/name"):
        cnntrain.load("hf:two words")
