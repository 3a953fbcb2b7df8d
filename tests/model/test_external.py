"""External networks: torchvision's with their weights, a user's own, and the errors of both."""

from __future__ import annotations

import importlib.util
import os
import sys
import urllib.error
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.models._api import WeightsEnum

from cnntrain.errors import ConfigError, DataError
from cnntrain.model.settings.base import Model
from cnntrain.model.settings.external import Custom, TorchvisionModel

SIZE = (64, 64)


def message(settings: Model) -> str:
    """Return the only problem; building must raise it with the same text."""
    (line,) = settings.problems()
    with pytest.raises(ConfigError) as raised:
        settings.build(3, 10, SIZE, None)
    assert raised.value.problems == [line]
    return line


def weights_file(folder: Path, network: nn.Module) -> str:
    path = folder / "weights.pt"
    torch.save(network.state_dict(), path)
    return str(path)


def test_an_unknown_network_is_reported_with_the_nearest_name() -> None:
    line = message(TorchvisionModel(arch="resnet81"))
    assert line.startswith("model.arch=resnet81: torchvision has no such network; did you mean resnet")


def test_detectors_are_refused() -> None:
    assert "no such network" in message(TorchvisionModel(arch="fasterrcnn_resnet50_fpn"))


def test_unknown_weights_are_reported_with_the_nearest_name() -> None:
    line = message(TorchvisionModel(arch="resnet50", weights="IMAGENET1K_V3"))
    assert line.startswith(
        "model.weights=IMAGENET1K_V3: no file, and no weights of resnet50; did you mean IMAG"
    )


def test_untrained_networks_fit_channels_and_classes() -> None:
    network = TorchvisionModel(arch="squeezenet1_1").build(2, 7, SIZE, None)
    assert network(torch.randn(1, 2, *SIZE)).shape == (1, 7)


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_networks_with_auxiliary_heads_return_only_scores_in_training(arch: str) -> None:
    settings = TorchvisionModel(arch=arch)
    size = (settings.min_size((8, 8)),) * 2
    with torch.device("meta"):
        network = settings.build(3, 7, size, None).train()
        assert network(torch.empty(2, 3, *size)).shape == (2, 7)


def test_weights_from_a_file_are_loaded_and_a_head_of_another_size_is_new(tmp_path: Path) -> None:
    stored = models.resnet18(num_classes=4)
    path = weights_file(tmp_path, stored)
    same = TorchvisionModel(weights=path).build(3, 4, SIZE, None).eval()
    images = torch.randn(2, 3, *SIZE)
    torch.testing.assert_close(same(images), stored.eval()(images))
    other = TorchvisionModel(weights=path).build(3, 9, SIZE, None)
    assert other(images).shape == (2, 9)
    torch.testing.assert_close(other.get_parameter("layer4.1.conv2.weight"), stored.layer4[1].conv2.weight)


def test_a_file_for_grey_images_keeps_its_first_convolution(tmp_path: Path) -> None:
    stored = models.resnet18(num_classes=4)
    stored.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    network = TorchvisionModel(weights=weights_file(tmp_path, stored)).build(1, 4, SIZE, None)
    torch.testing.assert_close(network.get_parameter("conv1.weight"), stored.conv1.weight)


