"""Plans of searches, asked with made-up results."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from cnntrain.metrics import DISPLAY
from cnntrain.runs.sweep_folder import JobRecord, JobResults
from cnntrain.search.plan import ALL_EPOCHS, Combinations, Plan, Task, rungs
from cnntrain.search.ranges import Parameter, Range, Values
from cnntrain.search.repetitions import Retrained
from cnntrain.search.settings import OBJECTIVES, Bayesian, CoarseToFine, Drawing, QuasiRandom, Random

SPACE: dict[str, Parameter] = {"optim.lr": Range(1e-4, 1.0, log=True), "optim": Values(("sgd", "adam"))}
EPOCHS = 9
Curve = Callable[[str, dict[str, str]], list[float]]


def results(jobs: dict[str, JobRecord]) -> JobResults:
    return JobResults(jobs, frozenset(["loss"]))


def accuracy(job: str, settings: dict[str, str]) -> list[float]:
    """Accuracies that rise with the epochs to a height that depends on the settings."""
    height = 1 - 0.1 * abs(math.log10(float(settings.get("optim.lr", 0.3))) + 2)
    return [height * (1 - 0.5 ** (epoch + 1)) for epoch in range(EPOCHS)]


def train(jobs: dict[str, JobRecord], task: Task, plan: Plan, curve: Curve) -> None:
    """Do a task as a worker does it."""
    if task.job not in jobs:
        jobs[task.job] = JobRecord(plan.settings(task.job, results(jobs)))
    record = jobs[task.job]
    record.stage, record.metric = task.stage, record.metric or "accuracy"
    record.curve = list(curve(task.job, record.settings)[: task.epochs])
    record.epochs = len(record.curve)
    record.status = "finished" if record.epochs == EPOCHS else "paused"


def opened(plan: Plan, jobs: dict[str, JobRecord]) -> Iterator[Task]:
    found = results(jobs)
    return (task for task in plan.tasks(found) if not found.closed(task))


def run(
    plan: Plan, curve: Curve = accuracy, order: random.Random | None = None, limit: int = 1000
) -> dict[str, JobRecord]:
    """Do all tasks, in the plan's order or a random one of those that are open; asked anew for each."""
    jobs: dict[str, JobRecord] = {}
    for _ in range(limit):
        tasks = list(opened(plan, jobs))
        if not tasks:
            return jobs
        for task in tasks if order is not None else []:  # workers make jobs in the plan's order
            if task.job not in jobs:
                jobs[task.job] = JobRecord(plan.settings(task.job, results(jobs)))
        train(jobs, tasks[0] if order is None else order.choice(tasks), plan, curve)
    return jobs


SEARCHES = [
    Random(jobs=13, retrain_best=0),
    Random(jobs=10, pruning="none", retrain_best=0),
    QuasiRandom(jobs=20, reduction=2.0, retrain_best=2, retrain_seeds=3),
    CoarseToFine(jobs=8, stages=[1, 4], retrain_best=1),
    Bayesian(jobs=9, start=4, lag=3),
    Bayesian(jobs=8, start=4, lag=1, pruning="none", retrain_best=1),
]


@pytest.mark.parametrize("search", SEARCHES)
def test_results_do_not_depend_on_the_order_in_which_jobs_end(search: Drawing) -> None:
    plan = search.plan(SPACE, EPOCHS, 0)
    expected = run(plan)
    for seed in range(3):
        assert run(search.plan(SPACE, EPOCHS, 0), order=random.Random(seed)) == expected


@pytest.mark.parametrize("search", SEARCHES)
def test_the_first_job_has_the_default_settings(search: Drawing) -> None:
    assert run(search.plan(SPACE, EPOCHS, 0))["0000"].settings == {}


def test_a_grid_is_all_combinations_in_the_order_of_hydra() -> None:
    plan = Combinations({"model": Values(("a", "b")), "seed": Values(("1", "2", "3"))})
    jobs = run(plan)
    assert [(record.settings["model"], record.settings["seed"]) for record in jobs.values()] == [
        (model, seed) for model in "ab" for seed in "123"
    ]
    assert all(record.epochs == EPOCHS for record in jobs.values())


