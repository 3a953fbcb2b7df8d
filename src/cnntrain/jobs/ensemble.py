"""job=ensemble: runs whose predictions are averaged, beside each of them and averaged weights (E1 to E4)."""

from __future__ import annotations

import copy
import glob
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..assemble.parts import training_batches
from ..averaging.average import recomputed_batch_norm
from ..config import stored_config
from ..data.batches import Batches
from ..data.image_set import ImageSet
from ..data.splits import Splits
from ..errors import ConfigError, DataError
from ..findings.predictions import calibration
from ..model.fine_tuning import training_mode
from ..output_streams import print_labelled
from ..prediction.ensemble import check_members, load_ensemble
from ..prediction.trained import TrainedNetwork, load_trained
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.run_folder import RunFolder, create
from ..runs.sweep_folder import SweepFolder
from ..runs.sweep_ranking import leaderboard
from ..seeding import seed_torch
from ..settings.config_tree import Config
from ..settings.fields import expanded
from ..training.device import Compute, move_to_device, prepare
from .evaluate import with_labels_of

MEMBERS, SOUP = "members", "soup"
# Batches over which batch-norm statistics of averaged weights are computed.
SOUP_BATCHES = 100


@dataclass
class Member:
    """A run in an ensemble: where it came from, its network, its probabilities on each split."""

    source: Path
    trained: TrainedNetwork
    probabilities: dict[str, Tensor]


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
                    "ensemble.selection=greedy: members have no validation images in common, as runs of "
                    "other seeds validate on other images; write all"
                ]
            )
        del parts["val"]
    members = [
        Member(source, one, {split: _probabilities(one, part, compute) for split, part in parts.items()})
        for source, one in zip(sources, trained, strict=True)
    ]
    labels = {split: part.labels for split, part in parts.items()}
    if "val" in labels:
        members.sort(key=lambda member: -_accuracy(member.probabilities["val"], labels["val"]))
    chosen = _greedy(members, labels["val"]) if config.ensemble.selection == "greedy" else members

    folder = create(path, named_by_user, with_checkpoints=False)
    with folder.locked():
        content = _content(chosen, labels)
        content["members"] = [_store(member, folder.path, number) for number, member in enumerate(chosen)]
        if config.ensemble.soup:
            content["soup"] = _soup(chosen, splits, parts, compute, folder.path)
        write_text(folder.path / file_names.ENSEMBLE, json.dumps(content, indent=1) + "\n")
        print_labelled([f"folder    {folder.path}"])
        print("\n".join(_lines(chosen, content)), flush=True)


def evaluate_ensemble(path: Path, split: str) -> None:
    """Print and store the accuracy of an ensemble on a split of its first member's data."""
    ensemble = load_ensemble(path)
    compute = prepare(ensemble.config.trainer)
    images, names = ensemble.config.data.load_split(split, ensemble.config.seed)
    images = with_labels_of(images, names, ensemble.names, ensemble.config)
    if not len(images):
        raise ConfigError([f"evaluate.split={split}: this data set has no {split} images"])
    together = torch.stack([_probabilities(member, images, compute) for member in ensemble.members]).mean(0)
    content = {
        "split": split,
        "images": len(images),
        "accuracy": _accuracy(together, images.labels),
        "calibration": calibration(together, images.labels),
    }
    file = path / f"evaluate-{split}.json"
    write_text(file, json.dumps(content, indent=1) + "\n")
    print(f"{split}: {len(images)} images, accuracy {content['accuracy']:.2%}\n{file}", flush=True)


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
        found += [run for run in runs if run not in found]
    if len(found) < 2:
        raise ConfigError(
            [
                "ensemble.members: an ensemble needs two runs at least: ensemble.members=[FOLDER,FOLDER], "
                "[FOLDER/*], or run=SWEEP"
            ]
        )
    return found


def _of_sweep(sweep: Path, config: Config) -> list[Path]:
    """Return the best jobs of a sweep, by validation; raises DataError."""
    if config.ensemble.members:
        raise ConfigError(["ensemble.members: run=SWEEP names the members; leave one of the two out"])
    entries = leaderboard(SweepFolder(sweep).jobs())
    jobs = [job for entry in entries if entry.values for job in entry.jobs]
    if len(jobs) < 2:
        raise DataError(f"run={sweep}: has fewer than two jobs with a result")
    return [sweep / job for job in jobs[: config.ensemble.best]]