@pytest.mark.parametrize("channels", [1, 4])
def test_trained_filters_have_the_same_outputs_for_grey_images(channels: int, tmp_path: Path) -> None:
    stored = models.resnet18(num_classes=4).eval()
    path = weights_file(tmp_path, stored)
    network = TorchvisionModel(weights=path).build(channels, 4, SIZE, None).eval()
    grey = torch.randn(2, 1, *SIZE)
    expected = stored(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(network(grey.expand(-1, channels, -1, -1)), expected, rtol=1e-4, atol=1e-4)


def test_published_weights_are_loaded_except_for_a_head_of_another_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = models.resnet18().state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: stored)
    for name in ("default", "IMAGENET1K_V1"):
        network = TorchvisionModel(weights=name).build(3, 10, SIZE, None)
        torch.testing.assert_close(network.get_parameter("conv1.weight"), stored["conv1.weight"])
        assert network.get_parameter("fc.weight").shape == (10, 512)
    with_head = TorchvisionModel(weights="default").build(3, 1000, SIZE, None)
    torch.testing.assert_close(with_head.get_parameter("fc.weight"), stored["fc.weight"])


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_state_dict_beside_other_things_is_found(key: str, tmp_path: Path) -> None:
    stored = models.squeezenet1_1(num_classes=4)
    torch.save({key: stored.state_dict(), "epoch": 3, "optimizer": {}}, tmp_path / "weights.pth")
    settings = TorchvisionModel(arch="squeezenet1_1", weights=str(tmp_path / "weights.pth"))
    network = settings.build(3, 4, SIZE, None)
    torch.testing.assert_close(network.get_parameter("features.0.weight"), stored.features[0].weight)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", ["whole network", "torchscript"])
def test_files_that_hold_code_are_refused_without_advice_to_run_it(kind: str, tmp_path: Path) -> None:
    path, network = tmp_path / "weights.pt", nn.Linear(2, 2)
    if kind == "torchscript":
        torch.jit.save(torch.jit.trace(network, torch.ones(1, 2)), path)
    else:
        torch.save(network, path)
    with pytest.raises(DataError) as raised:
        TorchvisionModel(weights=str(path)).build(3, 4, SIZE, None)
    assert str(raised.value).endswith("objects other than tensors); name a state dict saved by torch.save")


def test_without_safetensors_the_message_has_the_command_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == "safetensors" else find(name)
    )
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match=r"needs a package; pip install 'cnntrain\[safetensors\]'$"):
        TorchvisionModel(weights=str(tmp_path / "weights.safetensors")).build(3, 4, SIZE, None)


def test_weights_of_safetensors_give_the_outputs_of_the_network_that_was_saved(tmp_path: Path) -> None:
    stored = models.squeezenet1_1(num_classes=4).eval()
    save_file(stored.state_dict(), tmp_path / "weights.safetensors")
    settings = TorchvisionModel(arch="squeezenet1_1", weights=str(tmp_path / "weights.safetensors"))
    images = torch.randn(2, 3, *SIZE)
    torch.testing.assert_close(
        settings.build(3, 4, SIZE, None).eval()(images), stored(images), rtol=0, atol=0
    )


def test_a_failed_download_is_a_data_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with pytest.raises(
        DataError,
        match=r"^model.weights=ResNet18_Weights.IMAGENET1K_V1: cannot be downloaded .*: no route to host; ",
    ):
        TorchvisionModel(weights="default").build(3, 10, SIZE, None)


def test_a_file_of_another_network_is_refused_with_the_differences(tmp_path: Path) -> None:
    with torch.device("meta"):
        network = models.resnet34()
    path = weights_file(tmp_path, network)
    with pytest.raises(
        ConfigError, match=r"does not match resnet18: unexpected layer1\.2\.bn1\.bias and \d+ more"
    ):
        TorchvisionModel(weights=path).build(3, 10, SIZE, None)


@pytest.mark.parametrize("content", [b"no weights at all", b""])
def test_a_file_without_weights_is_a_data_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"weights\.pt: cannot be read as weights"):
        TorchvisionModel(weights=str(path)).build(3, 10, SIZE, None)
    torch.save([1, 2], path)
    with pytest.raises(DataError, match="holds no state dict"):
        TorchvisionModel(weights=str(path)).build(3, 10, SIZE, None)


def test_dropout_sets_torchvisions_layers_or_is_added_before_the_last() -> None:
    with torch.device("meta"):
        alexnet = TorchvisionModel(arch="alexnet").build(3, 10, SIZE, 0.2)
        resnet = TorchvisionModel(arch="resnet18").build(3, 10, SIZE, 0.2)
        plain = TorchvisionModel(arch="resnet18").build(3, 10, SIZE, 0.0)
    assert [module.p for module in alexnet.modules() if isinstance(module, nn.Dropout)] == [0.2, 0.2]
    head = resnet.get_submodule("fc")
    assert [type(module) for module in head.children()] == [nn.Dropout, nn.Linear]
    assert isinstance(plain.get_submodule("fc"), nn.Linear)


