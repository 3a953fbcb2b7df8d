"""Initialization from an earlier run: copied layers, new layers, and refused sources (N6, I6)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import cnntrain
from cnntrain.assemble.parts import build_criterion, build_network, read_source_run
from cnntrain.cli import main
from cnntrain.config import stored_config
from cnntrain.config.resolve_network_input import resolve_network_input
from cnntrain.errors import ConfigError, DataError
from cnntrain.initialization.from_run import make_identity
from cnntrain.initialization.settings import Default, FromRun
from cnntrain.model.settings.base import Model
from cnntrain.model.settings.feedforward import Linear
from cnntrain.model.settings.vgg import Vgg
from cnntrain.runs.checkpoint import Checkpoints, read

QUICK = ["data.limit=100", "trainer.epochs=1", "trainer.max_steps_per_epoch=2", "model.width=0.125"]
SIZE = (32, 32)


@pytest.fixture(scope="module")
def vgg11(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a short run of a narrow VGG-11."""
    folder = tmp_path_factory.mktemp("shallow") / "run"
    assert main(["model=vgg11", f"hydra.run.dir={folder}", *QUICK]) == 0
    return folder


def best_weights(folder: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = Checkpoints(folder / "checkpoints").load_best()["network"]
    return weights


def make_run(folder: Path, like: Path, network: nn.Module) -> Path:
    """Create a run's folder with the weights of a network and the configuration of the run `like`."""
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copy(like / "config.yaml", folder)
    state = read(like / "checkpoints" / "best.pt") | {"network": network.state_dict()}
    Checkpoints(folder / "checkpoints").save_best(state)
    return folder


def build(settings: Model, seed: int, channels: int = 1, classes: int = 10) -> nn.Module:
    torch.manual_seed(seed)
    return settings.build(channels, classes, SIZE, None)


def apply(settings: FromRun, network: nn.Module) -> list[str]:
    return settings.apply(network, "relu", read_source_run(settings.source_run()))


def copied_tensors(network: nn.Module, source: dict[str, Tensor]) -> set[str]:
    """Return the names of the tensors that equal the source's to the bit."""
    state = network.state_dict()
    return {name for name in state if name in source and torch.equal(state[name], source[name])}


def test_vgg16_copies_the_layers_of_vgg11_and_reports_them(
    vgg11: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "deeper"
    overrides = ["initialization=from_run", f"initialization.run={vgg11}", f"hydra.run.dir={folder}"]
    assert main(["model=vgg16", *overrides, *QUICK]) == 0
    assert (
        f"weights   from {vgg11}: copied conv1_1, conv2_1, conv3_1, conv3_2, conv4_1, conv4_2, conv5_1, "
        "conv5_2, head (9 of 14 layers); new conv1_2, conv2_2, conv3_3, conv4_3, conv5_3\n"
    ) in capsys.readouterr().out
    config = stored_config.read(folder)
    criterion = build_criterion(config, [str(label) for label in range(10)], {})
    network_input = resolve_network_input(config, (*SIZE, 1))
    network, _ = build_network(config, criterion, network_input)
    source = best_weights(vgg11)
    assert copied_tensors(network, source) == set(source)
    # New layers have the initial weights that they have without an earlier run.
    config.initialization = Default()
    fresh, _ = build_network(config, criterion, network_input)
    for name, weight in fresh.state_dict().items():
        if name not in source:
            torch.testing.assert_close(network.state_dict()[name], weight, rtol=0, atol=0)
    assert not any(name.endswith("weight") for name in copied_tensors(fresh, source))


def test_five_patterns_select_the_papers_layers(vgg11: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    trained = Vgg(depth=11, form="imagenet", width=0.02).build(1, 10, SIZE, None)
    folder = make_run(tmp_path / "run", vgg11, trained)
    network = Vgg(depth=16, form="imagenet", width=0.02).build(1, 10, SIZE, None)
    patterns = ["conv1_*", "conv2_*", "conv3_*", "fc*", "output"]
    (line,) = apply(FromRun(run=str(folder), layers=patterns), network)
    assert "copied conv1_1, conv2_1, conv3_1, conv3_2, head (7 of 16 layers); new conv1_2" in line
    weights = {name for name in copied_tensors(network, trained.state_dict()) if name.endswith("weight")}
    assert weights == {
        *(f"features.conv{stage}.conv.weight" for stage in ("1_1", "2_1", "3_1", "3_2")),
        *(f"head.{layer}.weight" for layer in ("fc6", "fc7", "output")),
    }


@torch.no_grad()
def test_a_deeper_network_whose_new_layers_are_the_identity_equals_the_shallower_one(
    vgg11: Path, tmp_path: Path
) -> None:
    shallow = build(Vgg(depth=11, width=0.125), 1).eval()
    folder = make_run(tmp_path / "run", vgg11, shallow)
    images = torch.randn(4, 1, *SIZE)
    for depth, new in ((13, 2), (16, 5), (19, 8)):
        deep = build(Vgg(depth=depth, width=0.125), 2).eval()
        (line,) = apply(FromRun(run=str(folder), new="identity"), deep)
        assert line.endswith(f"{new} of them the identity")
        torch.testing.assert_close(deep(images), shallow(images))
    deep = build(Vgg(depth=19, width=0.125), 2).eval()
    apply(FromRun(run=str(folder)), deep)
    assert (deep(images) - shallow(images)).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 4, 3, padding=1), (2, 4, 5, 6)),
        (nn.Conv2d(4, 4, (1, 7), padding=(0, 3), bias=False), (2, 4, 5, 6)),
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2), (2, 4, 5, 6)),
        (nn.Linear(6, 6), (2, 6)),
    ],
    ids=repr,
)
@torch.no_grad()
def test_an_identity_layer_returns_its_input(layer: nn.Module, shape: tuple[int, ...]) -> None:
    values = torch.randn(shape)
    assert make_identity(layer)
    torch.testing.assert_close(layer(values), values)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 5, 3, padding=1),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, 2, 1),
        nn.Conv2d(4, 4, 2, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Linear(5, 6),
        nn.BatchNorm2d(4),
    ],
    ids=repr,
)
def test_a_layer_that_cannot_be_the_identity_is_unchanged(layer: nn.Module) -> None:
    before = {name: weight.clone() for name, weight in layer.state_dict().items()}
    assert not make_identity(layer)
    for name, weight in layer.state_dict().items():
        assert torch.equal(weight, before[name])