@pytest.mark.parametrize(
    ("epochs", "first", "reduction", "expected"),
    [
        (9, 1, 3, [1, 3, 9]),
        (27, 1, 3, [1, 3, 9, 27]),
        (27, 4, 3, [9, 27]),
        (10, 1, 3, [1, 3, 10]),
        (5, 1, 3, [1, 2, 5]),
        (1, 1, 3, [1]),
        (8, 1, 2, [1, 2, 4, 8]),
        (3, 5, 3, [3]),
    ],
)
def test_stages_grow_by_the_reduction_up_to_all_epochs(
    epochs: int, first: int, reduction: float, expected: list[int]
) -> None:
    assert rungs(epochs, first, reduction) == expected


def test_halving_trains_a_third_of_the_jobs_three_times_longer_and_the_best_to_the_end() -> None:
    jobs = run(Random(jobs=27, retrain_best=0).plan(SPACE, EPOCHS, 0))
    epochs = sorted(record.epochs for record in jobs.values())
    assert epochs == [1] * 18 + [3] * 6 + [9] * 3
    ranked = sorted(jobs.values(), key=lambda record: accuracy("", record.settings)[0], reverse=True)
    assert [record.epochs for record in ranked] == epochs[::-1]


def test_every_metric_that_is_recorded_may_be_the_objective() -> None:
    assert set(OBJECTIVES) == set(DISPLAY)


def test_a_loss_is_better_the_lower_it_is() -> None:
    def loss(job: str, settings: dict[str, str]) -> list[float]:
        return [-value for value in accuracy(job, settings)]

    jobs: dict[str, JobRecord] = {}
    plan = Random(jobs=9, retrain_best=0).plan(SPACE, EPOCHS, 0)
    while tasks := list(opened(plan, jobs)):
        train(jobs, tasks[0], plan, loss)
        jobs[tasks[0].job].metric = "loss"
    by_accuracy = run(Random(jobs=9, retrain_best=0).plan(SPACE, EPOCHS, 0))
    assert {job: record.epochs for job, record in jobs.items()} == {
        job: record.epochs for job, record in by_accuracy.items()
    }


def test_more_jobs_keep_those_that_there_were() -> None:
    fewer, more = (run(Random(jobs=jobs, retrain_best=0).plan(SPACE, EPOCHS, 0)) for jobs in (9, 18))
    assert all(more[job].settings == record.settings for job, record in fewer.items())
    # Added to a finished sweep, they change nothing that was done.
    jobs = run(Random(jobs=9, retrain_best=0).plan(SPACE, EPOCHS, 0))
    before = {job: record.curve for job, record in jobs.items()}
    plan = Random(jobs=18, retrain_best=0).plan(SPACE, EPOCHS, 0)
    while tasks := list(opened(plan, jobs)):
        train(jobs, tasks[0], plan, accuracy)
    assert len(jobs) == 18
    assert all(jobs[job].curve[: len(curve)] == curve for job, curve in before.items())


def test_a_job_that_diverges_in_a_later_stage_leaves_the_earlier_choice_as_it_was() -> None:
    jobs: dict[str, JobRecord] = {}
    plan = Random(jobs=9, retrain_best=0).plan(SPACE, EPOCHS, 0)
    while tasks := list(opened(plan, jobs)):
        task = tasks[0]
        train(jobs, task, plan, accuracy)
        if task.stage == 2:
            jobs[task.job].status, jobs[task.job].curve, jobs[task.job].epochs = "diverged", [0.5], 1
    assert sum(record.status == "diverged" for record in jobs.values()) == 3
    assert all(record.epochs == 1 for record in jobs.values())


def test_failed_jobs_are_none_of_the_best() -> None:
    jobs: dict[str, JobRecord] = {}
    plan = Random(jobs=6, retrain_best=6).plan(SPACE, EPOCHS, 0)
    while tasks := list(opened(plan, jobs)):
        train(jobs, tasks[0], plan, accuracy)
        if "seed" not in tasks[0].job and tasks[0].job != "0002":
            jobs[tasks[0].job] = JobRecord(jobs[tasks[0].job].settings, status="failed")
    assert sorted(jobs) == ["0000", "0001", "0002", "0002-seed1", "0002-seed2", "0003", "0004", "0005"]


