"""What an exported file says of itself: texts by name, which each of the three formats stores in its own way.

ONNX has metadata_props, safetensors its header, and a program of torch.export a file within its archive.
"""

from __future__ import annotations

import json
import typing
from dataclasses import asdict, dataclass, fields
from typing import Any

# The entry by which a file of ours is known; its value is the version of the program.
MARK = "cnntrain"
# Within the archive of torch.export.
METADATA_FILE = "cnntrain.json"


@dataclass(kw_only=True)
class ExportMetadata:
    """The description of an exported network.

    names: of the classes, attributes or values. target: "classes", "attributes" or "values". rejects: whether
    the probabilities of the classes may add up to less than 1. image_shape: (height, width, channels).
    resize: how other images are brought to this size. batch_size: that of the training. preprocessing:
    whether it is in the file. inputs, outputs, description: what goes in and comes out, and what is done to
    the images, in words. quantize: "fp16" or "int8", None for fp32. network: its settings. weights: the
    SHA-256 that its checkpoint states of itself. command, seed, epoch: how it was trained, its best epoch.
    validation, test: metrics by name, test None where it was not evaluated. data: sizes and hashes of the
    splits. config: the configuration as YAML, in safetensors alone.
    """

    cnntrain: str
    names: list[str]
    target: str
    rejects: bool
    image_shape: list[int]
    resize: str
    batch_size: int
    preprocessing: bool
    inputs: str
    outputs: str
    description: str
    quantize: str | None
    network: str
    weights: str
    command: str
    seed: int
    epoch: int | None
    validation: dict[str, float | None]
    test: dict[str, float | None] | None
    data: dict[str, Any]
    config: str | None = None

    def to_texts(self) -> dict[str, str]:
        """Return the entries as texts: those that are no text as JSON."""
        return {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in asdict(self).items()
            if value is not None or name != "config"
        }

    def to_json(self) -> dict[str, Any]:
        """Return the entries without the configuration, which has a file of its own in the run's folder."""
        return {name: value for name, value in asdict(self).items() if name != "config"}

    @classmethod
    def from_texts(cls, texts: dict[str, str]) -> ExportMetadata:
        """Return the entries that `to_texts` wrote; others are ignored.

        Raises ValueError where one is missing or is no JSON.
        """
        hints = typing.get_type_hints(cls)
        found: dict[str, Any] = {}
        for field in fields(cls):
            if field.name in texts:
                is_text = hints[field.name] in (str, str | None)
                text = texts[field.name]
                found[field.name] = text if is_text and text != "null" else json.loads(text)
            elif field.name != "config":
                raise ValueError(f"{field.name} is missing")
        return cls(**found)
