"""What an instrument is, and the instruments of a run: the loop asks all of them and knows none by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from ..runs.metrics_file import Row

# Called with a list of one value in each process, it returns the values of all in the first, [] in others.
Gather = Callable[[list[Any]], list[Any]]
# The parts of training that can be followed by name (`Instruments.around_part`).
DATA, PREPROCESSING, FORWARD, LOSS, BACKWARD = "data", "preprocessing", "forward", "loss", "backward"
UPDATE, EVALUATE, CHECKPOINT = "update", "evaluate", "checkpoint"
AroundPart = Callable[[str], AbstractContextManager[object]]


def not_followed(part: str) -> AbstractContextManager[object]:
    """Return the context around a part of training that nobody follows."""
    return _NOT_FOLLOWED


_NOT_FOLLOWED = nullcontext()


class Instrument:
    """A measurement of single updates; its results stay on the device until `row` reads them.

    It changes neither weights nor gradients nor random numbers: training is the same to the bit without it.
    of_part: whether it measures the part of a batch that one of several processes has.
    """

    of_part: ClassVar[bool] = False

    def due(self, step: int, recording: bool) -> bool:
        """Return whether the update after `step` updates is measured; by default, if it is recorded."""
        return recording

    def around_step(self, step: int) -> AbstractContextManager[object]:
        """Return the context in which a measured step is made, forward pass to update."""
        return nullcontext()

    def around_update(self) -> AbstractContextManager[object]:
        """Return the context in which the weights are updated; gradients include penalties, unclipped."""
        return nullcontext()

    def measured(self) -> Any:
        """Return what was measured in the last step, if it is of a part."""
        raise NotImplementedError

    def join(self, parts: Sequence[Any]) -> None:
        """Replace it by what all processes have measured, in the order of their parts."""
        raise NotImplementedError

    def row(self) -> Row:
        """Return the results of the last measured step for metrics.jsonl; waits for the device."""
        return {}


class TensorInstrument(Instrument):
    """A measurement of each trained tensor; names: of the tensors, weights: the tensors."""

    def __init__(self, network: nn.Module):
        named = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
        self.names = [name for name, _ in named]
        self.weights: list[Tensor] = [weight for _, weight in named]


class SplitInstrument:
    """A measurement over the validation split, made while the network is evaluated on it."""

    def around_split(self) -> AbstractContextManager[object]:
        """Return the context in which the network is evaluated."""
        raise NotImplementedError

    def measured(self) -> Any:
        """Return what was measured in the last evaluation, in one of several processes of its part."""
        raise NotImplementedError

    def join(self, parts: Sequence[Any]) -> None:
        """Replace it by what all processes have measured, in the order of their parts."""
        raise NotImplementedError

    def row(self) -> Row:
        """Return the results of the last evaluation by name; waits for the device."""
        raise NotImplementedError


class Instruments:
    """The instruments of a run: those of steps, and those of each epoch's validation.

    around_part: returns the context in which a part of training takes place, such as FORWARD.
    """

    def __init__(self, of_steps: Sequence[Instrument] = (), of_splits: Sequence[SplitInstrument] = ()):
        self._of_steps = list(of_steps)
        self._of_splits = of_splits
        self.around_part: AroundPart = not_followed

    def add(self, instrument: Instrument) -> None:
        """Add an instrument of steps."""
        self._of_steps.append(instrument)

    def around_step(self, step: int, recording: bool) -> AbstractContextManager[object]:
        """Return the context in which the step after `step` updates is measured by the instruments due."""
        return _all(partial(one.around_step, step) for one in self._of_steps if one.due(step, recording))

    def around_update(self, step: int, recording: bool) -> AbstractContextManager[object]:
        """Return the context in which its update is measured."""
        return _all(one.around_update for one in self._of_steps if one.due(step, recording))

    def around_split(self) -> AbstractContextManager[object]:
        """Return the context in which an evaluation is measured."""
        return _all(one.around_split for one in self._of_splits)

    def join_step(self, gather: Gather) -> None:
        """Let the first of several processes have what all have measured of parts of a step."""
        _join([one for one in self._of_steps if one.of_part], gather)

    def join_split(self, gather: Gather) -> None:
        """Let the first of several processes have what all have measured of parts of a split."""
        _join(self._of_splits, gather)

    def step_row(self) -> Row:
        """Return the results of the last recorded step by name."""
        return {name: value for instrument in self._of_steps for name, value in instrument.row().items()}

    def split_row(self) -> Row:
        """Return the results of the last evaluation by name."""
        return {name: value for instrument in self._of_splits for name, value in instrument.row().items()}


def _join(instruments: Sequence[Instrument | SplitInstrument], gather: Gather) -> None:
    parts = gather([[one.measured() for one in instruments]])
    if len(parts) > 1:
        for number, one in enumerate(instruments):
            one.join([part[number] for part in parts])


@contextmanager
def _all(contexts: Iterable[Callable[[], AbstractContextManager[object]]]) -> Iterator[None]:
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context())
        yield