def test_rebuilding_neither_reads_nor_downloads_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    published = {
        "resnet18": models.resnet18().state_dict(),
        "googlenet": models.googlenet(init_weights=False).state_dict(),
        "inception_v3": models.inception_v3(init_weights=False).state_dict(),
    }
    for arch, state in published.items():
        monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, state_dict=state, **__: state_dict)
        settings = TorchvisionModel(arch=arch, weights="default")
        size = (settings.min_size((8, 8)),) * 2
        first = settings.build(3, 4, size, None)
        monkeypatch.delattr(WeightsEnum, "get_state_dict")
        rebuilt = settings.rebuild(3, 4, size, None)
        rebuilt.load_state_dict(first.state_dict())
        images = torch.rand(2, 3, *size)
        # Compare outputs: GoogLeNet's published weights need its input transform.
        torch.testing.assert_close(rebuilt.eval()(images), first.eval()(images))
        monkeypatch.undo()
    missing = TorchvisionModel(weights="gone.pt")
    assert missing.problems()
    assert missing.rebuild(3, 4, SIZE, None)(torch.zeros(2, 3, *SIZE)).shape == (2, 4)


FACTORY = """
import torch
from torch import nn

def my_net(in_channels, classes, width=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64 * 64, width), nn.Linear(width, classes))

def without_linear(in_channels, classes):
    return nn.Sequential(nn.Conv2d(in_channels, classes, 64), nn.Flatten())

def no_module(in_channels, classes):
    return 3

def lenient(in_channels, classes, width, **others):
    return my_net(in_channels, classes, width)

def fixed_classes(in_channels):
    return nn.Identity()

class Output(nn.Module):
    def __init__(self, kind, classes):
        super().__init__()
        self.kind = kind
        outputs = classes + 1 if kind == "more" else classes
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(outputs))
        if kind == "frozen":
            self.layers[1] = nn.Linear(3 * 64 * 64, outputs).requires_grad_(False)

    def forward(self, images):
        scores = self.layers(images)
        return {"dict": {"scores": scores}, "detached": scores.detach(), "pair": (scores, scores)}.get(
            self.kind, scores
        )

def output(in_channels, classes, kind):
    return Output(kind, classes)

async def later(in_channels, classes):
    return my_net(in_channels, classes)

def scripted(in_channels, classes):
    return torch.jit.script(my_net(in_channels, classes))

CONSTANT = 3
"""


@pytest.fixture
def module_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Write a module with factories into the working folder; return its unique name."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    name = f"nets_{zlib.crc32(request.node.nodeid.encode())}"
    (tmp_path / f"{name}.py").write_text(FACTORY)
    return name


def test_a_function_in_the_working_folder_is_called_with_its_arguments(module_name: str) -> None:
    settings = Custom(factory=f"{module_name}:my_net", arguments={"width": 6})
    assert settings.problems() == []
    network = settings.build(3, 10, SIZE, None)
    assert next(network.parameters()).shape == (6, 3 * 64 * 64)
    assert network(torch.randn(2, 3, *SIZE)).shape == (2, 10)


@pytest.mark.parametrize(
    ("factory", "arguments", "expected"),
    [
        ("MODULE:my_nett", {}, "has no my_nett; did you mean my_net?"),
        ("MODULE.my_net", {}, "must be package.module:function"),
        ("MODULE:CONSTANT", {}, "CONSTANT is an int, not a function"),
        ("MODULE:later", {}, "is an async function"),
        ("MODULE:my_net", {"widht": 3}, "my_net has no argument widht; did you mean width?"),
        ("MODULE:lenient", {"widht": 3}, "needs the argument width; write +model.arguments.width=VALUE"),
        ("MODULE:my_net", {"classes": 3}, "classes is passed by the program; take it out of model.arguments"),
        ("MODULE:fixed_classes", {}, "got an unexpected keyword argument 'classes'"),
        ("no_such_module_here:net", {}, "no module no_such_module_here, neither in "),
        ("", {}, "model.factory: is not set"),
    ],
)
def test_an_invalid_factory_is_refused_with_the_reason(
    factory: str, arguments: dict[str, Any], expected: str, module_name: str
) -> None:
    assert expected in message(Custom(factory=factory.replace("MODULE", module_name), arguments=arguments))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import no_such_package.deep", "imports no_such_package, which is not installed"),
        ("x = 1\nraise ZeroDivisionError('in my file')", ".py, line 2: ZeroDivisionError: in my file"),
        ("def net(:", "failed: SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused_with_the_reason(
    source: str, expected: str, module_name: str
) -> None:
    Path(f"{module_name}.py").write_text(source)
    assert expected in message(Custom(factory=f"{module_name}:net"))