def test_the_best_are_trained_again_with_other_seeds() -> None:
    jobs = run(Random(jobs=9, pruning="none", retrain_best=2).plan(SPACE, EPOCHS, 40))
    again = {job: record for job, record in jobs.items() if "seed" in job}
    first = sorted(
        (job for job in jobs if job not in again),
        key=lambda job: max(jobs[job].curve[0:], default=0.0),  # type: ignore[type-var]
    )[-2:]
    compared = {*first, "0000"}  # with the default settings
    assert sorted(again) == sorted(f"{job}-seed{seed}" for job in compared for seed in (1, 2))
    for job, record in again.items():
        original, _, number = job.partition("-seed")
        assert record.settings == jobs[original].settings | {"seed": str(40 + int(number))}


def test_the_default_settings_are_trained_to_the_end_though_they_fell_behind() -> None:
    jobs = run(Random(jobs=9, retrain_best=1, retrain_seeds=2).plan(SPACE, EPOCHS, 0), curve=last_is_best)
    assert jobs["0000"].epochs == EPOCHS
    assert {"0000-seed1", "0000-seed2"} < jobs.keys()
    assert len([job for job, record in jobs.items() if "-" not in job and record.epochs == EPOCHS]) == 2


def last_is_best(job: str, settings: dict[str, str]) -> list[float]:
    return [int(job[:4]) / 100 + epoch / 1000 for epoch in range(EPOCHS)]


@pytest.mark.parametrize(
    "search",
    [
        Random(retrain_best=2),
        QuasiRandom(pruning="none", retrain_best=0),
        CoarseToFine(stages=[1, 4]),
        Bayesian(start=4, pruning="none"),
    ],
)
def test_without_a_number_of_jobs_as_many_are_trained_as_the_time_allows(search: Drawing) -> None:
    seconds_per_epoch, minutes, workers = 4.0, 4.0, 2
    timed = replace(search, minutes=minutes, workers=workers)
    jobs: dict[str, JobRecord] = {}
    for _ in range(2000):
        tasks = list(opened(timed.plan(SPACE, EPOCHS, 0), jobs))
        if not tasks:
            break
        train(jobs, tasks[0], timed.plan(SPACE, EPOCHS, 0), accuracy)
        if tasks[0].job == "0000" and tasks[0].stage == 1:
            assert len(tasks) == 1  # the others wait for its time
            jobs["0000"].seconds_per_epoch = seconds_per_epoch
    spent = seconds_per_epoch * sum(record.epochs for record in jobs.values())
    assert 0.65 < spent / (60 * minutes * workers) <= 0.81
    if search.retrain_best:
        assert len([name for name in jobs if "-seed" in name]) in (4, 6)  # the best two, and the defaults
    first = [name for name in jobs if name.isdecimal()]
    assert run(replace(search, jobs=len(first)).plan(SPACE, EPOCHS, 0)).keys() == jobs.keys()


def test_a_first_job_that_fails_leaves_the_number_of_jobs_at_its_default() -> None:
    plan = Random(minutes=5.0, retrain_best=0).plan(SPACE, EPOCHS, 0)
    jobs = {"0000": JobRecord({}, status="failed")}
    assert len({task.job for task in plan.tasks(results(jobs))}) == 20


@pytest.mark.parametrize("search", SEARCHES)
def test_with_folds_the_same_is_found_as_with_the_mean_over_them(search: Drawing) -> None:
    def of_fold(job: str, settings: dict[str, str]) -> list[float]:
        shift = 0.05 * (int(settings.pop("data.fold")) - 1)
        return [value + shift for value in accuracy(job, settings)]

    def with_all_settings(job: str, settings: dict[str, str]) -> list[float]:
        return of_fold(job, dict(settings))

    folded = run(replace(search, folds=3).plan(SPACE, EPOCHS, 0), with_all_settings)
    single = run(search.plan(SPACE, EPOCHS, 0))
    assert len(folded) == 3 * len(single)
    for job, record in single.items():
        for fold in range(3):
            of_job = folded[f"{job}-fold{fold}"]
            assert of_job.settings == record.settings | {"data.fold": str(fold)}
            assert (of_job.stage, of_job.epochs) == (record.stage, record.epochs)


