"""A run's network as a file of another format: made, read back by its own runtime, compared, then written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckFailed, DataError
from ..prediction.export_metadata import METADATA_FILE, ExportMetadata
from ..prediction.exported import ONNX, SAFETENSORS, TORCH_EXPORT, network_of, read_metadata
from ..runs.atomic_write import atomic_write
from ..settings.fields import expanded
from ..settings.job_settings import Export
from .comparison import Comparison, compare, predict_function, results_of
from .exported_graph import exported_program, program_file
from .onnx_file import IMAGES, INPUT, OPSET, RESULTS, SCORES, onnx_file, onnx_model
from .quantization import calibration_images, calibration_inputs, quantized
from .run_to_export import RunToExport
from .safetensors_file import safetensors_file

SUFFIX = {"onnx": ONNX, "torch_export": TORCH_EXPORT, "safetensors": SAFETENSORS}


@dataclass(frozen=True)
class Exported:
    """The content of an exported file, what it says of itself, and how it differs from the run."""

    content: bytes
    suffix: str
    metadata: ExportMetadata
    comparison: Comparison

    def describe_format(self) -> str:
        """Return format and number format as printed."""
        name = {ONNX: f"ONNX, opset {OPSET}", TORCH_EXPORT: "torch.export", SAFETENSORS: "safetensors"}
        return f"{name[self.suffix]}, {self.metadata.quantize or 'fp32'}"


def exported(run: RunToExport, settings: Export) -> Exported:
    """Return the file of a run's network, compared with the run over the validation split.

    Raises CheckFailed where it differs by more than its number format allows, UserError where the network has
    no form in this format.
    """
    metadata = run.metadata(settings)
    content, suffix = _content(run, settings, metadata.to_texts()), SUFFIX[settings.format]
    compared = compare_content(content, suffix, run)
    if wrong := compared.problem(settings.quantize):
        raise CheckFailed(
            f"export.format={settings.format}{_quantize(settings)}: the file {wrong}, and is not kept; "
            + _instead(settings)
        )
    return Exported(content, suffix, metadata, compared)


def compare_content(content: bytes, suffix: str, run: RunToExport) -> Comparison:
    """Compare the content of an exported file, read by its own runtime, with its run."""
    network = network_of(content, suffix, "the exported file")
    split, images = run.compared
    found = results_of(predict_function(network, run.trained), images, run.trained.batch_size)
    return compare(run.trained, run.expected, found, split, images.labels)


def file_of(run: RunToExport, settings: Export) -> Path:
    """Return the file to write: export.file, or one in the run's folder, named by what it holds.

    Raises DataError where there is a file that is no export, and for export.file that of another network.
    """
    if settings.file is None:
        parts = ["model", *(["scores"] if not settings.preprocessing else [])]
        parts += [settings.quantize] if settings.quantize else []
        file = run.folder.path / f"{'-'.join(parts)}{SUFFIX[settings.format]}"
        if file.exists() and _weights(file) is None:
            raise DataError(f"{file}: exists, and is no export; name another file by export.file=…")
        return file
    file = expanded(settings.file)
    if not file.parent.is_dir():
        raise DataError(f"export.file={file}: there is no folder {file.parent}; create it first")
    if file.exists() and _weights(file) != run.weights:
        raise DataError(f"export.file={file}: exists, and is no export of this network; name another file")
    return file


def write_export(file: Path, made: Exported) -> None:
    """Write the file of an export; raises DataError."""
    with atomic_write(file) as temporary:
        temporary.write_bytes(made.content)


def _content(run: RunToExport, settings: Export, texts: dict[str, str]) -> bytes:
    if settings.format == "safetensors":
        return safetensors_file(run.state, texts, settings.quantize == "fp16")
    program = exported_program(run.trained, settings.preprocessing, settings.quantize == "fp16")
    if settings.format == "torch_export":
        return program_file(program, {METADATA_FILE: json.dumps(texts)})
    source, result = (IMAGES, RESULTS[run.trained.target]) if settings.preprocessing else (INPUT, SCORES)
    model = onnx_model(program, source, result)
    if settings.quantize == "int8":
        images = calibration_images(run.splits.train, settings.calibration_images, run.config.seed)
        preprocess = None if settings.preprocessing else run.trained.preprocess
        model = quantized(model, calibration_inputs(images, preprocess))
    return onnx_file(model, texts)


def _weights(file: Path) -> str | None:
    """Return the SHA-256 of the network that a file is an export of, None where it is no export."""
    try:
        return read_metadata(file).weights
    except DataError:
        return None


def _quantize(settings: Export) -> str:
    return f" export.quantize={settings.quantize}" if settings.quantize else ""


def _instead(settings: Export) -> str:
    if settings.quantize == "int8":
        return "write export.quantize=fp16, or more export.calibration_images"
    if settings.quantize == "fp16":
        return "write export.quantize=null"
    return "write export.format=safetensors"
