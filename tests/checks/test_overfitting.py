"""The verdict of job=check on learning a few images by heart, from how far the attempts came."""

from __future__ import annotations

import pytest

from cnntrain.checks.overfitting import Memorized, overfitting_result


@pytest.mark.parametrize(
    ("metric_name", "of_own", "of_adam", "passed"),
    [
        ("accuracy", 0.95, 0.95, False),
        ("accuracy", 0.1, 1.0, None),
        ("accuracy", 1.0, 0.95, None),
        ("mae", 1.0, 1.0, False),
    ],
)
def test_a_network_that_classifies_all_images_correctly_is_not_called_unable_to_learn_them(
    metric_name: str, of_own: float, of_adam: float, passed: bool | None
) -> None:
    own = Memorized(2.28, 0.3, of_own, 1000, complete=False)
    adam = Memorized(2.28, 0.12, of_adam, 1000, complete=False)
    assert overfitting_result(20, metric_name, own, adam).passed is passed
