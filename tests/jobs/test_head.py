"""job=head: heads equal to scikit-learn's, in runs that are evaluated and loaded as any other."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

import cnntrain
from cnntrain.cli import main
from cnntrain.model.nearest_neighbours import NearestNeighbours
from cnntrain.runs.checkpoint import read
from cnntrain.training.closed_form_heads import Features, neighbour_heads, probability_factor, ridge_heads

NETWORK = ["model=convnet", "model.channels=[8]", "trainer.precision=fp32"]
QUICK = ["trainer.pictures=false", "trainer.report=false", "trainer.instruments=false"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "run"
    assert main([*NETWORK, *QUICK, "data.limit=300", "trainer.epochs=3", f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three digits by other names."""
    stored = np.load(Path(cnntrain.__file__).parent / "data" / "digits.npz")
    keys = {key.lower(): key for key in stored.files}
    pixels = next(stored[keys[key]] for key in keys if stored[keys[key]].ndim >= 3)
    labels = next(stored[keys[key]] for key in keys if stored[keys[key]].shape == pixels.shape[:1])
    chosen = np.flatnonzero(labels < 3)
    pixels, labels = pixels[chosen].reshape(-1, 8, 8, 1).astype(np.uint8), labels[chosen]
    file = tmp_path_factory.mktemp("images") / "three.npz"
    names = np.array(["zero", "one", "two"])
    np.savez(
        file,
        names=names,
        x_train=pixels[:60],
        y_train=labels[:60],
        x_test=pixels[60:160],
        y_test=labels[60:160],
    )
    return file


def fitted(source: Path, images: Path, folder: Path, *overrides: str) -> None:
    data = [f"data.path={images}", "data=npz", "data.val_fraction=0.3"]
    start = ["initialization=from_run", f"initialization.run={source}", "preprocessing=pretrained"]
    assert main(["job=head", *data, *start, *NETWORK, *overrides, f"hydra.run.dir={folder}"]) == 0


def features(classes: int, count: int = 40) -> tuple[Features, Features]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2 * count) % classes
    centres = torch.randn(classes, 6, generator=generator)
    values = centres[labels] + 0.8 * torch.randn(2 * count, 6, generator=generator)
    return Features(values[:count], labels[:count]), Features(values[count:], labels[count:])


@pytest.mark.parametrize("classes", [2, 4])
def test_ridge_predicts_as_scikit_learn_and_its_scores_are_multiples(classes: int) -> None:
    train, val = features(classes)
    scale = float(train.values.square().sum(1).mean().sqrt())
    for head in ridge_heads(train, val, classes, [0.1, 5.0]):
        theirs = RidgeClassifier(alpha=head.value).fit(train.values.numpy() / scale, train.labels.numpy())
        with torch.no_grad():
            scores = head.module(val.values)
        expected = theirs.decision_function(val.values.numpy() / scale)
        expected = np.stack([-expected, expected], 1) if classes == 2 else expected
        factor = float((scores.numpy() * expected).sum() / (expected**2).sum())
        np.testing.assert_allclose(scores.numpy(), factor * expected, rtol=1e-3, atol=1e-4 * factor)
        assert np.array_equal(scores.argmax(1).numpy(), theirs.predict(val.values.numpy() / scale))


def test_the_factor_on_scores_has_the_least_smoothed_cross_entropy_of_a_grid() -> None:
    _, val = features(4)
    scores = val.values @ torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    smoothing = 1 / (len(val.labels) + 2)

    def loss(factor: float) -> float:
        return float(F.cross_entropy(scores * factor, val.labels, label_smoothing=smoothing))

    found = loss(probability_factor(scores, val.labels))
    assert found <= min(loss(factor) for factor in np.geomspace(0.1, 100, 60)) + 1e-5


@pytest.mark.parametrize("classes", [2, 4])
def test_nearest_neighbours_predict_as_scikit_learn_with_laplaces_probabilities(classes: int) -> None:
    train, val = features(classes)
    unit_train, unit_val = (F.normalize(part.values, dim=1).numpy() for part in (train, val))
    for head in neighbour_heads(train, val, classes, [1, 7, 1000]):
        count = int(head.value)
        theirs = KNeighborsClassifier(count).fit(unit_train, train.labels.numpy())
        scores = head.module(val.values)
        expected = (count * theirs.predict_proba(unit_val) + 1) / (count + classes)
        np.testing.assert_allclose(scores.softmax(1).numpy(), expected, rtol=1e-5)
        assert np.array_equal(scores.argmax(1).numpy(), theirs.predict(unit_val))
        assert count < 1000


