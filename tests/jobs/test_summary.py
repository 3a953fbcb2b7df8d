"""job=summary, as its users ask for it: the notes' table, memory, the largest batch, what does not fit."""

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


def summary(*words: str) -> dict[str, Any]:
    folder = next((word.partition("=")[2] for word in words if word.startswith("hydra.run.dir=")), "found")
    assert main(["job=summary", f"hydra.run.dir={folder}", *words]) == 0
    content: dict[str, Any] = json.loads(Path(folder, "network.json").read_text())
    return content


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["job=summary", "hydra.run.dir=found", *words]) == 2
    assert not Path("found").exists()
    return capsys.readouterr().err


def test_vgg16_has_the_rows_and_the_sums_of_the_notes(capsys: pytest.CaptureFixture[str]) -> None:
    found = summary("model=vgg16", "data=imagenet", "data.root=nowhere", "data.batch_size=2")
    rows = []
    for layer in found["layers"]:
        (*places,) = layer["shape"][1:]
        shape = "x".join(str(size) for size in (*places, layer["shape"][0]))
        rows.append(f"{layer['kind'].split()[0] if layer['kind'] else 'input'} {shape} {layer['weights']}")
    assert rows == NOTES.split("\n")[1:-1]
    assert found["activations"] == 15_237_608
    assert (found["parameters"], found["biases"]) == (138_357_544, 13_416)
    assert found["multiply_adds"] == 15_470_264_320
    for shown in (capsys.readouterr().out, Path("found/network.md").read_text()):
        for part in ("(3·3·64)·128 = 73 728", "7·7·512·4096 = 102 760 448", "15 237 608", "13 416"):
            assert part in shown
    # Five convolutions of 3x3 after four poolings: the receptive field that is stated for VGG-16.
    last = found["layers"][-4]
    assert (last["receptive_field"], last["stride"]) == ([212, 212], [32, 32])
    assert main(["job=summary", "hydra.run.dir=found"]) == 3  # a folder that is in use stays as it is


def test_memory_of_a_linear_classifier_follows_from_its_sizes() -> None:
    """1000 images of 8x8 and 65·10 weights in float32: what is alive at the update can be counted."""
    words = ["model=linear", "data.batch_size=1000", "trainer.precision=fp32", "augmentation=none"]
    training = summary(*words)["memory"]["training"]
    assert training["parameters"] == training["gradients"] == 4 * 650
    # Momentum: one number more for each weight.
    assert 4 * 650 <= training["optimizer_state"] <= 4 * 650 + 64
    assert training["batch"] == 1000 * 64 + 4 * 1000 * 64


@pytest.mark.parametrize(
    ("optim", "numbers"), [("sgd", 1), ("adam", 2), ("adagrad", 1), ("rmsprop", 1), ("nesterov", 1)]
)
def test_optimizers_keep_as_many_numbers_a_weight_as_their_formulas_need(optim: str, numbers: int) -> None:
    state = summary("model=mlp", f"optim={optim}")["memory"]["training"]["optimizer_state"]
    weights = 64 * 128 + 128 + 128 * 10 + 10
    assert 4 * weights * numbers <= state <= 4 * weights * numbers + 64


def test_the_largest_batch_fits_and_one_image_more_does_not() -> None:
    words = ["model=lenet5", "data=mnist", "trainer.precision=fp32"]
    memory = summary(*words, "summary.memory_gb=0.05")["memory"]
    most, asked = memory["largest_batch"], memory["training"]
    # What the heap makes of a peak differs from call to call; the share that was used stands in the file.
    limit = 0.05e9 * (asked["peak"] / asked["resident"] if asked["resident"] else 1)
    peaks = [
        summary(*words, f"data.batch_size={size}", f"hydra.run.dir=at{size}")["memory"]["training"]["peak"]
        for size in (most, most + 1)
    ]
    assert peaks[0] <= limit < peaks[1]


@pytest.mark.parametrize("limit", [0, 9, 10, 1000, 1001, 12345])
def test_the_search_for_the_largest_batch_ends_at_it(limit: int) -> None:
    def peak(batch_size: int) -> int:
        return 7 + 3 * batch_size + batch_size // 5 * 2  # in steps, as buffers are

    found = largest_batch(peak, limit)
    assert found == max((size for size in range(1, 5000) if peak(size) <= limit), default=0)


def test_an_earlier_runs_network_is_summarized_in_its_folder() -> None:
    assert main(["hydra.run.dir=run", "model=mlp", "trainer.epochs=1", "trainer.max_steps_per_epoch=1"]) == 0
    before = Path("run/config.yaml").read_text()
    assert main(["run=run", "job=summary", "summary.memory_gb=0.01"]) == 0
    found = json.loads(Path("run/network.json").read_text())
    assert found["parameters"] == json.loads(Path("run/summary.json").read_text())["parameters"]
    assert found["memory"]["largest_batch"] > 100
    assert Path("run/config.yaml").read_text() == before


def test_layers_whose_sizes_do_not_divide_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    # Krizhevsky's 224: (224 - 11 + 4)/4 is not whole, but what is left is padding; for 225 it is a row.
    lines = summary("model=alexnet", "data=imagenet", "data.root=nowhere", "data.batch_size=2")["notices"]
    assert any("(224 - 11 + 2·2)/4" in line for line in lines)
    found = summary("model=convnet", "summary.image_size=9", "hydra.run.dir=nine")
    assert found
    lines = json.loads(Path("nine/network.json").read_text())["notices"]
    assert any("(9 - 2)/2 is not whole" in line and "not seen" in line for line in lines)
    assert "notice" in capsys.readouterr().out


def test_a_network_that_shrinks_to_nothing_names_the_layer_and_the_least_size(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("deep.py").write_text(
        "from torch import nn\n"
        "def make(in_channels, classes):\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3),\n"
        "        nn.MaxPool2d(2), nn.Conv2d(4, classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    shown = refused(capsys, "model=custom", "model.factory=deep:make")
    # 3 pixels before the last 3x3, 6 before the pooling, 8, 16, 18.
    assert "18x18" in shown
    assert "8x8" in shown
    assert "3 (max pool 2x2)" in shown


def test_settings_of_the_summary_are_refused_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary.memory_gb=4"]) == 2
    assert "add job=summary" in capsys.readouterr().err
    assert main(["hydra.run.dir=run", "trainer.epochs=1", "trainer.max_steps_per_epoch=1"]) == 0
    for word, hint in (
        ("summary.memory_gb=4", "job=summary"),
        ("evaluate.dense_size=9", "evaluate.dense=true"),
    ):
        assert main(["run=run", word]) == 2
        assert f"add {hint}" in capsys.readouterr().err
