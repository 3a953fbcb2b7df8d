"""Exported networks in Python: `cnntrain.load("model.onnx")`, also of .pt2 and .safetensors files."""

from __future__ import annotations

import importlib.util
import io
import json
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError, first_line
from ..runs.file_names import CHECKPOINTS, EXPORTED, MODEL
from ..training.device import Compute
from .export_metadata import MARK, METADATA_FILE, ExportMetadata
from .image_predictor import ImagePredictor
from .library_messages import without_messages
from .trained import TrainedNetwork, trained_of

SUFFIXES = ONNX, TORCH_EXPORT, SAFETENSORS = EXPORTED
# The parts of a checkpoint that a safetensors file has, as prefixes of the names of its tensors.
PARTS = ("network", "preprocess", "loss")


class ExportedNetwork(ImagePredictor):
    """A network in a file of another format than a checkpoint, run by that format's own runtime.

    It predicts on the CPU, in the number format of the file, and has results alone: no features and no
    gradients. threads: those of the run, which it does not know.
    """

    threads: int | None = None

    def __init__(self, metadata: ExportMetadata):
        self.metadata = metadata
        self.names = metadata.names
        self.target = metadata.target
        self.rejects = metadata.rejects
        height, width, channels = metadata.image_shape
        self.image_shape = (height, width, channels)
        self.resize = metadata.resize
        self.batch_size = metadata.batch_size

    def __repr__(self) -> str:
        height, width, channels = self.image_shape
        number_format = f", {self.metadata.quantize}" if self.metadata.quantize else ""
        return (
            f"{type(self).__name__}({self.metadata.network}{number_format}, images of "
            f"{height}x{width}x{channels}, {len(self.names)} {self.target})"
        )

    @abstractmethod
    def run(self, inputs: Tensor) -> Tensor:
        """Return what the file computes: results of uint8 images, or scores where it has no preprocessing."""

    def use(self, compute: Compute) -> None:
        """Do nothing: device and precision are those of the file."""

    def predict_batch(self, images: Tensor) -> Tensor:
        return self.run(images) if len(images) else torch.zeros(0, len(self.names))

    def feature_extractor(self) -> Callable[[Tensor], Tensor]:
        raise ValueError(
            "an exported file has no features, only results; load the run, or its safetensors file"
        )

    def gradient_map(self, pixels: Tensor, index: int) -> Tensor:
        raise ValueError("an exported file has no gradients; write method='occlusion', or load the run")


class OnnxNetwork(ExportedNetwork):
    """An ONNX file, run by onnxruntime on the CPU with `threads` threads, by default as many as torch has."""

    def __init__(self, content: bytes, threads: int | None = None):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        super().__init__(_metadata(self._session.get_modelmeta().custom_metadata_map))
        self._input = self._session.get_inputs()[0].name

    def run(self, inputs: Tensor) -> Tensor:
        (results,) = self._session.run(None, {self._input: inputs.numpy()})
        return torch.from_numpy(results)


class TorchProgram(ExportedNetwork):
    """A program of torch.export, run by torch on the CPU."""

    program: nn.Module

    def __init__(self, content: bytes):
        texts = {METADATA_FILE: ""}
        loaded = torch.export.load(io.BytesIO(content), extra_files=texts)
        super().__init__(_metadata(json.loads(texts[METADATA_FILE] or "{}")))
        self.program = loaded.module()

    @torch.no_grad()
    def run(self, inputs: Tensor) -> Tensor:
        results: Tensor = self.program(inputs)
        return results


def load_exported(path: Path) -> TrainedNetwork | ExportedNetwork:
    """Return the network in a file that job=export wrote, known by its suffix.

    Raises DataError where the file cannot be read, was not written by job=export, or takes images that are
    preprocessed already; ConfigError where its runtime is not installed.
    """
    found = read_exported(path)
    if isinstance(found, ExportedNetwork) and not found.metadata.preprocessing:
        raise DataError(
            f"{path}: takes preprocessed images and returns scores, as it was written with "
            "export.preprocessing=false; export with true to use it here"
        )
    return found


