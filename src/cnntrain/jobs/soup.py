"""Averaged weights of an ensemble's members, all of them or those that fit together: a soup (E4)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..assemble.parts import training_batches
from ..averaging.average import recomputed_batch_norm
from ..config import stored_config
from ..config.resolve_batch_size import with_batch_size
from ..data.image_set import ImageSet
from ..data.splits import Splits
from ..errors import DataError
from ..model.fine_tuning import training_mode
from ..prediction.trained import TrainedNetwork
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.run_folder import RunFolder
from ..seeding import seed_torch
from ..training.device import Compute, move_to_device
from .ensemble_comparison import Member, accuracy, probabilities_of

# Batches over which batch-norm statistics of averaged weights are computed.
SOUP_BATCHES = 100


def make_soup(
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

    def accuracy_of(network: TrainedNetwork, split: str) -> float:
        return accuracy(probabilities_of(network, parts[split], compute), parts[split].labels)

    uniform = averaged(everyone)
    best, chosen, highest = first, [0], accuracy_of(first, "val")
    for number in everyone[1:]:
        candidate = averaged([*chosen, number])
        if (found := accuracy_of(candidate, "val")) >= highest:
            best, chosen, highest = candidate, [*chosen, number], found
    if (of_all := accuracy_of(uniform, "val")) > highest:
        best, chosen, highest = uniform, everyone, of_all
    _store_soup(best, folder)
    return {
        "members": chosen,
        "val_accuracy": highest,
        "uniform_val_accuracy": of_all,
        "test_accuracy": accuracy_of(best, "test"),
        "folder": file_names.SOUP,
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
            sized = with_batch_size(config, len(splits.train))
            batches = training_batches(sized, splits.train, compute.device)
            for images, _ in batches.epoch(0, 0, min(len(batches), SOUP_BATCHES)):
                with compute.autocast():
                    network(trained.preprocess(images))
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(state)
    network.eval()


def _store_soup(soup: TrainedNetwork, folder: Path) -> None:
    """Store averaged weights as a run's folder, which evaluate and cnntrain.load take."""
    run = RunFolder(folder / file_names.SOUP)
    state = RunFolder(folder / file_names.MEMBERS / "00").checkpoints.load_best()
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
