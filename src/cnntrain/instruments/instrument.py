"""What an instrument is, and the instruments of a run: the loop asks all of them and knows none by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from ..logger.sink import Row


class Instrument:
    """A measurement of single updates; its results stay on the device until `row` reads them.

    It changes neither weights nor gradients nor random numbers: training is the same to the bit without it.
    """

    def around_step(self) -> AbstractContextManager[object]:
        """Return the context in which the forward and backward passes of a measured step are made."""
        return nullcontext()

    def around_update(self) -> AbstractContextManager[object]:
        """Return the context in which the weights are updated; gradients include penalties, unclipped."""
        return nullcontext()

    def row(self) -> Row:
        """Return the results of the last measured step by name; waits for the device."""
        raise NotImplementedError


class SplitInstrument:
    """A measurement over the validation split, made while the network is evaluated on it."""

    def around_split(self) -> AbstractContextManager[object]:
        """Return the context in which the network is evaluated."""
        raise NotImplementedError

    def row(self) -> Row:
        """Return the results of the last evaluation by name; waits for the device."""
        raise NotImplementedError


class Instruments:
    """The instruments of a run: those of recorded steps, and those of each epoch's validation."""

    def __init__(self, of_steps: Sequence[Instrument] = (), of_splits: Sequence[SplitInstrument] = ()):
        self._of_steps = of_steps
        self._of_splits = of_splits

    @contextmanager
    def around_step(self, recording: bool) -> Iterator[None]:
        """Measure a step made inside the context, if it is recorded."""
        with ExitStack() as stack:
            for instrument in self._of_steps if recording else ():
                stack.enter_context(instrument.around_step())
            yield

    @contextmanager
    def around_update(self, recording: bool) -> Iterator[None]:
        """Measure an update made inside the context, if it is recorded."""
        with ExitStack() as stack:
            for instrument in self._of_steps if recording else ():
                stack.enter_context(instrument.around_update())
            yield

    @contextmanager
    def around_split(self) -> Iterator[None]:
        """Measure an evaluation made inside the context."""
        with ExitStack() as stack:
            for instrument in self._of_splits:
                stack.enter_context(instrument.around_split())
            yield

    def step_row(self) -> Row:
        """Return the results of the last recorded step by name."""
        return {name: value for instrument in self._of_steps for name, value in instrument.row().items()}

    def split_row(self) -> Row:
        """Return the results of the last evaluation by name."""
        return {name: value for instrument in self._of_splits for name, value in instrument.row().items()}
