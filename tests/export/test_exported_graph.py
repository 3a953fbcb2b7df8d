"""Layers whose operations only some networks have, as programs of torch.export and in ONNX."""

from __future__ import annotations

import onnxruntime
import torch
from torch import nn

from cnntrain.data.digits import read_digits
from cnntrain.data.settings.built_in import Digits
from cnntrain.export.exported_graph import exported_program
from cnntrain.export.onnx_file import IMAGES, onnx_file, onnx_model
from cnntrain.loss.class_losses import Softmax
from cnntrain.loss.class_tree import balanced
from cnntrain.loss.criterion import Criterion
from cnntrain.loss.hierarchical_softmax import TreeOutput
from cnntrain.loss.regression_losses import Distance
from cnntrain.model import shared_layers
from cnntrain.model.lenet_original import DistanceToCodes
from cnntrain.model.nearest_neighbours import NearestNeighbours
from cnntrain.prediction.trained import TrainedNetwork
from cnntrain.preprocessing.pca_whitening import Project, eigenbasis
from cnntrain.preprocessing.preprocess import Preprocess
from cnntrain.settings.config_tree import Config

CLASSES = [str(digit) for digit in range(10)]


def trained(network: nn.Module, preprocess: Preprocess, criterion: Criterion) -> TrainedNetwork:
    return TrainedNetwork(network.eval(), preprocess, criterion, CLASSES, (8, 8, 1), Config(data=Digits()), 4)


def zca(size: tuple[int, int]) -> Preprocess:
    """Contrast normalization, ZCA whitening and enlargement, with statistics of the digits."""
    mean, directions, variances = eigenbasis(read_digits("classes").train, True)
    return Project(
        mean.float(),
        directions.float(),
        variances.float(),
        (8, 8, 1),
        size,
        rotate_back=True,
        normalize_contrast=True,
        epsilon=0.1,
    )


def images(count: int) -> torch.Tensor:
    return read_digits("classes").test.images[:count]


def test_layers_of_our_own_compute_in_onnxruntime_what_they_compute_in_torch() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        shared_layers.Maxout(),
        shared_layers.ResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
        shared_layers.L2Pool2d(2, 2, ceil_mode=True),
        shared_layers.LocallyConnected2d(4, 4, 3, (6, 6), padding=1),
        shared_layers.ScaledTanh(),
        shared_layers.ZeroPadShortcut(4, 6, 2),
        shared_layers.TableConvolution(6, [[0, 1, 2], [3, 4, 5]] * 42, 3),
        nn.Flatten(),
        DistanceToCodes(10),
    )
    # Values are the scores themselves; probabilities would hide differences where they are near 0 and 1.
    run = trained(network, zca((12, 12)), Distance(CLASSES, "l2", "sum", torch.zeros(10), torch.ones(10)))
    model = onnx_model(exported_program(run, preprocessing=True, half=False), IMAGES, "results")
    session = onnxruntime.InferenceSession(onnx_file(model, {}))
    for count in (1, 5):
        (found,) = session.run(None, {IMAGES: images(count).numpy()})
        torch.testing.assert_close(torch.from_numpy(found), run.predict(images(count)), atol=1e-3, rtol=1e-5)


def test_heads_of_votes_and_of_trees_are_programs_for_any_number_of_images() -> None:
    torch.manual_seed(0)
    votes = NearestNeighbours(torch.randn(30, 64), torch.eye(10).repeat(3, 1), 5)
    tree = TreeOutput(64, balanced(CLASSES, 3))
    for head, half in ((votes, False), (votes, True), (tree, False)):
        run = trained(nn.Sequential(nn.Flatten(), head), zca((8, 8)), Softmax(CLASSES, None, 0.0))
        program = exported_program(run, preprocessing=True, half=half).module()
        for count in (1, 7):
            torch.testing.assert_close(program(images(count)), run.predict(images(count)))
