"""timm's networks: equal outputs, and the errors of names, files and downloads (N14)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from cnntrain.cli import main
from cnntrain.errors import ConfigError, DataError
from cnntrain.model.settings.external import TimmModel

SIZE = (64, 64)


def message(settings: TimmModel) -> str:
    """Return the only problem; building must raise it with the same text."""
    (line,) = settings.problems()
    with pytest.raises(ConfigError) as raised:
        settings.build(3, 10, SIZE, None)
    assert raised.value.problems == [line]
    return line


def weights_file(path: Path, network: nn.Module) -> str:
    if path.suffix == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    return str(path)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_outputs_equal_timm_with_the_same_weights(name: str, tmp_path: Path) -> None:
    stored = timm.create_model("test_resnet", num_classes=4).eval()
    settings = TimmModel(arch="test_resnet", weights=weights_file(tmp_path / name, stored))
    assert settings.problems() == []
    images = torch.randn(2, 3, *SIZE)
    network = settings.build(3, 4, SIZE, None).eval()
    torch.testing.assert_close(network(images), stored(images), rtol=0, atol=0)
    other = settings.build(3, 9, SIZE, None).eval()
    assert other(images).shape == (2, 9)
    features = [net.forward_features(images) for net in (other, stored)]  # type: ignore[operator]
    torch.testing.assert_close(*features, rtol=0, atol=0)


def test_filters_of_a_file_have_the_same_outputs_for_grey_images(tmp_path: Path) -> None:
    stored = timm.create_model("test_resnet", num_classes=4).eval()
    settings = TimmModel(arch="test_resnet", weights=weights_file(tmp_path / "weights.pt", stored))
    grey = torch.randn(2, 1, *SIZE)
    expected = stored(grey.expand(-1, 3, -1, -1))
    network = settings.build(1, 4, SIZE, None).eval()
    torch.testing.assert_close(network(grey), expected, rtol=1e-4, atol=1e-4)


def test_published_weights_are_loaded_except_for_a_head_of_another_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = timm.create_model("test_resnet").state_dict()
    requests: list[Any] = []

    def load(*location: Any, **_: Any) -> dict[str, torch.Tensor]:
        requests.append(location)
        return dict(stored)

    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", load)
    for weights in ("default", "r160_in1k"):
        network = TimmModel(arch="test_resnet", weights=weights).build(3, 10, SIZE, None)
        state = network.state_dict()
        assert state["fc.weight"].shape[0] == 10
        for name in stored.keys() - {"fc.weight", "fc.bias"}:
            torch.testing.assert_close(state[name], stored[name], rtol=0, atol=0)
    assert len(requests) == 2
    rebuilt = TimmModel(arch="test_resnet", weights="default").rebuild(3, 10, SIZE, None)
    assert rebuilt.state_dict().keys() == state.keys()
    assert len(requests) == 2


def test_a_failed_download_is_a_data_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", fail)
    with pytest.raises(
        DataError,
        match=r"^model\.weights=default: cannot be downloaded \(timm/\S+\): no route to host; .*FILE",
    ):
        TimmModel(arch="test_resnet", weights="default").build(3, 10, SIZE, None)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (TimmModel(arch="resnet81"), "model.arch=resnet81: timm has no such network; did you mean resnet"),
        (TimmModel(arch="resnet18.a1_in1k"), "write model.arch=resnet18 model.weights=a1_in1k"),
        (TimmModel(arch="resnet18", weights="a1_in1q"), "no weights of resnet18; did you mean a1_in1k?"),
    ],
    ids=lambda value: "" if isinstance(value, str) else f"{value.arch}-{value.weights}",
)
def test_unknown_names_are_reported_with_the_nearest(settings: TimmModel, expected: str) -> None:
    assert expected in message(settings)


@pytest.mark.parametrize("arch", ["qwen3_vit_88m_enc", "mobilenetv5_300m_enc"])
def test_encoders_are_no_classifiers(arch: str) -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match="is no classification network"):
        TimmModel(arch=arch).build(3, 10, (256, 256), None)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_file_without_weights_is_a_data_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"no weights at all")
    with pytest.raises(DataError, match="cannot be read as weights"):
        TimmModel(arch="test_resnet", weights=str(path)).build(3, 10, SIZE, None)


def test_a_file_of_another_network_is_refused_with_the_differences(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "weights.pt", timm.create_model("test_resnet", in_chans=4))
    with pytest.raises(ConfigError, match=r"does not match test_resnet: other shape: conv1\.0\.weight$"):
        TimmModel(arch="test_resnet", weights=path).build(3, 10, SIZE, None)
    with pytest.raises(ConfigError, match="does not match test_efficientnet: missing"):
        TimmModel(arch="test_efficientnet", weights=path).build(3, 10, SIZE, None)


def test_transformers_accept_only_the_size_that_timm_states() -> None:
    settings = TimmModel(arch="test_vit")
    assert settings.min_size((8, 8)) == timm.get_pretrained_cfg("test_vit").input_size[1] == 160
    assert settings.input_problems(3, 10, (160, 160)) == []
    (line,) = settings.input_problems(3, 10, (160, 200))
    assert line.startswith("model.arch=test_vit: takes images of 160x160 only, these have 160x200; ")


@pytest.mark.parametrize("arch", ["resnet18", "inception_v3", "inception_resnet_v2", "convnext_atto"])
def test_the_smallest_size_is_accepted(arch: str) -> None:
    settings = TimmModel(arch=arch)
    size = (settings.min_size((8, 8)),) * 2
    with torch.device("meta"):
        network = settings.build(2, 7, size, None)
        assert network(torch.empty(2, 2, *size)).shape == (2, 7)


def test_dropout_sets_timms_layers_or_is_added_before_the_head() -> None:
    with torch.device("meta"):
        resnet = TimmModel(arch="test_resnet").build(3, 10, SIZE, 0.2)
        convnext = TimmModel(arch="test_convnext").build(3, 10, SIZE, 0.2)
    assert [type(module) for module in resnet.get_submodule("fc").children()] == [nn.Dropout, nn.Linear]
    assert {module.p for module in convnext.modules() if isinstance(module, nn.Dropout)} == {0.2}


def test_without_timm_the_message_has_the_command_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "timm" else find(name))
    assert main(["model=timm"]) == 2
    line = "model=timm: is not installed; pip install 'cnntrain[timm]'"
    assert capsys.readouterr().err == f"cnntrain: {line}\n"
    assert not list(tmp_path.iterdir())
    assert message(TimmModel()) == line