@torch.inference_mode()
def _probabilities(member: TrainedNetwork, images: ImageSet, compute: Compute) -> Tensor:
    """Return the probabilities of all images of a split, float32 (N, K)."""
    network, preprocess = member.network.eval(), member.preprocess.to(compute.device)
    move_to_device(network, compute)
    criterion = member.criterion.to(compute.device)
    found = []
    for batch, _ in Batches(images, member.config.data.batch_size, compute.device).in_order():
        inputs = preprocess(batch)
        with compute.autocast():
            scores = network(inputs).float()
        found.append(criterion.probabilities(scores).cpu())
    return torch.cat(found)


def _greedy(members: list[Member], labels: Tensor) -> list[Member]:
    """Return members added one by one, as long as the ensemble's validation accuracy rises (Caruana 2004)."""
    chosen, rest = [members[0]], members[1:]
    while rest:
        accuracies = [_accuracy(_mean([*chosen, member], "val"), labels) for member in rest]
        best = max(range(len(rest)), key=accuracies.__getitem__)
        if accuracies[best] <= _accuracy(_mean(chosen, "val"), labels):
            break
        chosen.append(rest.pop(best))
    return chosen


def _content(members: list[Member], labels: dict[str, Tensor]) -> dict[str, Any]:
    """Return the numbers of ensemble.json."""
    content: dict[str, Any] = {"images": {name: len(of_split) for name, of_split in labels.items()}}
    for split, of_split in labels.items():
        own = [_accuracy(member.probabilities[split], of_split) for member in members]
        together = _mean(members, split)
        content[split] = {
            "member_accuracies": own,
            "accuracy": _accuracy(together, of_split),
            "gain_over_best": _accuracy(together, of_split) - (own[0] if "val" in labels else max(own)),
            "gain_over_mean": _accuracy(together, of_split) - sum(own) / len(own),
            "disagreement": _disagreement(members, split),
            "calibration_error": calibration(together, of_split)["error"],
            "mean_calibration_error": sum(
                calibration(member.probabilities[split], of_split)["error"] for member in members
            )
            / len(members),
            "by_number_of_members": [
                _accuracy(_mean(members[:count], split), of_split) for count in range(1, len(members) + 1)
            ],
        }
    return content


def _store(member: Member, folder: Path, number: int) -> dict[str, Any]:
    """Copy what loading a member needs into the ensemble's folder; return its entry of ensemble.json."""
    own, is_file = folder / MEMBERS / f"{number:02d}", member.source.suffix == ".pt"
    run = member.source.parent.parent if is_file else member.source
    checkpoint = member.source if is_file else run / file_names.CHECKPOINTS / file_names.BEST
    try:
        (own / file_names.CHECKPOINTS).mkdir(parents=True)
        shutil.copyfile(run / file_names.CONFIG, own / file_names.CONFIG)
        shutil.copyfile(checkpoint, own / file_names.CHECKPOINTS / file_names.BEST)
    except OSError as error:
        raise DataError(f"{own}: could not be written ({error.strerror})") from error
    return {"folder": own.relative_to(folder).as_posix(), "source": str(member.source.absolute())}


def _soup(
    members: list[Member], splits: Splits, parts: dict[str, ImageSet], compute: Compute, folder: Path
) -> dict[str, Any]:
    """Average weights: of all members, and greedily; store the better by validation as a run (Wortsman 2022).

    Returns the reason where they cannot be averaged. Weights from different initial ones hardly ever can.
    """
    if "val" not in parts:
        return {"reason": "there are no validation images in common by which to choose them"}
    first = members[0].trained
    shapes = [
        {name: tensor.shape for name, tensor in member.trained.network.state_dict().items()}
        for member in members
    ]
    if any(of_member != shapes[0] for of_member in shapes):
        return {"reason": "members have other networks, whose weights cannot be averaged"}
    states = [
        {name: tensor.detach().cpu() for name, tensor in member.trained.network.state_dict().items()}
        for member in members
    ]
    everyone = list(range(len(members)))

    def averaged(chosen: list[int]) -> TrainedNetwork:
        network = copy.deepcopy(first)
        network.network.load_state_dict(_mean_state([states[number] for number in chosen]))
        _recompute_batch_norm(network, splits, compute)
        return network

    def accuracy(network: TrainedNetwork, split: str) -> float:
        return _accuracy(_probabilities(network, parts[split], compute), parts[split].labels)

    uniform = averaged(everyone)
    best, chosen, highest = first, [0], accuracy(first, "val")
    for number in everyone[1:]:
        candidate = averaged([*chosen, number])
        if (found := accuracy(candidate, "val")) >= highest:
            best, chosen, highest = candidate, [*chosen, number], found
    if (of_all := accuracy(uniform, "val")) > highest:
        best, chosen, highest = uniform, everyone, of_all
    _store_soup(best, folder)
    return {
        "members": chosen,
        "val_accuracy": highest,
        "uniform_val_accuracy": of_all,
        "test_accuracy": accuracy(best, "test"),
        "folder": SOUP,
    }


