"""The network of an earlier run, rebuilt from its checkpoint."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ..config import stored_config
from ..config.resolve_network_input import resolve_network_input
from ..errors import ConfigError, DataError
from ..loss.criterion import Criterion
from ..model.nearest_neighbours import restore_head
from ..runs.checkpoint import State, read
from ..runs.checkpoint_schema import RunState, TrainedState
from ..runs.file_names import CHECKPOINTS, CONFIG, LAST, PREVIOUS
from ..runs.run_folder import RunFolder
from ..settings.config_tree import Config
from .restore import check_configuration, rebuild_network, restore_criterion


def read_trained(path: Path, setting: str = "run") -> tuple[Config, State]:
    """Return configuration and best checkpoint of the run in a folder, or those of a checkpoint file.

    A checkpoint holds the configuration; that of its run, if it lies in one, must not contradict it. setting:
    what named the path, for messages. Raises DataError.
    """
    if path.suffix == ".pt":
        schema = RunState if path.name in (LAST, PREVIOUS) else TrainedState
        file, path, state = path, path.parent.parent, read(path, schema)
    else:
        stored_config.read(path, setting)  # says what the folder is, if it is no run's
        file, state = None, RunFolder(path).checkpoints.load_best()
    if file is not None and not (file.parent.name == CHECKPOINTS and (path / CONFIG).is_file()):
        config = stored_config.from_yaml(state["config"], str(file))
    else:
        config = stored_config.read(path, setting)
        check_configuration(config, state, path)
    return config, state


def restore_network(config: Config, state: State, weights: str = "best") -> tuple[nn.Module, Criterion]:
    """Return the network of a configuration with a checkpoint's weights, and the loss it was trained with.

    weights: "best", or of the same epoch "last_step" or "average" (E4). Raises DataError if the checkpoint
    does not fit the network, ConfigError if it does not have these weights.
    """
    criterion = restore_criterion(config, state["names"], state, "checkpoint")
    network_input = resolve_network_input(config, tuple(state["image_shape"]))
    network = rebuild_network(config, criterion, network_input)
    if weights != "best":
        stored_weights = state.get(f"network_of_{weights}")
        if stored_weights is None and weights == "last_step" and config.averaging.name != "none":
            stored_weights = state["network"]  # of an epoch before the average began
        if stored_weights is None:
            why = (
                "this run has no averaged weights"
                if config.averaging.name == "none"
                else "the average had not begun in the best epoch"
            )
            raise ConfigError([f"evaluate.weights={weights}: {why}; write best"])
        state = state | {"network": stored_weights}
    load_weights(network, state)
    return network, criterion


def load_weights(network: nn.Module, state: State) -> None:
    """Load a checkpoint's weights into a network; raises DataError if they do not fit."""
    restore_head(network, state["network"])
    try:
        network.load_state_dict(state["network"])
    except (RuntimeError, TypeError, AttributeError, LookupError, ValueError) as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise DataError(f"the checkpoint does not fit the network of the configuration: {reason}") from error