@pytest.mark.parametrize(
    ("pattern", "layers"),
    [
        ("features.conv2_1.conv", {"features.conv2_1.conv"}),
        ("conv2_1.norm", {"features.conv2_1.norm"}),
        ("conv2_1", {"features.conv2_1.conv", "features.conv2_1.norm"}),
        ("conv3_*.norm", {"features.conv3_1.norm", "features.conv3_2.norm"}),
        ("head", {"head.output"}),
        ("output", {"head.output"}),
        ("conv[12]_1.conv", {"features.conv1_1.conv", "features.conv2_1.conv"}),
    ],
)
def test_a_pattern_selects_a_layer_or_an_enclosing_module_with_or_without_its_prefix(
    pattern: str, layers: set[str], vgg11: Path, tmp_path: Path
) -> None:
    settings = Vgg(depth=11, normalization="batch", width=0.05)
    trained = build(settings, 1)
    for tensor in trained.state_dict().values():
        tensor.add_(1)  # so that biases and statistics differ from new ones, too
    folder = make_run(tmp_path / "run", vgg11, trained)
    network = build(settings, 2)
    apply(FromRun(run=str(folder), layers=[pattern]), network)
    source = trained.state_dict()
    assert {name.rpartition(".")[0] for name in copied_tensors(network, source)} == layers
    # Whole layers: weight and bias, and the running statistics of norms.
    assert copied_tensors(network, source) == {name for name in source if name.rpartition(".")[0] in layers}


