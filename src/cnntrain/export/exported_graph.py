"""A trained network as one program of torch.export, from images to results, for any number of images."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..errors import UserError, first_line
from ..loss.criterion import Criterion
from ..model.nearest_neighbours import NearestNeighbours
from ..prediction.library_messages import without_messages
from ..prediction.trained import TrainedNetwork

# Images of the example from which a program is recorded; 0 and 1 would be taken as constants.
EXAMPLE_IMAGES = 2
EXAMPLE_PIXEL = 128


class ImagesToResults(nn.Module):
    """uint8 images (N, H, W, C) → probabilities (N, K) or values (N, V); modules as in `TrainedNetwork`.

    half: whether the network computes in fp16; preprocessing and probabilities stay in fp32.
    """

    def __init__(self, preprocess: nn.Module, network: nn.Module, criterion: Criterion, half: bool):
        super().__init__()
        self.preprocess = preprocess
        self.network = network
        self.criterion = criterion
        self.half_precision = half

    def forward(self, images: Tensor) -> Tensor:
        inputs = self.preprocess(images)
        scores = self.network(inputs.half() if self.half_precision else inputs)
        return self.criterion.probabilities(scores.float())


class InputsToScores(nn.Module):
    """Preprocessed images float32 (N, C, H, W) → scores (N, outputs); half: as in `ImagesToResults`."""

    def __init__(self, network: nn.Module, half: bool):
        super().__init__()
        self.network = network
        self.half_precision = half

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.network(inputs.half() if self.half_precision else inputs)
        return scores.float()


def exported_program(
    trained: TrainedNetwork, preprocessing: bool, half: bool
) -> torch.export.ExportedProgram:
    """Return the program of a network; raises UserError where torch cannot record it.

    The lines of code that torch notes for each operation, with the paths of their files, are removed.
    """
    network = _exportable(trained.network, half)
    example = torch.full((EXAMPLE_IMAGES, *trained.image_shape), EXAMPLE_PIXEL, dtype=torch.uint8)
    module: nn.Module
    if preprocessing:
        module = ImagesToResults(trained.preprocess, network, trained.criterion, half)
    else:
        module, example = InputsToScores(network, half), trained.preprocess(example).contiguous()
    with exporting("torch", "export.format=safetensors"):
        program = torch.export.export(
            module.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


@contextlib.contextmanager
def exporting(library: str, instead: str) -> Iterator[None]:
    """Keep the messages of a library from the user inside the context; raises UserError where it fails.

    instead: the setting that works without it.
    """
    try:
        with without_messages():
            yield
    except (UserError, MemoryError, OSError):
        raise
    except Exception as error:
        raise UserError(
            f"{library} cannot export this network ({first_line(error)[:300]}); write {instead}"
        ) from error


def program_file(program: torch.export.ExportedProgram, texts: dict[str, str]) -> bytes:
    """Return the content of the file of a program, with files of these names and texts within."""
    content = io.BytesIO()
    with exporting("torch", "export.format=safetensors"):
        torch.export.save(program, content, extra_files=texts)
    return content.getvalue()


def _exportable(network: nn.Module, half: bool) -> nn.Module:
    """Return a copy of a network of operations that all formats have and that depend on no tensor's content.

    half: in fp16, but for layers that compute similarities in fp32 whatever the network's precision.
    """
    network = copy.deepcopy(network).requires_grad_(False)
    if half:
        network.half()
    for module in network.modules():
        if isinstance(module, NearestNeighbours):
            module.float()
            count = int(module.neighbours)
            del module.neighbours
            module.neighbours = count  # type: ignore[assignment]
    return network
