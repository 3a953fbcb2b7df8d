"""job=benchmark: rows of the run and its exports, in a table and in benchmark.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cnntrain
from cnntrain.cli import main
from cnntrain.data.settings.built_in import Digits
from cnntrain.export import candidates
from cnntrain.export.candidates import LINE, Missing, missing_lines

QUICK = ("model=linear", "trainer.epochs=1", "trainer.pictures=false", "trainer.instruments=false")


def test_it_compares_the_run_with_its_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([f"hydra.run.dir={run}", *QUICK]) == 0
    capsys.readouterr()
    monkeypatch.setattr(candidates, "FORMATS", {"torch_export": (None, "fp16")})
    assert main([f"run={run}", "job=benchmark", "benchmark.seconds=0.001", "benchmark.threads=1"]) == 0
    printed = capsys.readouterr().out
    content = json.loads((run / "benchmark.json").read_text())

    rows = {row["name"]: row for row in content["rows"]}
    assert list(rows) == ["run", "torch_export", "torch_export fp16"]
    val = Digits().load(0).val
    answers = cnntrain.load(run).predict(val.images).argmax(1)
    assert rows["run"]["accuracy"] == pytest.approx(float((answers == val.labels).float().mean()))
    assert rows["run"]["bytes"] == (run / "checkpoints" / "best.pt").stat().st_size
    kinds = [(latency["batch"], latency["threads"]) for latency in rows["run"]["latencies"]]
    assert kinds == [(1, 1), (32, 1)]
    for batch, name in content["recommended"].items():
        assert f"take      for {'single images' if batch == '1' else 'batches of 32'}: {name} with" in printed


def test_a_reason_is_printed_once_in_a_short_line_for_all_forms_that_are_missing_for_it() -> None:
    failure = f"torch cannot export this network ({'x' * 400}); write export.format=safetensors"
    missing = [Missing(name, failure, "all of it") for name in ("onnx", "onnx fp16", "torch_export")]
    first, second = missing_lines([*missing, Missing("onnx int8", "differs from the run", "")])
    assert first.startswith("onnx, onnx fp16, torch_export: torch cannot export this network (xxx")
    assert len(first) < LINE + 50
    assert second == "onnx int8: differs from the run"