@pytest.mark.parametrize("method", ["ridge", "knn"])
def test_its_run_is_evaluated_and_loaded_as_any_other(
    method: str, source: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "head"
    fitted(source, images, folder, f"head.method={method}")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["test/accuracy"] > 0.8
    assert main(["job=evaluate", f"run={folder}"]) == 0
    evaluation = json.loads((folder / "evaluate-npz-test.json").read_text())
    assert evaluation["accuracy"] == summary["test/accuracy"]
    assert evaluation["loss"] == pytest.approx(summary["test/loss"])
    arrays = np.load(images)
    for path in (folder, folder / "checkpoints" / "best.pt"):
        predictions = cnntrain.load(path).predict(arrays["x_test"])
        torch.testing.assert_close(predictions.sum(1), torch.ones(len(predictions)))
        correct = predictions.argmax(1).numpy() == arrays["y_test"]
        assert correct.mean() == pytest.approx(summary["test/accuracy"])
    capsys.readouterr()
    assert main([f"run={folder}"]) == 2
    assert "job=head starts a new run" in capsys.readouterr().err


def test_the_layers_before_the_head_are_those_of_the_trained_network(
    source: Path, images: Path, tmp_path: Path
) -> None:
    fitted(source, images, tmp_path / "head")
    before, after = (
        read(path / "checkpoints" / "best.pt")["network"] for path in (source, tmp_path / "head")
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.output.weight", "head.output.bias"}


def test_heads_of_a_sweep_are_ranked_by_their_validation(
    source: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [f"data.path={images}", "data=npz", "data.val_fraction=0.3"]
    start = ["initialization=from_run", f"initialization.run={source}", "preprocessing=pretrained"]
    sweep = [*data, *start, *NETWORK, "head.method=ridge,knn", f"hydra.sweep.dir={tmp_path}"]
    assert main(["-m", "job=head", *sweep]) == 0
    printed = capsys.readouterr().out
    found = {name: json.loads((tmp_path / name / "summary.json").read_text()) for name in ("0000", "0001")}
    order = sorted(found, key=lambda name: (-found[name]["val/accuracy"], found[name]["val/loss"]))
    assert main(["job=leaderboard", f"run={tmp_path}"]) == 0
    for text in (printed, capsys.readouterr().out):
        rows = [line.split() for line in text.splitlines() if line.startswith(("1  ", "2  "))]
        assert [row[-2] for row in rows] == order
        assert rows[0][1] == f"{found[order[0]]['val/accuracy']:.2%}"


def test_more_neighbours_than_images_are_left_out_in_words_and_refused_if_none_is_left(
    source: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted(source, images, tmp_path / "some", "head.method=knn", "head.neighbours=[3,100]")
    assert "head.neighbours: 100 left out, as the training split has 42 images" in capsys.readouterr().out
    with pytest.raises(AssertionError):
        fitted(source, images, tmp_path / "none", "head.method=knn", "head.neighbours=[100]")
    assert "head.neighbours=[100]: the training split has 42 images; write [1,42]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["model=resnet20"], "are random; write model=pretrained, or initialization=from_run"),
        (["optim.lr=1"], "optim.lr: has no effect with job=head"),
        (
            ["model=pretrained", "loss=svm"],
            "loss=svm: job=head has probabilities of a softmax; write loss=softmax",
        ),
        (
            ["model=pretrained", "head.neighbours=[3]"],
            "has no effect with head.method=ridge; write head.method=knn",
        ),
    ],
)
def test_settings_without_effect_and_random_features_are_refused(
    overrides: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["job=head", *overrides]) == 2
    assert line in capsys.readouterr().err


def test_without_scikit_learn_the_message_has_the_command_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == "sklearn" else find(name)
    )
    assert main(["job=head", "model=pretrained"]) == 2
    assert (
        capsys.readouterr().err == "cnntrain: job=head: needs scikit-learn; pip install 'cnntrain[heads]'\n"
    )


def test_neighbours_ignore_autocast() -> None:
    train, val = features(3)
    head = NearestNeighbours(train.values, F.one_hot(train.labels, 3).float(), 5)
    expected: Tensor = head(val.values)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(nn.Sequential(head)(val.values), expected, rtol=0, atol=0)
