"""Winograd's convolutions: equal to torch's, in every shape, in a layer and in a run."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cnntrain.cli import main
from cnntrain.convolution import kernels, layers
from cnntrain.convolution.kernels import NoKernels, compiler
from cnntrain.convolution.layers import WinogradConv2d, use_winograd
from cnntrain.convolution.winograd import convolve
from cnntrain.training import device

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler")


def shapes(count: int) -> list[tuple[int, int, int, int, int, int]]:
    """Return (images, channels, outputs, height, width, padding), drawn at random."""
    rng = random.Random(0)
    drawn = []
    while len(drawn) < count:
        padding = rng.randrange(3)
        height, width = rng.randint(1, 13), rng.randint(1, 13)
        if min(height, width) + 2 * padding >= 3:
            drawn.append(
                (rng.randint(1, 9), 8 * rng.randint(1, 6), 8 * rng.randint(1, 6), height, width, padding)
            )
    return drawn


@pytest.mark.parametrize("shape", shapes(40), ids=str)
@pytest.mark.parametrize("in_cache", [1, 5_000_000])
def test_output_and_gradients_are_those_of_torch_in_double_precision(
    shape: tuple[int, int, int, int, int, int], in_cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """in_cache=1: each image is a part of its own."""
    monkeypatch.setattr("cnntrain.convolution.winograd.IN_CACHE", in_cache)
    images, channels, outputs, height, width, padding = shape
    torch.manual_seed(0)
    exact = [
        torch.randn(images, channels, height, width, dtype=torch.float64, requires_grad=True),
        torch.randn(outputs, channels, 3, 3, dtype=torch.float64, requires_grad=True),
        torch.randn(outputs, dtype=torch.float64, requires_grad=True),
    ]
    expected = F.conv2d(*exact, padding=padding)
    of_output = torch.randn_like(expected)
    ours = [one.detach().float().contiguous(memory_format=_format(one)).requires_grad_() for one in exact]
    result = convolve(*ours, padding)
    assert result.shape == expected.shape
    gradients = torch.autograd.grad(result, ours, of_output.float())
    exact_gradients = torch.autograd.grad(expected, exact, of_output)
    for one, other in zip((result, *gradients), (expected, *exact_gradients), strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()


def _format(tensor: torch.Tensor) -> torch.memory_format:
    return torch.channels_last if tensor.dim() == 4 else torch.contiguous_format


def test_only_the_gradients_that_are_needed_are_computed() -> None:
    images, filters = (
        torch.randn(2, 8, 6, 6).contiguous(memory_format=torch.channels_last),
        torch.randn(8, 8, 3, 3),
    )
    result = convolve(images, filters.requires_grad_(), None, 1)
    result.sum().backward()
    assert images.grad is None
    filters.requires_grad_(False)
    result = convolve(images.requires_grad_(), filters, None, 1)
    result.sum().backward()
    expected = F.conv_transpose2d(torch.ones_like(result), filters, padding=1)
    assert torch.allclose(images.grad, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "taken"),
    [
        (nn.Conv2d(32, 32, 3, padding=1), True),
        (nn.Conv2d(24, 40, 3, padding="same", bias=False), True),
        (nn.Conv2d(32, 32, 3, padding="valid"), True),
        (nn.Conv2d(3, 32, 3, padding=1), False),
        (nn.Conv2d(32, 36, 3, padding=1), False),
        (nn.Conv2d(16, 16, 3, padding=1), False),
        (nn.Conv2d(32, 32, 3, stride=2, padding=1), False),
        (nn.Conv2d(32, 32, 3, dilation=2, padding=2), False),
        (nn.Conv2d(32, 32, 3, groups=2, padding=1), False),
        (nn.Conv2d(32, 32, 3, padding=(1, 0)), False),
        (nn.Conv2d(32, 32, 3, padding=1, padding_mode="reflect"), False),
        (nn.Conv2d(32, 32, (3, 1), padding=1), False),
        (nn.Conv2d(32, 32, 5, padding=2), False),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(32, 32, 3, padding=1)), False),
    ],
    ids=repr,
)
def test_layers_that_fit_are_replaced_and_compute_the_same(layer: nn.Conv2d, taken: bool) -> None:
    network = nn.Sequential(layer)
    before, keys = copy.deepcopy(network), list(network.state_dict())
    use_winograd(network)
    assert isinstance(layer, WinogradConv2d) is taken
    assert list(network.state_dict()) == keys
    images = torch.randn(16, layer.in_channels, 9, 10)
    result, expected = network(images), before(images)
    assert (result - expected).norm() <= 1e-5 * expected.norm()
    assert torch.equal(result, expected) is not taken


@pytest.mark.parametrize("what", ["double", "autocast", "meta", "few"])
def test_a_layer_leaves_to_torch_what_the_kernels_do_not_compute(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, images = nn.Conv2d(32, 32, 3, padding=1), torch.randn(1 if what == "few" else 8, 32, 12, 12)
    if what in ("double", "meta"):
        to = {"double": torch.float64, "meta": "meta"}[what]
        layer, images = layer.to(to), images.to(to)
    expected = layer(images)
    use_winograd(layer)
    assert isinstance(layer, WinogradConv2d)
    monkeypatch.setattr(layers, "convolve", None)
    if what == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(images).dtype == torch.bfloat16
    else:
        assert layer(images).shape == expected.shape


QUICK = [
    *("model=resnet20", "data.limit=300", "data.batch_size=80", "trainer.epochs=2"),
    *("trainer.report=false", "trainer.pictures=false"),
]


def losses(run: str) -> list[float]:
    rows = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
    return [row["train/loss"] for row in rows if "lr" in row]


def test_a_run_computes_the_same_to_rounding_and_twice_the_same_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    few = [*QUICK, "trainer.record_every_steps=1"]
    assert main(["hydra.run.dir=plain", "trainer.precision=fp32", *few]) == 0
    assert main(["hydra.run.dir=one", "trainer.winograd=true", *few]) == 0
    assert "fp32 (auto: trainer.winograd=true), convolutions by Winograd" in capsys.readouterr().out
    assert main(["hydra.run.dir=two", "trainer.winograd=true", *few]) == 0
    assert losses("one") == losses("two")
    assert losses("one") != losses("plain")
    assert losses("one")[:3] == pytest.approx(losses("plain")[:3], rel=1e-4)
    assert main(["run=one", "job=evaluate"]) == 0
    evaluation = json.loads(Path("one/evaluate-digits-test.json").read_text())
    assert evaluation["loss"] == json.loads(Path("one/summary.json").read_text())["test/loss"]


def test_kernels_are_compiled_once_and_again_where_the_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels.kernels.__wrapped__().input_to_points
    (library,) = (tmp_path / "cnntrain" / "kernels").iterdir()
    made = library.stat().st_mtime_ns
    assert kernels.kernels.__wrapped__().input_to_points
    assert library.stat().st_mtime_ns == made
    library.rename(tmp_path / "loaded.so")  # which stays mapped
    library.write_bytes(b"damaged")
    assert kernels.kernels.__wrapped__().input_to_points
    assert [one.name for one in library.parent.iterdir()] == [library.name]


def test_auto_is_decided_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run keeps its convolutions where there is a compiler no longer, and where there is one now."""

    def none() -> None:
        raise NoKernels("there is no C compiler (cc, gcc or clang)")

    monkeypatch.chdir(tmp_path)
    auto = ["trainer.winograd=auto", "trainer.precision=fp32", "trainer.max_minutes=1e-9", *QUICK]
    assert main(["hydra.run.dir=with", *auto]) == 0
    assert main(["hydra.run.dir=bf16", *auto, "trainer.precision=bf16"]) == 0
    assert capsys.readouterr().out.count("convolutions by Winograd") == 1
    with monkeypatch.context() as without:
        without.setattr(device, "kernels", none)
        assert main(["hydra.run.dir=without", *auto]) == 0
        assert main(["run=with", "trainer.max_minutes=null"]) == 2
        assert "this run has computed with its kernels, and there is no C compiler" in capsys.readouterr().err
    assert main(["run=without", "trainer.max_minutes=null"]) == 0
    assert "Winograd" not in capsys.readouterr().out
    assert main(["run=with", "trainer.max_minutes=null"]) == 0
    assert "convolutions by Winograd" in capsys.readouterr().out


def test_without_kernels_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> None:
        raise NoKernels("there is no C compiler (cc, gcc or clang)")

    monkeypatch.setattr(device, "kernels", none)
    assert main([f"hydra.run.dir={tmp_path / 'run'}", "trainer.winograd=true", *QUICK]) == 2
    assert capsys.readouterr().err == (
        "cnntrain: trainer.winograd=true: there is no C compiler (cc, gcc or clang); write false\n"
    )
    assert main([f"hydra.run.dir={tmp_path / 'run'}", "trainer.winograd=auto", *QUICK]) == 0
    with pytest.raises(NoKernels, match="false fails"):
        kernels._compile("false", tmp_path / "winograd.so")
    assert not (tmp_path / "winograd.so").exists()