def _mean_state(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of weights; whole numbers, such as counts of batches, are those of the first."""
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if tensor.is_floating_point() else tensor
        for name, tensor in states[0].items()
    }


@torch.no_grad()
def _recompute_batch_norm(trained: TrainedNetwork, splits: Splits, compute: Compute) -> None:
    """Recompute the batch-norm statistics of averaged weights over training batches, in place."""
    network, config = trained.network, trained.config
    move_to_device(network, compute)
    trained.preprocess.to(compute.device)
    with recomputed_batch_norm(network, enabled=True) as norms:
        if norms:
            training_mode(network)
            seed_torch(config.seed, "batch norm of the average", 0)
            batches = training_batches(config, splits.train, compute.device)
            for images, _ in batches.epoch(0, 0, min(len(batches), SOUP_BATCHES)):
                with compute.autocast():
                    network(trained.preprocess(images))
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(state)
    network.eval()


def _store_soup(soup: TrainedNetwork, folder: Path) -> None:
    """Store averaged weights as a run's folder, which evaluate and cnntrain.load take."""
    run = RunFolder(folder / SOUP)
    state = RunFolder(folder / MEMBERS / "00").checkpoints.load_best()
    weights = {name: tensor.cpu().contiguous() for name, tensor in soup.network.state_dict().items()}
    try:
        run.path.mkdir()
    except OSError as error:
        raise DataError(f"{run.path}: cannot be created ({error.strerror})") from error
    run.checkpoints.make()
    write_text(run.config, stored_config.to_yaml(soup.config))
    run.checkpoints.save_best(
        {name: value for name, value in state.items() if not name.startswith("network_of_")}
        | {"network": weights}
    )


def _mean(members: list[Member], split: str) -> Tensor:
    return torch.stack([member.probabilities[split] for member in members]).mean(0)


def _accuracy(probabilities: Tensor, labels: Tensor) -> float:
    return (probabilities.argmax(1) == labels).float().mean().item()


def _disagreement(members: list[Member], split: str) -> float:
    """Return the fraction of images on which two members differ, the mean over all pairs."""
    predicted = torch.stack([member.probabilities[split].argmax(1) for member in members])
    count = len(members)
    if count < 2:
        return 0.0
    pairs = [(predicted[i] != predicted[j]).float().mean() for i in range(count) for j in range(i)]
    return torch.stack(pairs).mean().item()


def _lines(members: list[Member], content: dict[str, Any]) -> list[str]:
    """Return what is printed: each member, the ensemble, the averaged weights."""
    val, test = content.get("val"), content["test"]
    of_val = [None] * len(members) if val is None else val["member_accuracies"]
    lines = ["", f"{'':40}  val accuracy  test accuracy"]
    for member, *accuracies in zip(members, of_val, test["member_accuracies"], strict=True):
        lines.append(_row(str(member.source)[-40:], *accuracies))
    lines.append(_row(f"ensemble of {len(members)}", val and val["accuracy"], test["accuracy"]))
    soup = content.get("soup", {})
    if "reason" in soup:
        lines.append(f"averaged weights: none, as {soup['reason']}")
    elif soup:
        name = f"averaged weights of {len(soup['members'])} (soup)"
        lines.append(_row(name, soup["val_accuracy"], soup["test_accuracy"]))
    if val is None:
        lines.append(
            "not compared in validation: the members, of other seeds, were validated on other images"
        )
    counts = ", ".join(f"{accuracy:.2%}" for accuracy in test["by_number_of_members"])
    which = "best member in validation" if val is not None else "best member"
    return [
        *lines,
        "",
        f"test split: {test['gain_over_best']:+.2%} over the {which}, {test['gain_over_mean']:+.2%} over the "
        f"mean; two members differ on {test['disagreement']:.1%} of the images",
        f"calibration error {test['calibration_error']:.2%}, members {test['mean_calibration_error']:.2%}",
        f"test accuracy by number of members: {counts}",
    ]


def _row(name: str, val: float | None, test: float) -> str:
    return f"{name:40}  {'–' if val is None else f'{val:.2%}':>12}  {test:13.2%}"
