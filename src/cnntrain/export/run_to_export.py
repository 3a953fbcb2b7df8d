"""A run whose network is exported: what is written into the file of its results and settings."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from ..assemble.restore import check_data
from ..assemble.trained_run import read_trained
from ..config import stored_config
from ..config.choice_files import Choices
from ..config.equivalent_command import equivalent_command
from ..config.resolve_network_input import resolve_network_input
from ..data.fingerprint import fingerprint
from ..data.image_set import ImageSet
from ..data.splits import SPLITS, Splits
from ..prediction.export_metadata import ExportMetadata
from ..prediction.trained import TrainedNetwork, trained_of
from ..runs import file_names
from ..runs.checkpoint import State, digest
from ..runs.run_folder import RunFolder
from ..settings.config_tree import GROUPS, Config
from ..settings.fields import describe_changes, rule_of, settings_of
from ..settings.job_settings import Export
from ..training.device import prepare
from ..version import __version__
from .comparison import compared_images, results_of

RESULTS = {
    "classes": "probabilities of the classes",
    "attributes": "probability of each attribute",
    "values": "values",
}


@dataclass
class RunToExport:
    """The best network of a run with its checkpoint, its data and its summary, {} where it has none.

    config: that of the run, with the names of files in place of their paths, as it leaves this machine.
    """

    folder: RunFolder
    config: Config
    state: State
    trained: TrainedNetwork
    splits: Splits
    summary: dict[str, Any]

    def metadata(self, settings: Export) -> ExportMetadata:
        """Return what an exported file says of itself."""
        trained = self.trained
        height, width, channels = trained.image_shape
        inputs = f"images, uint8 (batch, {height}, {width}, {channels}), 0 to 255"
        outputs = f"{RESULTS[trained.target]}, float32 (batch, {len(trained.names)})"
        if not settings.preprocessing:
            shape = ", ".join(map(str, trained.preprocess.output_shape))
            inputs = f"preprocessed images, float32 (batch, {shape})"
            outputs = f"scores, float32 (batch, {self._scores()})"
        return ExportMetadata(
            cnntrain=__version__,
            names=trained.names,
            target=trained.target,
            rejects=trained.rejects,
            image_shape=list(trained.image_shape),
            resize=trained.resize,
            batch_size=trained.batch_size,
            preprocessing=settings.preprocessing,
            inputs=inputs,
            outputs=outputs,
            description=self.preprocessing(),
            quantize=settings.quantize,
            network=describe_changes(self.config.model),
            weights=self.weights,
            command=equivalent_command(self.config, Choices()),
            seed=self.config.seed,
            epoch=self.summary.get("best_epoch"),
            validation=self.results("val") or {},
            test=self.results("test"),
            data={split: (self.state["data"] or {}).get(split) for split in SPLITS},
            config=stored_config.to_yaml(self.config) if settings.format == "safetensors" else None,
        )

    def preprocessing(self) -> str:
        """Return in words what is done to the images before the network."""
        network_input = resolve_network_input(self.config, self.trained.image_shape)
        steps = [describe_changes(self.config.preprocessing)]
        if network_input.crop is not None:
            steps.insert(0, f"center crop of {network_input.crop[0]}x{network_input.crop[1]}")
        if network_input.enlarged is not None:
            steps.append(f"bilinear resizing to {network_input.enlarged[0]}x{network_input.enlarged[1]}")
        return ", ".join(steps)

    @cached_property
    def compared(self) -> tuple[str, ImageSet]:
        """The split on which exported files are compared with the run, and its images."""
        return compared_images(self.splits)

    @cached_property
    def expected(self) -> Tensor:
        """What the run predicts for these images, (N, K), in fp32 on the CPU."""
        return results_of(self.trained.predict, self.compared[1], self.trained.batch_size)

    @property
    def weights(self) -> str:
        """The SHA-256 that the checkpoint states of itself."""
        return digest(self.folder.checkpoints.folder / file_names.BEST)

    def results(self, split: str) -> dict[str, float | None] | None:
        """Return the metrics of a split by name, "val" or "test", None where the run did not evaluate it."""
        prefix = f"{split}/"
        found = {
            name.removeprefix(prefix): value
            for name, value in self.summary.items()
            if name.startswith(prefix)
        }
        return found or None

    def _scores(self) -> int:
        """Return how many scores the network has; a hierarchical softmax gives those of the classes."""
        trained = self.trained
        return len(trained.names) if trained.target == "classes" else trained.criterion.outputs


def read_run(path: Path, config: Config) -> RunToExport:
    """Return the run in a folder, its data read and torch set up as its configuration with overrides says.

    It is computed on the CPU in fp32. Raises DataError where it has no best network or its data have changed.
    """
    prepare(replace(config.trainer, device="cpu", precision="fp32"))
    splits = config.data.load(config.seed)
    config, state = read_trained(path)
    check_data(state, fingerprint(splits), path)
    folder = RunFolder(path)
    trained = trained_of(config, state, f"{path}: checkpoint")
    return RunToExport(folder, without_folders(config), state, trained, splits, folder.read_summary() or {})


def without_folders(config: Config) -> Config:
    """Return a configuration in which the paths of files and folders are their last names.

    So a published file does not tell how its author's folders are called.
    """
    config = copy.deepcopy(config)
    for group in GROUPS:
        settings = getattr(config, group)
        for name, field in settings_of(type(settings)).items():
            value = getattr(settings, name)
            if "rule" in field.metadata and value and rule_of(field).path is not None:
                setattr(settings, name, Path(value).name)
    return config