def test_layers_for_other_classes_and_channels_are_new_and_the_others_copied(vgg11: Path) -> None:
    network = build(Vgg(depth=11, width=0.125), 1, channels=3, classes=7)
    (line,) = apply(FromRun(run=str(vgg11)), network)
    assert line.endswith("(7 of 9 layers); new conv1_1, head")
    source = best_weights(vgg11)
    new = ("head", "features.conv1_1")
    assert {name for name in copied_tensors(network, source) if name.endswith("weight")} == {
        name for name in source if name.endswith("weight") and not name.startswith(new)
    }


def test_a_layer_whose_source_lacks_a_bias_is_not_copied_in_part(vgg11: Path, tmp_path: Path) -> None:
    trained = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 2))
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    before = network[0].weight.detach().clone()
    (line,) = apply(FromRun(run=str(make_run(tmp_path / "run", vgg11, trained))), network)
    assert line.endswith("copied 1 (1 of 2 layers); new 0")
    assert torch.equal(network[0].weight, before)


def test_every_layer_of_the_same_network_is_copied(vgg11: Path) -> None:
    network = build(Vgg(depth=11, width=0.125), 1)
    lines = apply(FromRun(run=str(vgg11)), network)
    assert lines == [f"weights   from {vgg11}: copied every layer (9)"]
    assert copied_tensors(network, best_weights(vgg11)) == set(network.state_dict())


def test_without_matching_layers_both_networks_are_named(vgg11: Path) -> None:
    network = Linear().build(1, 10, SIZE, None)
    with pytest.raises(ConfigError, match=r"no layer can be copied: no layer of LinearClassifier .* of vgg "):
        apply(FromRun(run=str(vgg11)), network)


def test_a_pattern_that_matches_no_layer_is_reported_with_the_nearest_name(vgg11: Path) -> None:
    network = build(Vgg(depth=11, width=0.125), 1)
    with pytest.raises(ConfigError) as raised:
        apply(FromRun(run=str(vgg11), layers=["conv*", "outputs", "fc*"]), network)
    assert [line.partition("; ")[0] for line in raised.value.problems] == [
        "initialization.layers: outputs names no layer",
        "initialization.layers: fc* names no layer",
    ]
    assert raised.value.problems[0].endswith("did you mean output?")


def test_an_unusable_source_is_reported_before_any_folder_is_created(
    vgg11: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(vgg11 / "config.yaml", unfinished)
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, exit_code, message in (
        ("unfinishd", 3, "initialization.run=unfinishd: there is no such folder; did you mean unfinished?"),
        ("empty", 3, "initialization.run=empty: is an empty folder; name the folder that a run printed"),
        ("unfinished", 3, "initialization.run=unfinished: has no best weights yet (checkpoints/best.pt)"),
        ("''", 2, "initialization.run: is not set; write initialization.run=FOLDER"),
    ):
        assert main(["initialization=from_run", f"initialization.run={folder}"]) == exit_code
        assert message in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


def test_a_damaged_checkpoint_is_a_data_error(vgg11: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(vgg11, folder)
    path = folder / "checkpoints" / "best.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"best\.pt: is damaged"):
        apply(FromRun(run=str(folder)), build(Vgg(depth=11, width=0.125), 1))


def test_a_run_resumes_and_loads_without_its_source_run(vgg11: Path, tmp_path: Path) -> None:
    source, whole, stopped = tmp_path / "source", tmp_path / "whole", tmp_path / "stopped"
    shutil.copytree(vgg11, source)
    overrides = ["model=vgg13", *QUICK, "initialization=from_run", f"initialization.run={source}"]
    assert main([*overrides, f"hydra.run.dir={whole}"]) == 0
    assert main([*overrides, f"hydra.run.dir={stopped}", "trainer.max_minutes=0.00001"]) == 0
    shutil.rmtree(source)
    assert main([f"run={stopped}", "trainer.max_minutes=null"]) == 0
    expected, weights = best_weights(whole), best_weights(stopped)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    loaded = cnntrain.load(stopped)
    assert copied_tensors(loaded.network, weights) == set(weights)
    assert main([f"run={stopped}", "job=evaluate"]) == 0
