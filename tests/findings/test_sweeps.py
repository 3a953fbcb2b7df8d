"""Rules on sweeps, each on a sweep that has what it looks for and on one that has not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnntrain.config.choice_files import Choices
from cnntrain.config.equivalent_command import equivalent_overrides
from cnntrain.config.pipeline import configure
from cnntrain.findings.run_record import RunRecord
from cnntrain.findings.sweep_record import SweepJob, SweepRecord
from cnntrain.findings.sweeps import sweep_findings
from cnntrain.search.ranges import Range

CHOICES = Choices()


def job(
    name: str,
    overrides: str,
    val: float | None = 0.9,
    train: float = 0.95,
    layers: int = 3,
    status: str = "finished",
    loss: float | None = None,
) -> SweepJob:
    """Return a job with an epoch of these accuracies, none if val is None."""
    config = configure(overrides.split(), CHOICES).config
    step: dict[str, Any] = {"step": 1, "epoch": 0.1, "lr": 0.1}
    step |= {f"weight_norm/{layer}.weight": 1.0 for layer in range(layers)}
    loss = hash(name) % 1000 / 1000 if loss is None else loss
    epoch = {"step": 10, "epoch": 1, "train/loss": loss, "train/accuracy": train, "val/accuracy": val}
    record = RunRecord(
        config,
        status,
        [step],
        [] if val is None else [epoch],
        {"train_accuracy": train},
        {"best_epoch": 1, "status": status},
    )
    return SweepJob(name, equivalent_overrides(config, CHOICES), record)


def sweep(*jobs: SweepJob) -> SweepRecord:
    return SweepRecord(Path("sweep"), list(jobs), {})


def rates(values: dict[str, float], extra: str = "") -> SweepRecord:
    return sweep(*(job(lr, f"optim.lr={lr} {extra}", val) for lr, val in values.items()))


NOISE = {"0.1": (0.90, 0.94), "0.2": (0.91, 0.93), "0.3": (0.5, 0.52)}
CLEAR = {"0.1": (0.90, 0.901), "0.2": (0.95, 0.951), "0.3": (0.5, 0.502)}


def seeded(values: dict[str, tuple[float, float]]) -> SweepRecord:
    jobs = [
        job(f"{lr}-{seed}", f"optim.lr={lr} seed={seed}", val)
        for lr, vals in values.items()
        for seed, val in enumerate(vals)
    ]
    return sweep(*jobs)


CASES: dict[str, tuple[SweepRecord, SweepRecord]] = {
    "jobs failed": (
        sweep(job("0", "optim.lr=0.1"), job("1", "optim.lr=9", None, status="diverged")),
        sweep(job("0", "optim.lr=0.1"), job("1", "optim.lr=9")),
    ),
    "best value at the edge of its range": (
        rates({"0.01": 0.5, "0.1": 0.7, "1": 0.9}),
        rates({"0.01": 0.5, "0.1": 0.9, "1": 0.7}),
    ),
    "difference within the noise of seeds": (seeded(NOISE), seeded(CLEAR)),
    "setting without effect": (
        sweep(job("0", "optim.lr=0.1", loss=0.3), job("1", "optim.lr=0.2", loss=0.3)),
        sweep(job("0", "optim.lr=0.1", loss=0.3), job("1", "optim.lr=0.2", loss=0.31)),
    ),
    "degradation with depth": (
        sweep(job("0", "model=plain20", 0.9, 0.95, 20), job("1", "model=plain56", 0.8, 0.85, 56)),
        # Overfitted: worse in validation only.
        sweep(job("0", "model=plain20", 0.9, 0.95, 20), job("1", "model=plain56", 0.8, 0.99, 56)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_finds_what_it_looks_for_and_nothing_in_the_sound_sweep(name: str) -> None:
    broken, sound = CASES[name]
    assert name in [finding.name for finding in sweep_findings(broken)]
    assert name not in [finding.name for finding in sweep_findings(sound)]


def finding(record: SweepRecord, name: str) -> Any:
    return next(one for one in sweep_findings(record) if one.name == name)


def test_failed_jobs_are_named_by_the_setting_that_only_they_have() -> None:
    jobs = [
        job(f"{lr}{model}", f"optim.lr={lr} model={model}", None if lr > 1 else 0.9, status=status)
        for lr in (0.1, 3, 9)
        for model in ("mlp", "linear")
        for status in ["diverged" if lr > 1 else "finished"]
    ]
    sentence = finding(sweep(*jobs), "jobs failed").sentence
    assert sentence == "4 of 6 jobs diverged, all with optim.lr=3.0 or 9.0."
    mixed = [job("0", "optim.lr=9 model=mlp", None, status="failed"), job("1", "optim.lr=9 model=linear")]
    assert "all with model=mlp" in finding(sweep(*mixed), "jobs failed").sentence


@pytest.mark.parametrize(
    ("key", "values", "beyond"),
    [
        ("optim.lr", {"0.01": 0.5, "0.1": 0.7, "1": 0.9}, 10),
        ("optim.lr", {"0.01": 0.9, "0.1": 0.7, "1": 0.5}, 0.001),
        ("data.batch_size", {"32": 0.9, "64": 0.7, "128": 0.5}, 16),
        ("optim.momentum", {"0.5": 0.5, "0.6": 0.6, "0.7": 0.7}, 0.8),
    ],
)
def test_the_value_beyond_the_edge_is_on_the_scale_of_the_range(
    key: str, values: dict[str, float], beyond: float
) -> None:
    record = sweep(*(job(value, f"{key}={value}", val) for value, val in values.items()))
    assert finding(record, "best value at the edge of its range").changes == {key: pytest.approx(beyond)}


def test_the_neighbor_of_an_edge_is_the_next_value_of_it() -> None:
    values = {"0.01": 0.9, "0.1": 0.95, "1": 0.2, "10": 0.1}
    jobs = [job(f"{lr}", f"optim.lr={lr}", val) for lr, val in values.items()]
    jobs.append(job("lucky", "optim.lr=0.01 seed=1", 0.97))  # the mean of 0.01 is below that of 0.1
    assert "best value at the edge of its range" not in [one.name for one in sweep_findings(sweep(*jobs))]
    jobs[1] = job("0.1", "optim.lr=0.1", 0.92)
    found = finding(sweep(*jobs), "best value at the edge of its range")
    assert found.changes == {"optim.lr": pytest.approx(0.001)}


def test_the_noise_of_seeds_is_the_standard_error_of_the_difference() -> None:
    values = {"0.1": (0.90, 0.94, 0.95), "0.2": (0.91, 0.93, 0.925), "0.3": (0.1, 0.2, 0.15)}
    found = finding(seeded(values), "difference within the noise of seeds")
    of_means = [np.var(values[rate], ddof=1) / 3 for rate in ("0.1", "0.2")]  # the bad one has no part in it
    assert found.evidence["standard_error"] == pytest.approx(np.sqrt(sum(of_means)))
    assert found.evidence["difference"] == pytest.approx(np.mean(values["0.1"]) - np.mean(values["0.2"]))


def test_the_edge_of_two_values_or_of_seeds_or_of_a_worse_mean_says_nothing() -> None:
    for record in (
        rates({"0.1": 0.7, "1": 0.9}),
        sweep(*(job(str(seed), f"seed={seed}", 0.5 + seed / 10) for seed in range(4))),
    ):
        assert "best value at the edge of its range" not in [one.name for one in sweep_findings(record)]
    lucky = [("1", "mlp", 0.95), ("1", "linear", 0.1), ("0.1", "mlp", 0.9), ("0.1", "linear", 0.9)]
    jobs = [job(f"{lr}{model}", f"optim.lr={lr} model={model}", val) for lr, model, val in lucky]
    jobs.append(job("low", "optim.lr=0.01 model=mlp", 0.5))
    assert "best value at the edge of its range" not in [one.name for one in sweep_findings(sweep(*jobs))]


def test_degradation_compares_networks_of_one_kind_that_differ_in_nothing_else() -> None:
    shallow = job("0", "model=plain20", 0.9, 0.95, 20)
    for other in (
        job("1", "model=resnet18 optim.lr=0.01", 0.8, 0.85, 56),
        job("1", "model=plain56 optim.lr=0.01", 0.8, 0.85, 56),
        job("1", "model=plain20 model.width=0.5", 0.8, 0.85, 20),
        job("1", "model=plain56", 0.95, 0.85, 56),  # better in validation
    ):
        assert "degradation with depth" not in [one.name for one in sweep_findings(sweep(shallow, other))]
    found = finding(CASES["degradation with depth"][0], "degradation with depth")
    assert found.changes == {"model": "resnet56"}
    assert "model=plain56 by 10%" in found.sentence


def test_of_several_deeper_networks_the_worst_is_named() -> None:
    depths = {20: (0.9, 0.95), 32: (0.85, 0.9), 44: (0.7, 0.72), 56: (0.8, 0.85)}
    jobs = [
        job(str(depth), f"model=plain20 model.depth={depth}", val, train, depth)
        for depth, (val, train) in depths.items()
    ]
    found = finding(sweep(*jobs), "degradation with depth")
    assert list(found.evidence["layers"].values()) == [20, 44]


def test_jobs_are_ranked_by_error_where_lower_is_better() -> None:
    base = job("0", "data.target=values loss=l2")
    jobs = []
    for name, error in (("0", 3.0), ("1", 1.0), ("2", 2.0)):
        row = {"step": 1, "epoch": 1, "val/loss": 1.0, "val/mean_absolute_error": error}
        record = RunRecord(base.record.config, "finished", [], [row], {}, {"best_epoch": 1})
        jobs.append(SweepJob(name, {"seed": name}, record))
    record = sweep(*jobs)
    assert record.metric == "mean_absolute_error"
    assert [one.name for one in record.ranked] == ["1", "2", "0"]
    assert record.varied == {"seed": ["0", "1", "2"]}


def test_a_default_beyond_the_range_that_no_drawn_value_beats_is_reported_with_a_range_that_has_it() -> None:
    jobs = [job(str(rate), f"optim.lr={rate}", val) for rate, val in ((0.1, 0.9), (0.001, 0.5), (0.004, 0.7))]
    record = SweepRecord(Path("sweep"), jobs, {}, {"optim.lr": Range(1e-4, 1e-2, log=True)})
    finding = next(found for found in sweep_findings(record) if "range" in found.name)
    assert finding.name == "best value beyond its range"
    assert finding.evidence["wider"] == "log(0.0001,0.1)"
