"""Every network of conf/model exported, and its files compared with torch: the table of docs/export.md.

    python -m benchmarks.export_all [NAME …]

Networks that are the same at their tiny size, such as ResNet-20 and ResNet-32, have one line.

Networks have their tiny sizes, images are the digits (enlarged where a network needs it). Weights are the
initial ones; the statistics of batch normalization are those of a few training batches. A line has the
largest difference of a probability over 100 validation images, and the share of equal predictions of int8.
After the networks come layers, losses and preprocessings with operations of their own, in fp16, too.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from cnntrain.assemble.run import Parts, build_parts
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.errors import UserError
from cnntrain.export.exported_graph import exported_program
from cnntrain.export.onnx_file import IMAGES, onnx_file, onnx_model
from cnntrain.export.quantization import calibration_images, calibration_inputs, quantized
from cnntrain.prediction.trained import TrainedNetwork

# The user's own module, and networks with weights that would be downloaded.
LEFT_OUT = ("custom", "pretrained", "timm_pretrained")
VARIANTS = {
    "timm: vision transformer": ["model=timm", "model.arch=vit_tiny_patch16_224"],
    "timm: ConvNeXt": ["model=timm", "model.arch=convnext_atto"],
    "torchvision: MobileNet v3": ["model=torchvision", "model.arch=mobilenet_v3_small"],
    "torchvision: Swin": ["model=torchvision", "model.arch=swin_t"],
    "maxout": ["model.activation=maxout"],
    "L2 pooling": ["model.pooling=l2"],
    "response normalization": ["model.normalization=lrn"],
    "locally connected": ["model.locally_connected=1"],
    "hierarchical softmax": ["loss=hierarchical_softmax"],
    "rejecting softmax": ["model=lenet5_original", "loss=rejecting_softmax"],
    "one-hot error": ["loss=one_hot_error"],
    "attributes": ["data.target=attributes", "loss=attribute_logistic"],
    "values in bins": ["data.target=values", "loss=bins", "loss.bins=10"],
    "PCA": ["preprocessing=pca", "model=mlp"],
    "GCN and ZCA": ["preprocessing=gcn_zca"],
    "minima and maxima": ["preprocessing=minmax"],
}
TRAINING_BATCHES, IMAGES_COMPARED, IMAGES_OF_CALIBRATION = 3, 100, 50


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    chosen = sys.argv[1:]
    networks = {name: [f"model={name}"] for name in _distinct_networks()}
    rows = networks | VARIANTS
    print("| network | ONNX | ONNX int8 | torch.export | ONNX fp16 | s |\n|---|---|---|---|---|---|")
    for name, overrides in rows.items():
        if not chosen or name in chosen:
            started = time.perf_counter()
            cells = _cells(overrides, tiny=name in networks)
            print(f"| {name} | {' | '.join(cells)} | {time.perf_counter() - started:.1f} |", flush=True)


def _distinct_networks() -> list[str]:
    """Return the names of the networks; of those that are the same at their tiny size, the first."""
    found: dict[str, str] = {}
    for name in Choices().names("model"):
        if name not in LEFT_OUT:
            tiny = configure([f"model={name}"], Choices()).config.model.tiny()
            found.setdefault(repr(tiny), name)
    return list(found.values())


def _cells(overrides: list[str], tiny: bool) -> list[str]:
    """Return the differences of ONNX, ONNX int8, torch.export and, of variants, ONNX fp16 as text."""
    config = configure([*overrides, "trainer.precision=fp32"], Choices()).config
    if tiny:
        config = replace(config, model=config.model.tiny())
    with tempfile.TemporaryDirectory() as folder:
        parts = build_parts(config, None, Path(folder), "")
    trained, images = _trained(parts), next(iter(parts.splits.val.chunks(IMAGES_COMPARED)))
    expected = trained.predict(images)
    cells = []
    for kind, results in _results(trained, parts, images, with_half=not tiny).items():
        if isinstance(results, UserError):
            cells.append(str(results)[:100])
            continue
        difference = (results - expected).abs()
        if trained.target == "values":
            difference = difference / expected.std(0).clamp(min=1e-6)
        cell = f"{float(difference.max()):.1g}"
        if kind == "int8" and trained.target == "classes":
            cell += f" ({float((results.argmax(1) == expected.argmax(1)).float().mean()):.0%} equal)"
        cells.append(cell)
    return cells + ["–"] * (4 - len(cells))


def _trained(parts: Parts) -> TrainedNetwork:
    """Return the network of a run that was not trained, with the statistics of a few batches."""
    step = parts.step
    step.network.train()
    for images, _ in parts.train.epoch(0, 0, TRAINING_BATCHES):
        with torch.no_grad():
            step.network(step.preprocess(images))
    return TrainedNetwork(
        network=step.network.eval(),
        preprocess=step.preprocess,
        criterion=step.criterion,
        names=parts.splits.names,
        image_shape=parts.splits.train.shape,
        config=parts.config,
        batch_size=64,
    )


def _results(
    trained: TrainedNetwork, parts: Parts, images: Tensor, with_half: bool
) -> dict[str, Tensor | UserError]:
    """Return what each exported form of a network computes for images, or why it cannot be exported."""
    found: dict[str, Tensor | UserError] = {}
    try:
        program = exported_program(trained, preprocessing=True, half=False)
        model: Any = onnx_model(program, IMAGES, "results")
        chosen = calibration_images(parts.splits.train, IMAGES_OF_CALIBRATION, 0)
        # Before the file, which leaves out what tells the network from its preprocessing.
        int8 = quantized(model, calibration_inputs(chosen, None))
        found["onnx"] = _by_onnxruntime(model, images)
        found["int8"] = _by_onnxruntime(int8, images)
        with torch.no_grad():
            found["torch_export"] = program.module()(images)
        if with_half:
            half = onnx_model(exported_program(trained, preprocessing=True, half=True), IMAGES, "results")
            found["fp16"] = _by_onnxruntime(half, images)
    except UserError as error:
        found["failed"] = error
    return found


def _by_onnxruntime(model: Any, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(onnx_file(model, {}), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {IMAGES: images.numpy()})[0])


if __name__ == "__main__":
    main()
