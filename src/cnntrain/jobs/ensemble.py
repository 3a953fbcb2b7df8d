"""job=ensemble: runs whose predictions are averaged, beside each of them and averaged weights (E1 to E4)."""

from __future__ import annotations

import glob
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError, DataError
from ..findings.predictions import calibration
from ..loss.class_losses import scores_of
from ..metrics.class_metrics import ClassMetrics
from ..output_streams import print_labelled, print_result
from ..prediction.ensemble import check_members, load_ensemble
from ..prediction.trained import TrainedNetwork, load_trained
from ..report.evaluation_table import evaluation_lines
from ..report.predictions_file import predictions_file, writes_predictions
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.run_folder import create
from ..runs.sweep_folder import SweepFolder
from ..runs.sweep_ranking import leaderboard
from ..settings.config_tree import Config
from ..settings.fields import expanded
from ..training.device import prepare
from .ensemble_comparison import (
    Member,
    accuracy,
    comparison,
    comparison_lines,
    greedy,
    probabilities_of,
)
from .evaluate import with_labels_of
from .soup import make_soup


def make_ensemble(config: Config, sweep: Path | None, path: Path, named_by_user: bool) -> None:
    """Average the predictions of runs, compare them and store the ensemble in a new folder.

    sweep: the folder of a sweep whose best jobs are taken, None for the runs in ensemble.members. Raises
    ConfigError and DataError where the members cannot be averaged.
    """
    sources = _of_sweep(sweep, config) if sweep is not None else _found(config.ensemble.members)
    trained = [load_trained(source) for source in sources]
    check_members(trained, [str(source) for source in sources])
    first = trained[0].config
    if first.data.target_kind() != "classes":
        raise ConfigError(["job=ensemble: compares classifiers; of attributes and values, use cnntrain.load"])
    compute = prepare(config.trainer)
    splits = first.data.load(first.seed)
    parts = {
        split: with_labels_of(images, splits.names, trained[0].names, first)
        for split, images in (("val", splits.val), ("test", splits.test))
    }
    if not len(parts["val"]) or not _same_validation(trained):
        if config.ensemble.selection == "greedy":
            raise ConfigError(
                [
                    "ensemble.selection=greedy: members have no validation images in common, as runs with "
                    "another seed, data.limit or data.val_fraction validate on other images; write all"
                ]
            )
        del parts["val"]
    members = [
        Member(source, one, {split: probabilities_of(one, part, compute) for split, part in parts.items()})
        for source, one in zip(sources, trained, strict=True)
    ]
    labels = {split: part.labels for split, part in parts.items()}
    if "val" in labels:
        members.sort(key=lambda member: -accuracy(member.probabilities["val"], labels["val"]))
    chosen = greedy(members, labels["val"]) if config.ensemble.selection == "greedy" else members

    folder = create(path, named_by_user, with_checkpoints=False)
    with folder.locked():
        content = comparison(chosen, labels)
        content["members"] = [_store(member, folder.path, number) for number, member in enumerate(chosen)]
        if config.ensemble.soup:
            content["soup"] = make_soup(chosen, splits, parts, compute, folder.path)
        write_text(folder.path / file_names.ENSEMBLE, json.dumps(content, indent=1) + "\n")
        print_labelled([f"folder    {folder.path}"])
        print("\n".join(comparison_lines(chosen, content)), flush=True)
        test = content["test"]["accuracy"]
        print_result(f"{folder.path}: ensemble of {len(chosen)}, test accuracy {test:.2%}")


