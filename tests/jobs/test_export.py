"""job=export: files that other runtimes read and that predict what the run predicts."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open

import cnntrain
from cnntrain.cli import main
from cnntrain.data.settings.built_in import Digits
from cnntrain.errors import DataError
from cnntrain.export import comparison
from cnntrain.export.quantization import calibration_images

# One convolution, as each operation more takes the exporters longer.
SMALL = ("model.channels=[8]", "model.convs_per_block=1", "trainer.epochs=4", "trainer.pictures=false")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "run"
    assert main([f"hydra.run.dir={folder}", *SMALL]) == 0
    return folder


@pytest.fixture(scope="module")
def exports(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of one run, made once for all tests: the first export imports torch's exporters."""
    folder = tmp_path_factory.mktemp("elsewhere")
    elsewhere = {kind: folder / f"{kind}.{kind}" for kind in ("onnx", "pt2", "safetensors")}
    settings = {
        "onnx": [f"export.file={elsewhere['onnx']}"],
        "pt2": ["export.format=torch_export", f"export.file={elsewhere['pt2']}"],
        "safetensors": ["export.format=safetensors", f"export.file={elsewhere['safetensors']}"],
        "int8": ["export.quantize=int8", "export.calibration_images=100"],
        "scores": ["export.preprocessing=false"],
        "fp16": ["export.format=safetensors", "export.quantize=fp16"],
    }
    for given in settings.values():
        assert main([f"run={trained}", "job=export", *given]) == 0
    names = {"int8": "model-int8.onnx", "scores": "model-scores.onnx", "fp16": "model-fp16.safetensors"}
    return {**elsewhere, **{kind: trained / name for kind, name in names.items()}}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return Digits().load(0).val.images.numpy()


def test_onnxruntime_computes_the_runs_probabilities_from_uint8_images(
    exports: dict[str, Path], trained: Path, images: np.ndarray
) -> None:
    session = onnxruntime.InferenceSession(exports["onnx"])
    expected = cnntrain.load(trained).predict(images).numpy()
    for count in (1, 7, len(images)):
        (found,) = session.run(["probabilities"], {"images": images[:count]})
        np.testing.assert_allclose(found, expected[:count], atol=1e-5)


def test_without_preprocessing_onnxruntime_computes_scores_from_normalized_images(
    exports: dict[str, Path], trained: Path, images: np.ndarray
) -> None:
    run = cnntrain.load(trained)
    # Written out: each channel minus the training split's mean, divided by its deviation.
    train = Digits().load(0).train.images.double()
    inputs = ((torch.from_numpy(images).double() - train.mean()) / train.std(correction=0)).permute(
        0, 3, 1, 2
    )
    session = onnxruntime.InferenceSession(exports["scores"])
    (scores,) = session.run(["scores"], {"inputs": inputs.float().numpy()})
    found = torch.from_numpy(scores).softmax(1).numpy()
    np.testing.assert_allclose(found, run.predict(images).numpy(), atol=1e-4)


def test_a_program_of_torch_export_runs_without_cnntrain(
    exports: dict[str, Path], trained: Path, images: np.ndarray
) -> None:
    program = torch.export.load(exports["pt2"]).module()
    found = program(torch.from_numpy(images))
    torch.testing.assert_close(found, cnntrain.load(trained).predict(images), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["onnx", "pt2", "safetensors"])
def test_exported_files_predict_in_python_what_the_run_does(
    kind: str, exports: dict[str, Path], trained: Path, images: np.ndarray
) -> None:
    run, found = cnntrain.load(trained), cnntrain.load(exports[kind])
    assert (found.names, found.image_shape, found.target) == (run.names, run.image_shape, run.target)
    torch.testing.assert_close(found.predict(images), run.predict(images), atol=1e-5, rtol=0)
    assert found.classify(images[:20]) == run.classify(images[:20])
    assert found.predict(images[:0]).shape == (0, 10)
    with pytest.raises(ValueError, match="must be uint8"):
        found.predict(images.astype(np.float32))


def test_the_metadata_of_each_format_state_names_and_results_and_no_paths(
    exports: dict[str, Path], trained: Path
) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    with safe_open(exports["safetensors"], "pt") as file:
        of_weights = file.metadata()
    of_onnx = {entry.key: entry.value for entry in onnx.load(exports["onnx"]).metadata_props}
    extra = {"cnntrain.json": ""}
    torch.export.load(exports["pt2"], extra_files=extra)
    for found in (of_weights, of_onnx, json.loads(extra["cnntrain.json"])):
        assert json.loads(found["names"]) == [str(digit) for digit in range(10)]
        assert json.loads(found["test"])["accuracy"] == summary["test/accuracy"]
        assert found["command"] == shlex.join(["cnntrain", *SMALL])
    sources = str(Path(cnntrain.__file__).parent).encode()
    for file in exports.values():
        assert sources not in file.read_bytes()
        assert str(trained).encode() not in file.read_bytes()