def is_published(folder: Path) -> bool:
    """Return whether a folder is one that job=publish wrote: an exported network, and no run."""
    return (folder / MODEL).is_file() and not (folder / CHECKPOINTS).exists()


def read_exported(path: Path) -> TrainedNetwork | ExportedNetwork:
    """Return the network in an exported file, with or without preprocessing; raises as `load_exported`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return network_of(content, path.suffix.lower(), str(path))


def network_of(
    content: bytes, suffix: str, source: str, threads: int | None = None
) -> TrainedNetwork | ExportedNetwork:
    """Return the network in the content of an exported file; raises as `load_exported`, naming `source`.

    suffix: one of SUFFIXES. threads: of onnxruntime.
    """
    if package := missing_runtime(suffix):
        raise ConfigError([f"{source}: needs {package}; {install(suffix)}"])
    try:
        with without_messages():
            if suffix == ONNX:
                return OnnxNetwork(content, threads)
            if suffix == TORCH_EXPORT:
                return TorchProgram(content)
            return _rebuilt(content, source)
    except (DataError, ConfigError):
        raise
    except _Foreign as error:
        raise DataError(
            f"{source}: was not written by cnntrain ({error}), so what it expects and predicts is not known"
        ) from error
    except Exception as error:  # of four libraries, which have classes of their own
        raise DataError(f"{source}: cannot be read as {suffix} ({first_line(error)[:200]})") from error


def read_metadata(path: Path) -> ExportMetadata:
    """Return what an exported file says of itself; raises DataError where it is none of ours."""
    suffix = path.suffix.lower()
    try:
        if suffix == SAFETENSORS:
            return _metadata(safetensors_header(path.read_bytes()))
        found = read_exported(path)
    except (OSError, ValueError, AttributeError, _Foreign) as error:
        raise DataError(f"{path}: was not written by job=export ({first_line(error)})") from error
    assert isinstance(found, ExportedNetwork)
    return found.metadata


def missing_runtime(suffix: str) -> str | None:
    """Return the package that files of a suffix need and that is not installed, None if there is none."""
    package = {ONNX: "onnxruntime", SAFETENSORS: "safetensors"}.get(suffix)
    return package if package and importlib.util.find_spec(package) is None else None


def install(suffix: str) -> str:
    """Return the command that installs what files of a suffix need."""
    extra = {ONNX: "onnx", SAFETENSORS: "safetensors"}[suffix]
    return f"pip install 'cnntrain[{extra}]'"


class _Foreign(Exception):
    """A file has none of the entries by which ours are known, or not all of them."""


def _metadata(texts: dict[str, str]) -> ExportMetadata:
    if MARK not in texts:
        raise _Foreign("it has no entries of cnntrain")
    try:
        return ExportMetadata.from_texts(texts)
    except (ValueError, TypeError) as error:
        raise _Foreign(f"its entries are not whole: {error}") from error


def _rebuilt(content: bytes, source: str) -> TrainedNetwork:
    """Return the network of a safetensors file, rebuilt from its configuration."""
    from safetensors.torch import load

    from ..config import stored_config

    metadata = _metadata(safetensors_header(content))
    if metadata.config is None:
        raise _Foreign("it has no configuration")
    state: dict[str, Any] = {part: {} for part in PARTS}
    for name, tensor in load(content).items():
        part, _, rest = name.partition(".")
        state[part][rest] = tensor.float() if tensor.dtype == torch.float16 else tensor
    state |= {
        "names": metadata.names,
        "image_shape": metadata.image_shape,
        "batch_size": metadata.batch_size,
        "data": {"names": metadata.names, "shape": metadata.image_shape, **metadata.data},
    }
    return trained_of(stored_config.from_yaml(metadata.config, source), state, source)


def safetensors_header(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file: a length of 8 bytes, then JSON; raises ValueError."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    found = header.get("__metadata__", {})
    return {str(key): str(value) for key, value in found.items()}