def test_coarse_to_fine_narrows_ranges_around_the_best_of_the_stage_before() -> None:
    search = CoarseToFine(jobs=16, stages=[1, 3], keep=3, margin=0.05, retrain_best=0)
    jobs = run(search.plan(SPACE, EPOCHS, 0))
    counts = [sum(job.startswith(prefix) for job in jobs) for prefix in ("0", "stage2", "stage3")]
    assert counts == [16, 8, 4]
    stages = {}
    for stage, prefix in ((1, "0"), (2, "stage2"), (3, "stage3")):
        rates = [
            float(r.settings["optim.lr"]) for job, r in jobs.items() if job.startswith(prefix) and r.settings
        ]
        stages[stage] = rates
    best = sorted(stages[1], key=lambda rate: abs(math.log10(rate) + 2))[:3]
    low, high = min(best) / 10**0.2, max(best) * 10**0.2
    assert all(low * 0.999 <= rate <= high * 1.001 for rate in stages[2])
    assert max(map(abs, (math.log10(r) + 2 for r in stages[3]))) < max(
        map(abs, (math.log10(r) + 2 for r in stages[1]))
    )
    survivors = [record.epochs for job, record in jobs.items() if job.startswith("0")]
    assert sorted(survivors)[:13] == [1] * 13
    assert all(epochs > 1 for epochs in sorted(survivors)[13:])


def test_a_model_of_the_results_proposes_better_settings_than_chance() -> None:
    found = []
    for seed in range(2):
        jobs = run(
            Bayesian(jobs=16, start=6, seed=seed, pruning="none", retrain_best=0).plan(SPACE, EPOCHS, 0)
        )
        found += [
            abs(math.log10(float(jobs[f"{number:04d}"].settings["optim.lr"])) + 2) for number in range(8, 16)
        ]
    # Of rates drawn at random from four decades, the mean distance from the best, in the middle, is 1.
    assert sum(found) / len(found) < 0.6


def test_a_bayesian_search_proposes_from_the_results_of_all_but_the_last_jobs() -> None:
    plan = Bayesian(jobs=20, lag=3, retrain_best=0).plan(SPACE, EPOCHS, 0)
    jobs: dict[str, JobRecord] = {}
    assert [task.job for task in opened(plan, jobs)] == ["0000", "0001", "0002"]
    for task in list(opened(plan, jobs)):
        jobs[task.job] = JobRecord(plan.settings(task.job, results(jobs)))
    train(jobs, Task("0001", 1), plan, accuracy)
    jobs["0001"].status = "failed"
    assert [task.job for task in opened(plan, jobs)] == ["0000", "0002"]
    jobs["0000"].status = "failed"
    assert [task.job for task in opened(plan, jobs)] == ["0002", "0003", "0004"]


def test_a_job_of_a_bayesian_search_ends_where_it_falls_behind_earlier_ones() -> None:
    plan = Bayesian(jobs=12, lag=1, start=12, retrain_best=0).plan(SPACE, EPOCHS, 0)
    jobs = run(plan)
    heights = {job: accuracy(job, record.settings) for job, record in jobs.items()}
    for number, (job, record) in enumerate(jobs.items()):
        earlier = sorted((heights[name][0] for name in list(jobs)[:number]), reverse=True)
        ends = len(earlier) >= 4 and heights[job][0] < earlier[math.ceil(len(earlier) / 3) - 1]
        assert (record.epochs == 1) is ends, job


def test_after_the_largest_seed_comes_zero() -> None:
    plan = Retrained(Combinations({"optim.lr": Values(("0.1",))}), 1, 2, ALL_EPOCHS, 2**63 - 1)
    jobs: dict[str, JobRecord] = {}
    for task in plan.tasks(results(jobs)):
        train(jobs, task, plan, accuracy)
    seeds = [record.settings.get("seed") for record in jobs.values()]
    assert seeds == [None, "0", "1"]