def test_int8_stores_all_weights_as_int8(exports: dict[str, Path]) -> None:
    model = onnx.load(exports["int8"])
    large = [part for part in model.graph.initializer if np.prod(part.dims) > 100]
    assert {onnx.TensorProto.DataType.Name(part.data_type) for part in large} == {"INT8"}


def test_int8_is_calibrated_on_training_images_of_all_classes_alone() -> None:
    splits = Digits().load(0)
    found = calibration_images(splits.train, 50, 0)
    assert found.labels.bincount().tolist() == [5] * 10
    train = {image.tobytes() for image in splits.train.images.numpy()}
    assert {image.tobytes() for chunk in found.chunks(50) for image in chunk.numpy()} <= train


def test_the_comparison_is_that_of_the_files_and_is_stored(
    exports: dict[str, Path], trained: Path, images: np.ndarray
) -> None:
    stored = json.loads(exports["int8"].with_name("model-int8.onnx.json").read_text())
    (found,) = onnxruntime.InferenceSession(exports["int8"]).run(None, {"images": images})
    expected = cnntrain.load(trained).predict(images).numpy()
    assert stored["difference"] == pytest.approx(np.abs(found - expected).max(), abs=1e-6)
    assert stored["equal"] == pytest.approx((found.argmax(1) == expected.argmax(1)).mean())
    labels = Digits().load(0).val.labels.numpy()
    assert stored["metric_of_file"] == pytest.approx((found.argmax(1) == labels).mean())


def test_a_file_that_differs_too_much_is_not_kept(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(comparison.LIMITS, "fp16", comparison.Limit(1e-9, 0.0))
    file = tmp_path / "x.safetensors"
    given = ["export.format=safetensors", "export.quantize=fp16", f"export.file={file}"]
    assert main([f"run={trained}", "job=export", *given]) == 5
    assert "and is not kept; write export.quantize=null" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_another_network_is_not_overwritten(
    exports: dict[str, Path], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copy(exports["safetensors"], tmp_path / "own.safetensors")
    other = tmp_path / "other.safetensors"
    other.write_bytes(own.read_bytes().replace(b'"weights":"', b'"weights":"0'))
    export = [f"run={trained}", "job=export", "export.format=safetensors"]
    assert main([*export, f"export.file={own}"]) == 0
    content = other.read_bytes()
    assert main([*export, f"export.file={other}"]) == 3
    assert "is no export of this network" in capsys.readouterr().err
    assert other.read_bytes() == content
    own_name = trained / "model.safetensors"
    own_name.write_text("a file of the user's")
    assert main(export) == 3
    assert "is no export" in capsys.readouterr().err
    own_name.unlink()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["export.quantize=int8", "export.format=safetensors"], "write export.format=onnx"),
        (["export.format=safetensors", "export.preprocessing=false"], "has no effect on safetensors"),
        (["export.calibration_images=10"], "applies to export.quantize=int8 only"),
        (["export.file=model.pt2"], "ends in .onnx"),
    ],
)
def test_settings_that_a_format_cannot_follow_are_refused(
    settings: list[str], message: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"run={trained}", "job=export", *settings]) == 2
    assert message in capsys.readouterr().err


def test_files_of_others_and_damaged_ones_are_refused_in_words(
    exports: dict[str, Path], tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.onnx"
    model = onnx.load(exports["onnx"])
    del model.metadata_props[:]
    onnx.save(model, foreign)
    with pytest.raises(DataError, match="was not written by cnntrain"):
        cnntrain.load(foreign)
    for kind in ("onnx", "pt2", "safetensors"):
        content = exports[kind].read_bytes()
        damaged = tmp_path / f"damaged{exports[kind].suffix}"
        for cut in (0, 5, len(content) // 2):
            damaged.write_bytes(content[:cut])
            with pytest.raises(DataError, match="cannot be read as"):
                cnntrain.load(damaged)
    with pytest.raises(DataError, match=r"written with export\.preprocessing=false; export with true"):
        cnntrain.load(exports["scores"])


@pytest.mark.parametrize("kind", ["onnx", "pt2", "safetensors"])
def test_the_code_on_the_model_card_runs_beside_the_file(
    kind: str,
    exports: dict[str, Path],
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = exports[kind].parent
    card = (folder / f"{kind}_MODEL_CARD.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(blocks) == (1 if kind == "safetensors" else 2)
    monkeypatch.chdir(folder)
    black = cnntrain.load(trained).classify(np.zeros((2, 8, 8, 1), np.uint8))
    for block in blocks:
        capsys.readouterr()
        exec(block, {})
        assert capsys.readouterr().out.strip() == str(black)
