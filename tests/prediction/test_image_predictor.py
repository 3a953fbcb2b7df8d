"""Trained networks in Python: every form of images, features, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cnntrain
from cnntrain.errors import DataError
from cnntrain.loss.class_losses import Softmax
from cnntrain.prediction.ensemble import Ensemble
from cnntrain.prediction.trained import TrainedNetwork
from cnntrain.preprocessing.scale_and_shift import Affine
from cnntrain.settings.config_tree import Config


@pytest.fixture(scope="module")
def trained(shades: Path) -> Any:
    return cnntrain.load(shades / "run")


@pytest.fixture(scope="module")
def files(shades: Path) -> list[Path]:
    """Return images of the stored size, as PNG, which loses nothing."""
    return sorted((shades / "photos").glob("*/1*.png"))[:20]


def pixels_of(files: list[Path]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)) for file in files])


def untrained(network: nn.Module, choose: Any, names: list[str], side: int = 32) -> TrainedNetwork:
    """Return a network with random weights as one that was trained on images of side x side in colour."""
    config = Config()
    config.data = choose("data", "folder")
    scale, shift = torch.full((1, 1, 1, 3), 0.01), torch.zeros(1, 1, 1, 3)
    criterion = Softmax(names, None, 0)
    return TrainedNetwork(
        network.eval(), Affine(scale, shift, None), criterion, names, (side, side, 3), config, 16
    )


def test_all_forms_of_the_same_images_have_the_same_predictions(trained: Any, files: list[Path]) -> None:
    pixels = pixels_of(files)
    expected = trained.predict(torch.from_numpy(pixels))
    assert expected.shape == (20, 3)
    assert not expected.requires_grad
    forms: list[Any] = [
        files,
        [str(file) for file in files],
        (file for file in files),
        [Image.open(file) for file in files],
        pixels,
        list(pixels),
        [torch.from_numpy(image) for image in pixels],
        [files[0], pixels[1], Image.open(files[2]), *files[3:]],
        pixels[::-1][::-1],
    ]
    for form in forms:
        assert torch.equal(trained.predict(form), expected)
    for one in (
        files[0],
        str(files[0]),
        Image.open(files[0]),
        pixels[0],
        pixels[:1],
        torch.tensor(pixels[0]),
    ):
        # Of a matrix product, the last bits may depend on the number of its rows.
        torch.testing.assert_close(trained.predict(one), expected[:1])
        assert trained.predict(one).shape == (1, 3)
    assert trained.classify(files) == [file.parent.name for file in files]
    assert trained.predict([]).shape == trained.predict(pixels[:0]).shape == (0, 3)


def test_images_of_other_sizes_and_modes_are_brought_to_the_stored_size_as_files_are(
    trained: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    for number, mode in enumerate(("RGB", "L", "RGBA", "LA", "CMYK", "P", "1")):
        pixels = rng.integers(0, 256, (30, 21, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).convert(mode)
        image.save(tmp_path / f"{number}.tif")
        expected = trained.predict(tmp_path / f"{number}.tif")
        assert torch.equal(trained.predict(image), expected), mode
        assert image.size == (21, 30)
        if mode in ("RGB", "L", "RGBA"):
            assert torch.equal(trained.predict(np.asarray(image)), expected), mode


@pytest.mark.parametrize(
    ("images", "error", "expected"),
    [
        (np.zeros((8, 8, 3)), ValueError, r"uint8 of 0…255, got float64; of 0…1, write \(255"),
        (torch.zeros(1, 8, 8, 3, dtype=torch.int64), ValueError, "got int64"),
        (torch.zeros(3, 8, 9, dtype=torch.uint8), ValueError, r"channels last, .*permute axes \(1, 2, 0\)"),
        (torch.zeros(5, 3, 8, 9, dtype=torch.uint8), ValueError, r"permute axes \(0, 2, 3, 1\)"),
        (np.zeros((5, 8, 8), np.uint8), ValueError, r"for grey ones, write images\[..., None\]"),
        (np.zeros(8, np.uint8), ValueError, r"must have the shape \(H, W, C\)"),
        ([np.zeros((2, 8, 8, 3), np.uint8)], ValueError, "each entry must be one image, got 2"),
        (7, ValueError, "got int"),
        ([None], ValueError, "got NoneType"),
        ("missing.jpg", DataError, r"missing.jpg: cannot be read \(No such file"),
        (__file__, DataError, "is not an image of a known format"),
        ([Path(__file__).parent], DataError, "is a folder; list its files"),
    ],
)
def test_what_is_no_image_is_refused_in_words(
    images: Any, error: type[Exception], expected: str, trained: Any
) -> None:
    for method in (trained.predict, trained.classify, trained.features, trained.explain):
        with pytest.raises(error, match=expected):
            method(images)


@pytest.mark.parametrize("name", ["linear", "convnet", "resnet20", "vgg11", "nin"])
def test_features_are_what_the_head_computes_the_scores_from(name: str, choose: Any) -> None:
    torch.manual_seed(0)
    network = choose("model", name).tiny().build(3, 5, (32, 32), 0.0)
    one = untrained(network, choose, list("abcde"))
    images = torch.randint(0, 256, (40, 32, 32, 3), dtype=torch.uint8)
    features = one.features(images)
    assert (features.ndim, len(features)) == (2, 40)
    assert not features.requires_grad
    head = [part for part in network.modules() if isinstance(part, nn.Linear | nn.Conv2d)][-1]
    with torch.no_grad():
        scores = features @ head.weight.flatten(1).T + head.bias
    torch.testing.assert_close(scores.softmax(1), one.predict(images), rtol=1e-4, atol=1e-5)
    assert not any(part._forward_pre_hooks for part in network.modules())


def test_threads_get_the_same_results_to_the_bit(trained: Any, files: list[Path]) -> None:
    def results(number: int) -> list[torch.Tensor]:
        part = files[number : number + 4]
        maps = [trained.explain(part[0], method=method).values for method in ("occlusion", "gradient")]
        return [trained.predict(part), trained.features(part), *maps]

    expected = [results(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for found, alone in zip(pool.map(results, range(8)), expected, strict=True):
                assert all(torch.equal(one, other) for one, other in zip(found, alone, strict=True))


def test_an_ensemble_takes_the_same_images(trained: Any, files: list[Path]) -> None:
    ensemble = Ensemble([trained, trained])
    assert torch.equal(ensemble.predict(files), trained.predict(files))
    assert ensemble.classify(files) == trained.classify(files)
    assert torch.equal(ensemble.features(files), trained.features(files).repeat(1, 2))
    for method in ("occlusion", "gradient"):
        explained = ensemble.explain(files[0], "grey", method)
        torch.testing.assert_close(explained.values, trained.explain(files[0], "grey", method).values)