def test_a_factory_that_returns_no_module_is_refused(module_name: str) -> None:
    with pytest.raises(ConfigError, match=r"no_module: returned an int; it must return a torch\.nn\.Module"):
        Custom(factory=f"{module_name}:no_module").build(3, 10, SIZE, None)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("more", r"returns scores of \(2, 11\) in evaluation for 2 images, not \(2, 10\)"),
        ("dict", "returns a dict in evaluation; it must return one tensor"),
        ("pair", "returns a tuple in evaluation; it must return one tensor"),
        ("detached", "have no gradient; leave out detach"),
        ("frozen", "no weights to train"),
    ],
)
def test_a_network_whose_output_cannot_be_trained_on_is_refused(
    kind: str, expected: str, module_name: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        Custom(factory=f"{module_name}:output", arguments={"kind": kind}).build(3, 10, SIZE, None)


# What a user's own code can do wrong: in the factory, in the network, in its forward pass.
NETWORK = """
import os, sys, torch
from torch import nn

class Odd(BaseException):  # which no handler of Exception sees, and which has no text

    def __str__(self):
        raise ValueError("no text")

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Linear(48, classes)
        self.register_buffer("seen", torch.zeros(1))
        {in_init}

    def forward(self, images):
        {in_forward}
        if self.training: {in_training}
        return self.layer(images.flatten(1))

def make(in_channels, classes):
    {in_factory}
    return Net(classes)
"""


@pytest.mark.parametrize(
    ("place", "code", "expected"),
    [
        (
            "in_factory",
            "torch.set_default_dtype(torch.float64)",
            "calling make changes torch's default dtype",
        ),
        ("in_factory", "torch.set_default_device('meta')", "calling make changes torch's default device"),
        ("in_factory", "torch.set_grad_enabled(False)", "changes whether torch computes gradients"),
        ("in_factory", "os.chdir('/')", "calling make changes the working directory"),
        ("in_factory", "sys.exit(3)", "calling make ended the program by sys.exit(3)"),
        ("in_factory", "raise KeyError('gone')", ".py, line 23: KeyError: 'gone'"),
        ("in_factory", "raise Odd()", ".py, line 23: Odd: Odd"),
        ("in_factory", "raise GeneratorExit", ".py, line 23: GeneratorExit: GeneratorExit"),
        ("in_forward", "raise Odd()", ".py, line 18: Odd: Odd"),
        (
            "in_init",
            "self.train = lambda mode=True: self",
            "eval() leaves it in training mode",
        ),
        ("in_forward", "os.chdir('/')", "images of 4x4x3, changes the working directory"),
        ("in_forward", "sys.exit(3)", "its forward pass, of images of 4x4x3, ended the program"),
        ("in_forward", "raise RuntimeError('my bug')", ".py, line 18: RuntimeError: my bug"),
        ("in_forward", "images = images[:, :, 1:]", ".py, line 20: RuntimeError: mat1 and mat2 shapes"),
        ("in_forward", "self.seen = torch.cat([self.seen, self.seen])", "changes the shape of seen"),
        ("in_training", "self.seen = torch.cat([self.seen, self.seen])", "a training step changes the shape"),
        ("in_training", "self.late = nn.Parameter(torch.ones(1))", "a training step adds or removes late"),
        (
            "in_training",
            "return self.layer(images.flatten(1)), images",
            "returns several tensors in training",
        ),
        ("in_training", "return {}", "returns a dict in training"),
        ("in_training", "return self.layer(images.flatten(1))[:, 1:]", "scores of (2, 9) in training"),
        ("in_training", "return self.layer(images.flatten(1))[1:]", "scores of (1, 10) in training"),
        ("in_training", "raise ValueError('mine')", ".py, line 19: ValueError: mine"),
        ("in_training", "y = self.layer(images.flatten(1)).exp(); y += 1; return y", "inplace operation"),
        ("in_forward", "self.kept = self.layer(images.flatten(1))", "keep tensor.detach()"),
        ("in_init", "self.table = nn.Embedding(3, 3, sparse=True)", None),
        ("in_init", "Net.get_extra_state = lambda self: {'a': 1}", "its state has _extra_state, which is no"),
        (
            "in_init",
            "self.w = nn.Parameter(torch.zeros(2, dtype=torch.complex64))",
            "w are of type complex64",
        ),
        ("in_init", "self.half = nn.Linear(2, 2).half()", "half.weight are of type float16"),
    ],
)
def test_what_a_users_code_does_wrong_is_refused_with_its_line_and_undone(
    place: str, code: str, expected: str | None, module_name: str
) -> None:
    parts = dict.fromkeys(("in_init", "in_forward", "in_training", "in_factory"), "pass") | {place: code}
    Path(f"{module_name}.py").write_text(NETWORK.format(**parts))
    before = (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(), os.getcwd())
    if expected is None:
        assert Custom(factory=f"{module_name}:make").build(3, 10, (4, 4), None).training
        return
    with pytest.raises(ConfigError) as caught:
        Custom(factory=f"{module_name}:make").build(3, 10, (4, 4), None)
    assert expected in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert before == (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        os.getcwd(),
    )


def test_a_network_that_gets_too_small_images_is_left_in_training_mode(module_name: str) -> None:
    Path(f"{module_name}.py").write_text(
        "from torch import nn\n"
        "def make(in_channels, classes):\n"
        "    sizes = ((in_channels, 4), (4, 4), (4, classes))\n"
        "    return nn.Sequential(*(nn.Conv2d(before, after, 3) for before, after in sizes))\n"
    )
    # The layer table reports the size that is needed.
    assert Custom(factory=f"{module_name}:make").build(3, 10, (4, 4), None).training


def test_a_network_whose_train_returns_nothing_is_accepted(module_name: str) -> None:
    methods = "pass\n\n    def train(self, mode=True):\n        super().train(mode)"
    text = NETWORK.format(in_init=methods, in_forward="pass", in_training="pass", in_factory="pass")
    Path(f"{module_name}.py").write_text(text)
    assert Custom(factory=f"{module_name}:make").build(3, 10, (4, 4), None).training


def test_a_function_of_a_library_without_our_arguments_is_refused_with_what_to_write() -> None:
    settings = Custom(factory="torchvision.models:resnet18")
    assert settings.problems() == []  # it takes any keyword
    with pytest.raises(ConfigError, match="name a function of your own that takes in_channels and classes"):
        settings.build(3, 10, SIZE, None)


def test_lazy_layers_have_their_weights(module_name: str) -> None:
    network = Custom(factory=f"{module_name}:output", arguments={"kind": "lazy"}).build(3, 10, SIZE, None)
    assert sum(weight.numel() for weight in network.parameters()) == 10 * 3 * 64 * 64 + 10
    assert network.training


def test_dropout_in_a_users_network_needs_a_dropout_or_linear_layer(module_name: str) -> None:
    network = Custom(factory=f"{module_name}:my_net").build(3, 10, SIZE, 0.5)
    kinds = [type(module).__name__ for module in network.modules() if not list(module.children())]
    assert kinds == ["Flatten", "Linear", "Dropout", "Linear"]
    with pytest.raises(ConfigError, match="no dropout layer, nor a linear one"):
        Custom(factory=f"{module_name}:without_linear").build(3, 10, SIZE, 0.5)
