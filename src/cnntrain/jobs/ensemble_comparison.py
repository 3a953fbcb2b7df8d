"""An ensemble beside its members: accuracies, gain, disagreement, calibration (E1 to E3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.batches import Batches
from ..data.image_set import ImageSet
from ..findings.predictions import calibration
from ..prediction.trained import TrainedNetwork
from ..training.device import Compute, move_to_device


@dataclass
class Member:
    """A run in an ensemble: where it came from, its network, its probabilities on each split."""

    source: Path
    trained: TrainedNetwork
    probabilities: dict[str, Tensor]


@torch.inference_mode()
def probabilities_of(member: TrainedNetwork, images: ImageSet, compute: Compute) -> Tensor:
    """Return the probabilities of all images of a split, float32 (N, K)."""
    network, preprocess = member.network.eval(), member.preprocess.to(compute.device)
    move_to_device(network, compute)
    criterion = member.criterion.to(compute.device)
    found = []
    for batch, _ in Batches(images, member.batch_size, compute.device).in_order():
        inputs = preprocess(batch)
        with compute.autocast():
            scores = network(inputs).float()
        found.append(criterion.probabilities(scores).cpu())
    return torch.cat(found)


def greedy(members: list[Member], labels: Tensor) -> list[Member]:
    """Return members added one by one, as long as the ensemble's validation accuracy rises (Caruana 2004)."""
    chosen, rest = [members[0]], members[1:]
    while rest:
        accuracies = [accuracy(mean_of([*chosen, member], "val"), labels) for member in rest]
        best = max(range(len(rest)), key=accuracies.__getitem__)
        if accuracies[best] <= accuracy(mean_of(chosen, "val"), labels):
            break
        chosen.append(rest.pop(best))
    return chosen


def comparison(members: list[Member], labels: dict[str, Tensor]) -> dict[str, Any]:
    """Return the numbers of ensemble.json."""
    content: dict[str, Any] = {"images": {name: len(of_split) for name, of_split in labels.items()}}
    for split, of_split in labels.items():
        own = [accuracy(member.probabilities[split], of_split) for member in members]
        together = mean_of(members, split)
        content[split] = {
            "member_accuracies": own,
            "accuracy": accuracy(together, of_split),
            "gain_over_best": accuracy(together, of_split) - (own[0] if "val" in labels else max(own)),
            "gain_over_mean": accuracy(together, of_split) - sum(own) / len(own),
            "disagreement": _disagreement(members, split),
            "calibration_error": calibration(together, of_split)["error"],
            "mean_calibration_error": sum(
                calibration(member.probabilities[split], of_split)["error"] for member in members
            )
            / len(members),
            "by_number_of_members": [
                accuracy(mean_of(members[:count], split), of_split) for count in range(1, len(members) + 1)
            ],
        }
    return content


def comparison_lines(members: list[Member], content: dict[str, Any]) -> list[str]:
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
            "not compared in validation: the members were validated on different images, as of other seeds"
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


def mean_of(members: list[Member], split: str) -> Tensor:
    return torch.stack([member.probabilities[split] for member in members]).mean(0)


def accuracy(probabilities: Tensor, labels: Tensor) -> float:
    return (probabilities.argmax(1) == labels).double().mean().item()


def _disagreement(members: list[Member], split: str) -> float:
    """Return the fraction of images on which two members differ, the mean over all pairs."""
    predicted = torch.stack([member.probabilities[split].argmax(1) for member in members])
    count = len(members)
    if count < 2:
        return 0.0
    pairs = [(predicted[i] != predicted[j]).float().mean() for i in range(count) for j in range(i)]
    return torch.stack(pairs).mean().item()
