"""A program of torch.export as an ONNX file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..version import __version__
from .exported_graph import exporting

# The newest that torch writes without converting, and that onnxruntime reads since 1.14 (2023).
OPSET = 18
# What protocol buffers, in which ONNX is stored, can hold.
MAX_BYTES = (1 << 31) - 1
INPUT, IMAGES = "inputs", "images"
SCORES = "scores"
RESULTS = {"classes": "probabilities", "attributes": "probabilities", "values": "values"}
BATCH = "batch"
# Where torch notes the module of a node, as a list of names from the outermost on.
SCOPES = "pkg.torch.onnx.name_scopes"


def onnx_model(program: torch.export.ExportedProgram, source: str, result: str) -> Any:
    """Return the ONNX model of a program, whose input and output have these names.

    Raises UserError where an operation has no form in ONNX or the weights are more than a file can hold.
    """
    (example,) = program.example_inputs[0]
    size = sum(weight.numel() * weight.element_size() for weight in program.state_dict.values())
    if size > MAX_BYTES:
        raise UserError(
            f"export.format=onnx: {size / 1e9:.1f} GB of weights are more than the 2 GB of an ONNX file; "
            "write export.format=torch_export"
        )
    with exporting("torch.onnx", "export.format=torch_export"):
        exported = torch.onnx.export(
            program.run_decompositions({torch.ops.aten.avg_pool2d.default: _pooled_with_divisor}),
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[source],
            output_names=[result],
        )
        assert exported is not None
        model = exported.model_proto
    _name_batch(model)
    return model


def nodes_outside_network(model: Any) -> list[str]:
    """Return the names of the nodes of preprocessing, and of those from scores to probabilities."""
    outside = []
    for node in model.graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "['', 'network'")
        if not scopes.startswith("['', 'network'"):
            outside.append(node.name)
    return outside


def onnx_file(model: Any, texts: dict[str, str]) -> bytes:
    """Return the content of a model's file with these metadata, without notes on the code it came from."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
    del model.metadata_props[:]
    for name, text in texts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, text
    model.producer_name, model.producer_version = "cnntrain", __version__
    return bytes(model.SerializeToString(deterministic=True))


def _pooled_with_divisor(
    maps: Tensor,
    kernel_size: list[int],
    stride: list[int] = [],  # noqa: B006 - as torch declares the operation
    padding: list[int] = [0],  # noqa: B006
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Return avg_pool2d with a divisor of its own, which torch's ONNX exporter ignores (torch 2.14.1).

    All windows lie within maps padded by zeros, so that their means differ from what is asked by a factor.
    """
    if divisor_override is None:
        return NotImplemented
    sizes, pads = maps.shape[-2:], (padding * 2)[:2]
    kernel, steps = (kernel_size * 2)[:2], ((stride or kernel_size) * 2)[:2]
    after = []
    for size, side, step, pad in zip(sizes, kernel, steps, pads, strict=True):
        free = size + 2 * pad - side
        windows = free // step + 1
        if ceil_mode and free % step and windows * step < size + pad:
            windows += 1
        after.append((windows - 1) * step + side - size - pad)
    padded = torch.nn.functional.pad(maps, (pads[1], max(after[1], 0), pads[0], max(after[0], 0)))
    pooled = torch.nn.functional.avg_pool2d(padded, kernel, steps)
    return pooled * (kernel[0] * kernel[1] / divisor_override)


def _name_batch(model: Any) -> None:
    """Name the number of images in the shapes of input and output, which torch gives a symbol."""
    for value in (*model.graph.input, *model.graph.output):
        model_shape = value.type.tensor_type.shape
        model_shape.dim[0].dim_param = BATCH
    del model.graph.value_info[:]
