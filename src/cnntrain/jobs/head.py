"""job=head: a head computed in closed form on the frozen features of a trained network, as a run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..assemble.parts import evaluation_batches
from ..assemble.run import assemble
from ..config import stored_config
from ..errors import ConfigError, DataError
from ..output_streams import print_labelled, print_result
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.run_folder import create
from ..runs.status import FINISHED
from ..settings.config_tree import Config
from ..settings.job_settings import Head as HeadSettings
from ..training.closed_form_heads import (
    Features,
    Head,
    features_of,
    linear_head,
    neighbour_heads,
    ridge_heads,
)
from ..training.evaluate_split import evaluate_split
from .run_outcome import recorded_outcome
from .run_summary import primary_metrics, run_summary


def fit_head(config: Config, path: Path, named_by_user: bool) -> None:
    """Compute the head in a new folder, which holds a run with its best network and its summary.

    The setting of the head is the one with the lowest error on the validation images, of several the one
    with the lowest loss. Raises ConfigError for a network without a linear head or without validation images.
    """
    splits = config.data.load(config.seed)
    if not len(splits.val):
        raise ConfigError(["data.val_fraction: no validation images, by which job=head chooses its setting"])
    folder = create(path, named_by_user)
    with folder.locked(), recorded_outcome(folder) as outcome:
        try:
            assembled = assemble(config, folder, None, splits)
            name, _ = linear_head(assembled.trainer.network)
        except (ConfigError, DataError):
            folder.discard()
            raise
        write_text(folder.config, stored_config.to_yaml(config))
        outcome.is_recorded = True
        trainer, step = assembled.trainer, assembled.trainer.step
        trainer.recorder.close()
        network, preprocess, compute = step.network, step.preprocess, step.compute
        sized = assembled.parts.config
        print_labelled([f"folder    {folder.path}", *assembled.parts.messages])

        started = time.perf_counter()
        train, val = (
            features_of(network, preprocess, evaluation_batches(images, sized, compute), compute)
            for images in (splits.train, splits.val)
        )
        best = _best_head(config.head, train, val, len(splits.names))
        network.set_submodule(name, best.module.to(compute.device))

        def evaluated(split: str) -> dict[str, float | None]:
            batches = evaluation_batches(splits.parts()[split], sized, compute)
            return evaluate_split(network, preprocess, step.criterion, batches, compute).row(split)

        trainer.progress.best_values = evaluated("val")
        folder.checkpoints.save_best(trainer.trained_state())
        test = evaluated("test") if config.trainer.test else {}
        trainer.progress.wall_seconds = time.perf_counter() - started
        chosen = {"method": config.head.method, "value": best.value, "features": train.values.shape[1]}
        summary = run_summary(config, assembled, FINISHED, test) | {"head": chosen}
        folder.write_summary(summary)
        _print_summary(summary)
        print(f"{folder.path}: {file_names.CONFIG}, {file_names.SUMMARY}, checkpoints/", flush=True)
        found = ", ".join([f"{chosen['method']} {chosen['value']:g}", *primary_metrics(summary)])
        print_result(f"{folder.path}: {found}")


def _best_head(settings: HeadSettings, train: Features, val: Features, classes: int) -> Head:
    """Return the head with the fewest errors on the validation images; print what each setting reaches."""
    if settings.method == "ridge":
        found = list(ridge_heads(train, val, classes, settings.strengths))
    else:
        found = list(neighbour_heads(train, val, classes, settings.neighbours))
        most = len(train.labels)
        too_many = ", ".join(str(count) for count in settings.neighbours if count > most)
        if not found:
            raise ConfigError(
                [f"head.neighbours=[{too_many}]: the training split has {most} images; write [1,{most}]"]
            )
        if too_many:
            print(f"notice    head.neighbours: {too_many} left out, as the training split has {most} images")
    for one in found:
        print(f"{settings.method:<9} {one.value:g}: val accuracy {1 - one.error:.2%}, loss {one.loss:.4f}")
    return min(found, key=lambda one: (one.error, one.loss))


def _print_summary(summary: dict[str, Any]) -> None:
    """Print the chosen setting, and what it reaches on the splits that were evaluated."""
    print(f"\n  chosen     {summary['head']['method']} {summary['head']['value']:g}")
    for split, title in (("val", "validation"), ("test", "test")):
        if f"{split}/loss" in summary:
            accuracy, loss = summary[f"{split}/accuracy"], summary[f"{split}/loss"]
            print(f"  {title:<11}accuracy {accuracy:.2%}, loss {loss:.4f}")
    print(f"  time       {summary['wall_seconds']:.1f} s\n")
