"""ONNX models in int8: weights and activations, with ranges from training images (static quantization)."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.image_set import ImageSet
from ..data.splits import stratified_subset
from .exported_graph import exporting
from .onnx_file import nodes_outside_network

# Images per pass of the calibration.
BATCH = 64


def calibration_images(train: ImageSet, count: int, seed: int) -> ImageSet:
    """Return so many images of the training split, of all classes; never those of validation or test."""
    return train.subset(stratified_subset(train.labels, min(count, len(train)), seed, "calibration"))


def quantized(model: Any, inputs: Iterator[Tensor]) -> Any:
    """Return an ONNX model with the network's weights and activations in int8.

    Weights have a scale for each output channel, activations one for each tensor, from the smallest and
    largest value over the `inputs`. Preprocessing and what makes probabilities of scores stay in fp32.
    """
    with exporting("onnxruntime", "export.quantize=fp16"), tempfile.TemporaryDirectory() as folder:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        file = Path(folder) / "quantized.onnx"
        quantize_static(
            copy.deepcopy(model),  # it moves the weights of what it is given into files of its own
            file,
            _reader(model.graph.input[0].name, inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=nodes_outside_network(model),
        )
        return onnx.load(file)


def _reader(name: str, inputs: Iterator[Tensor]) -> Any:
    """Return what onnxruntime reads calibration inputs from, one batch after the other."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            batch = next(inputs, None)
            return None if batch is None else {name: batch.numpy()}

    return Reader()


def calibration_inputs(images: ImageSet, preprocess: torch.nn.Module | None) -> Iterator[Tensor]:
    """Yield the images as the model takes them: as they are, or preprocessed."""
    for chunk in images.chunks(BATCH):
        yield chunk if preprocess is None else preprocess(chunk).contiguous()
