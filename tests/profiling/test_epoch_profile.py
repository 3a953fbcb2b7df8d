"""The time of an epoch reckoned from measured seconds, and the advice on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from cnntrain.assemble.run import build_parts
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.instruments.instrument import BACKWARD, CHECKPOINT, DATA, EVALUATE, FORWARD, UPDATE
from cnntrain.profiling.advice import advice
from cnntrain.profiling.epoch_profile import EpochCounts, EpochProfile, epoch_profile
from cnntrain.profiling.layer_hooks import MEASURING, LayerTraffic
from cnntrain.profiling.machine_speed import MachineSpeed
from cnntrain.profiling.measure import (
    AUGMENTATION,
    DIVIDED,
    FIRST_BATCH,
    PLAIN,
    RECORDED,
    RECORDS,
    Measured,
)

# Of two divided steps, two plain ones, and one that is recorded.
SECONDS = {
    DIVIDED: 0.2,
    DATA: 0.4,
    FORWARD: 0.6,
    (FORWARD, "0"): 2.0,
    BACKWARD: 0.8,
    (BACKWARD, "0"): 4.0,
    UPDATE: 1.0,
    MEASURING: 1.0,
    PLAIN: 8.0,
    RECORDED: 6.0,
    FIRST_BATCH: 3.0,
    RECORDS: 0.5,
    EVALUATE: 7.0,
    CHECKPOINT: 0.25,
}


def profile_of(seconds: dict[object, float]) -> EpochProfile:
    """Return the profile of 10 updates from these seconds, with 3 records and 40 validation images."""
    steps = {DIVIDED: 2, PLAIN: 2, RECORDED: 1}
    traffic = {"0": LayerTraffic(bytes=2000, products=2)}
    measured = Measured(seconds, steps, evaluated=20, traffic=traffic)  # type: ignore[arg-type]
    counts = EpochCounts(steps=10, images=80, records=3, val_images=40, checkpoints=1)
    network = nn.Sequential(nn.Linear(3, 5))
    return epoch_profile(measured, counts, network, {"0": 15}, MachineSpeed(flops=100, bytes=1000))


def test_parts_of_an_epoch_follow_from_measured_steps() -> None:
    profile = profile_of(SECONDS)
    assert profile.parts == pytest.approx(
        {
            "other": 10 * 0.1,
            DATA: 10 * 0.2 + 3,
            FORWARD: 10 * 1.3,
            BACKWARD: 10 * 2.4,
            UPDATE: 10 * 0.5,
            RECORDS: 3 * (6 - 4) + 0.5,
            EVALUATE: 2 * 7,
            CHECKPOINT: 2 * 0.25,
        }
    )
    # A divided step takes 4.5 s and 0.5 s for the hooks, a plain one 4 s.
    assert profile.distortion == pytest.approx(4.5 / 4 - 1)
    assert profile.hooks == pytest.approx(5 / 4 - 1)
    (layer,) = profile.layers
    assert (layer.forward, layer.backward) == (10, 20)
    assert layer.of_product == pytest.approx(2 * 15 * 2 * 80 / 30 / 100)
    assert layer.of_copy == pytest.approx(2 * 1000 * 10 / 30 / 1000)


def test_advice_names_the_part_that_takes_much_and_an_override() -> None:
    overrides = [
        "augmentation.rotation_degrees=9",
        "augmentation=crop",
        "trainer.threads=1",
        "trainer.precision=fp32",
        "data.limit=100",
    ]
    parts = build_parts(configure([*overrides, "model=linear"], Choices()).config, None, Path("run"), "")
    little = {**SECONDS, RECORDED: 4.0, RECORDS: 0.0, EVALUATE: 0.0, UPDATE: 0.0}
    of_machine = {one.override for one in advice(profile_of(little), parts)}
    assert {one.partition("=")[0] for one in of_machine} <= {"trainer.threads", "trainer.precision"}
    for changed, override in (
        ({AUGMENTATION: 10.0}, "augmentation=crop_flip"),
        ({RECORDED: 50.0}, "trainer.instruments=false"),
        ({EVALUATE: 50.0}, "data.val_fraction=0.1"),
        ({UPDATE: 50.0}, "data.batch_size=16"),
    ):
        found = {one.override for one in advice(profile_of({**little, **changed}), parts)}
        assert override in found - of_machine