def evaluate_ensemble(path: Path, split: str) -> None:
    """Print and store the metrics and predictions of an ensemble on a split of its first member's data."""
    ensemble = load_ensemble(path)
    compute = prepare(ensemble.config.trainer)
    images, names, notices = ensemble.config.data.load_split(split, ensemble.config.seed)
    if notices:
        print_labelled([f"notice    {notice}" for notice in notices])
    images = with_labels_of(images, names, ensemble.names, ensemble.config)
    if not len(images):
        raise ConfigError([f"evaluate.split={split}: this data set has no {split} images"])
    together = torch.stack([probabilities_of(member, images, compute) for member in ensemble.members]).mean(0)
    metrics = ClassMetrics(ensemble.names)
    metrics.add(scores_of(together), images.labels)
    result = metrics.result()
    file = path / f"evaluate-{split}.json"
    files = [file]
    if writes_predictions(None, ensemble.names):
        files.append(file.with_suffix(".csv"))
        with predictions_file(files[-1], images, "classes", ensemble.names, ensemble.rejects) as rows:
            rows.add(together, together.argmax(1))
    content = {
        "split": split,
        "images": len(images),
        **result.values,
        "calibration": calibration(together, images.labels),
        "names": ensemble.names,
        **result.details,
    }
    write_text(file, json.dumps(content, indent=1, allow_nan=False) + "\n")
    title = f"{split}: {len(images)} images"
    print("\n".join(evaluation_lines(title, result.values, result.details, ensemble.names)) + "\n")
    print("\n".join(map(str, files)), flush=True)


def _same_validation(trained: list[TrainedNetwork]) -> bool:
    """Return whether all networks were validated on the same images; on others, some of them were trained."""
    fingerprints = [json.dumps(network.data.get("val"), sort_keys=True) for network in trained]
    return len(set(fingerprints)) == 1


def _found(patterns: list[str]) -> list[Path]:
    """Return the folders that patterns match, each once; raises ConfigError."""
    found: list[Path] = []
    for pattern in patterns:
        matches = sorted(Path(match) for match in glob.glob(str(expanded(pattern))))
        runs = [match for match in matches if match.suffix == ".pt" or (match / file_names.CONFIG).is_file()]
        if not runs:
            raise ConfigError([f"ensemble.members: {pattern}: matches no folder of a run, and no checkpoint"])
        found += [run for run in runs if _network_file(run) not in map(_network_file, found)]
    if len(found) < 2:
        raise ConfigError(
            [
                "ensemble.members: an ensemble needs two runs at least: ensemble.members=[FOLDER,FOLDER], "
                "[FOLDER/*], or run=SWEEP"
            ]
        )
    return found


def _network_file(source: Path) -> Path:
    """Return the checkpoint that a folder of a run, or the checkpoint itself, stands for."""
    is_file = source.suffix == ".pt"
    return (source if is_file else source / file_names.CHECKPOINTS / file_names.BEST).resolve()


def _of_sweep(sweep: Path, config: Config) -> list[Path]:
    """Return the best jobs of a sweep, by validation; raises DataError."""
    if config.ensemble.members:
        raise ConfigError(["ensemble.members: run=SWEEP names the members; leave one of the two out"])
    entries = leaderboard(SweepFolder(sweep).jobs())
    jobs = [job for entry in entries if entry.values for job in entry.jobs]
    if len(jobs) < 2:
        raise DataError(f"run={sweep}: has fewer than two jobs with a result")
    return [sweep / job for job in jobs[: config.ensemble.best]]


def _store(member: Member, folder: Path, number: int) -> dict[str, Any]:
    """Copy what loading a member needs into the ensemble's folder; return its entry of ensemble.json."""
    own, is_file = folder / file_names.MEMBERS / f"{number:02d}", member.source.suffix == ".pt"
    run = member.source.parent.parent if is_file else member.source
    checkpoint = member.source if is_file else run / file_names.CHECKPOINTS / file_names.BEST
    try:
        (own / file_names.CHECKPOINTS).mkdir(parents=True)
        shutil.copyfile(run / file_names.CONFIG, own / file_names.CONFIG)
        shutil.copyfile(checkpoint, own / file_names.CHECKPOINTS / file_names.BEST)
    except OSError as error:
        raise DataError(f"{own}: could not be written ({error.strerror})") from error
    return {"folder": own.relative_to(folder).as_posix(), "source": str(member.source.absolute())}
