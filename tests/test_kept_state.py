"""State of the process on which training depends: put back and named where it was changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cnntrain.kept_state import PARTS, set_for_run, state_kept

OTHERS: dict[str, Any] = {
    "torch's default dtype": torch.float64,
    "torch's default device": torch.device("meta"),
    "whether torch computes gradients": False,
    "the number of torch's threads": 3,
    "whether torch's algorithms are deterministic": (True, True),
}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_each_part_is_put_back_and_named_also_after_an_exception(part: Any, tmp_path: Path) -> None:
    before = part.read()
    other = OTHERS.get(part.name, not before if isinstance(before, bool) else str(tmp_path))

    def fail(change: Callable[[], Any]) -> None:
        change()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), state_kept() as changed:
        fail(lambda: part.write(other))
    assert changed == [part.name]
    assert part.read() == before


def test_a_run_begins_with_the_defaults_of_torch() -> None:
    with state_kept():
        for part in PARTS:
            if part.of_run is not None:
                part.write(OTHERS[part.name])
        set_for_run()
        assert torch.zeros(1).dtype == torch.float32
        assert torch.zeros(1).device == torch.device("cpu")
        assert torch.is_grad_enabled()
