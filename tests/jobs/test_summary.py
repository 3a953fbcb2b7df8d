"""job=summary end to end: the notes' table, memory, the largest batch, and images that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cnntrain.cli import main
from cnntrain.costs.network_costs import largest_batch

# The rows of the notes' VGG-16 table: output, and weights without biases.
NOTES = """
input 224x224x3 0
conv 224x224x64 1728
conv 224x224x64 36864
max 112x112x64 0
conv 112x112x128 73728
conv 112x112x128 147456
max 56x56x128 0
conv 56x56x256 294912
conv 56x56x256 589824
conv 56x56x256 589824
max 28x28x256 0
conv 28x28x512 1179648
conv 28x28x512 2359296
conv 28x28x512 2359296
max 14x14x512 0
conv 14x14x512 2359296
conv 14x14x512 2359296
conv 14x14x512 2359296
max 7x7x512 0
linear 4096 102760448
linear 4096 16777216
linear 1000 4096000
"""


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def summary(*overrides: str) -> dict[str, Any]:
    folder = next(
        (override.partition("=")[2] for override in overrides if override.startswith("hydra.run.dir=")),
        "found",
    )
    assert main(["job=summary", f"hydra.run.dir={folder}", *overrides]) == 0
    content: dict[str, Any] = json.loads(Path(folder, "network.json").read_text())
    return content


def refusal(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    assert main(["job=summary", "hydra.run.dir=found", *overrides]) == 2
    assert not Path("found").exists()
    return capsys.readouterr().err


def test_vgg16_has_the_rows_and_totals_of_the_notes(capsys: pytest.CaptureFixture[str]) -> None:
    content = summary("model=vgg16", "data=imagenet", "data.root=nowhere", "data.batch_size=2")
    rows = []
    for layer in content["layers"]:
        (*sides,) = layer["shape"][1:]
        shape = "x".join(str(size) for size in (*sides, layer["shape"][0]))
        rows.append(f"{layer['kind'].split()[0] if layer['kind'] else 'input'} {shape} {layer['weights']}")
    assert rows == NOTES.split("\n")[1:-1]
    assert content["activations"] == 15_237_608
    assert (content["parameters"], content["biases"]) == (138_357_544, 13_416)
    assert content["multiply_adds"] == 15_470_264_320
    for text in (capsys.readouterr().out, Path("found/network.md").read_text()):
        for part in ("(3·3·64)·128 = 73 728", "7·7·512·4096 = 102 760 448", "15 237 608", "13 416"):
            assert part in text
    # Five convolutions of 3x3 after four poolings: the receptive field published for VGG-16.
    last = content["layers"][-4]
    assert (last["receptive_field"], last["stride"]) == ([212, 212], [32, 32])
    assert main(["job=summary", "hydra.run.dir=found"]) == 3  # a folder with results is not overwritten


def test_memory_of_a_linear_classifier_follows_from_its_sizes() -> None:
    """1000 images of 8x8 and 65·10 weights in float32: the memory in use at the update can be counted."""
    overrides = ["model=linear", "data.batch_size=1000", "trainer.precision=fp32", "augmentation=none"]
    training = summary(*overrides)["memory"]["training"]
    assert training["parameters"] == training["gradients"] == 4 * 650
    # Momentum: one number more for each weight.
    assert 4 * 650 <= training["optimizer_state"] <= 4 * 650 + 64
    assert training["batch"] == 1000 * 64 + 4 * 1000 * 64


@pytest.mark.parametrize(
    ("optim", "numbers"), [("sgd", 1), ("adam", 2), ("adagrad", 1), ("rmsprop", 1), ("nesterov", 1)]
)
def test_the_optimizer_state_per_weight_follows_from_the_formula(optim: str, numbers: int) -> None:
    state = summary("model=mlp", f"optim={optim}")["memory"]["training"]["optimizer_state"]
    weights = 64 * 128 + 128 + 128 * 10 + 10
    assert 4 * weights * numbers <= state <= 4 * weights * numbers + 64


def test_the_largest_batch_fits_and_one_image_more_does_not() -> None:
    overrides = ["model=lenet5", "data=mnist", "trainer.precision=fp32"]
    memory = summary(*overrides, "summary.memory_gb=0.05")["memory"]
    largest, training = memory["largest_batch"], memory["training"]
    # The ratio of heap size to peak differs from call to call; the file holds the ratio that was used.
    limit = 0.05e9 * (training["peak"] / training["resident"] if training["resident"] else 1)
    peaks = [
        summary(*overrides, f"data.batch_size={size}", f"hydra.run.dir=at{size}")["memory"]["training"][
            "peak"
        ]
        for size in (largest, largest + 1)
    ]
    assert peaks[0] <= limit < peaks[1]


@pytest.mark.parametrize("limit", [0, 9, 10, 1000, 1001, 12345])
def test_the_largest_batch_is_found_within_any_limit(limit: int) -> None:
    def peak(batch_size: int) -> int:
        return 7 + 3 * batch_size + batch_size // 5 * 2  # in steps, as buffers are

    result = largest_batch(peak, limit)
    assert result == max((size for size in range(1, 5000) if peak(size) <= limit), default=0)


def test_an_earlier_runs_network_is_summarized_in_its_folder() -> None:
    assert main(["hydra.run.dir=run", "model=mlp", "trainer.epochs=1", "trainer.max_steps_per_epoch=1"]) == 0
    before = Path("run/config.yaml").read_text()
    assert main(["run=run", "job=summary", "summary.memory_gb=0.01"]) == 0
    content = json.loads(Path("run/network.json").read_text())
    assert content["parameters"] == json.loads(Path("run/summary.json").read_text())["parameters"]
    assert content["memory"]["largest_batch"] > 100
    assert Path("run/config.yaml").read_text() == before


def test_layers_whose_stride_does_not_divide_the_size_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    # Krizhevsky's 224: (224 - 11 + 4)/4 is no integer, but only padding is left over; for 225 a row is.
    lines = summary("model=alexnet", "data=imagenet", "data.root=nowhere", "data.batch_size=2")["notices"]
    assert any("(224 - 11 + 2·2)/4" in line for line in lines)
    content = summary("model=convnet", "summary.image_size=9", "hydra.run.dir=nine")
    assert content
    lines = json.loads(Path("nine/network.json").read_text())["notices"]
    assert any("(9 - 2)/2 is not an integer" in line and "not covered" in line for line in lines)
    assert "notice" in capsys.readouterr().out


def test_images_that_are_too_small_are_refused_with_the_layer_and_the_smallest_size(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("deep.py").write_text(
        "from torch import nn\n"
        "def make(in_channels, classes):\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3),\n"
        "        nn.MaxPool2d(2), nn.Conv2d(4, classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    stderr = refusal(capsys, "model=custom", "model.factory=deep:make")
    # 3 pixels before the last 3x3, 6 before the pooling, 8, 16, 18.
    assert "18x18" in stderr
    assert "8x8" in stderr
    assert "3 (max pool 2x2)" in stderr


def test_settings_of_the_summary_are_refused_for_other_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary.memory_gb=4"]) == 2
    assert "add job=summary" in capsys.readouterr().err
    assert main(["hydra.run.dir=run", "trainer.epochs=1", "trainer.max_steps_per_epoch=1"]) == 0
    for override, hint in (
        ("summary.memory_gb=4", "job=summary"),
        ("evaluate.dense_size=9", "evaluate.dense=true"),
    ):
        assert main(["run=run", override]) == 2
        assert f"add {hint}" in capsys.readouterr().err
