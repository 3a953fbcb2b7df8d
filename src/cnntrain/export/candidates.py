"""The forms of a run's network that job=benchmark compares, and which of them to take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..config.job_checks import missing_packages
from ..errors import CheckFailed, UserError, first_line, text_of
from ..metrics import LOWER_IS_BETTER
from ..prediction.exported import network_of
from ..runs import file_names
from ..settings.fields import shorten
from ..settings.job_settings import Export
from .comparison import metric
from .latency import Latency, Predict
from .run_to_export import RunToExport
from .write_export import exported

RUN = "run"
# What is compared with the run: formats, each with its number formats.
FORMATS = {"onnx": (None, "fp16", "int8"), "torch_export": (None, "fp16")}
# The most characters of a reason that is printed.
LINE = 160
# Latencies that differ by less are taken as equal.
TIE = 1.05


@dataclass
class Candidate:
    """One form of the network: the run itself, in fp32, or an exported file.

    bytes: of its file. value: of the metric on validation images. network: a function of the number of
    threads that returns what predicts. latencies: as measured.
    """

    name: str
    bytes: int
    value: float
    network: Callable[[int], Predict]
    latencies: list[Latency] = field(default_factory=list)

    def latency(self, batch: int) -> Latency:
        """Return the smallest median latency at a batch size, over the numbers of threads."""
        return min((one for one in self.latencies if one.batch == batch), key=lambda one: one.p50)


@dataclass(frozen=True)
class Missing:
    """A form of the network that there is not, why in one line, and all that the library says of it."""

    name: str
    reason: str
    details: str


def candidates(run: RunToExport) -> tuple[list[Candidate], list[Missing]]:
    """Return the forms of a run's network, the run first, and those that there are not."""
    images = run.compared[1]
    _, value = metric(run.trained, run.expected, images.labels)
    best = run.folder.checkpoints.folder / file_names.BEST
    found = [Candidate(RUN, best.stat().st_size, value, lambda threads: run.trained.predict)]
    missing = list[Missing]()
    for name, quantizations in FORMATS.items():
        if lines := list(missing_packages(name)):
            missing += [Missing(name, line, line) for line in lines]
            continue
        for quantize in quantizations:
            label = name if quantize is None else f"{name} {quantize}"
            try:
                found.append(_candidate(run, label, Export(format=name, quantize=quantize)))
            except (CheckFailed, UserError) as error:
                missing.append(Missing(label, first_line(error), text_of(error.__cause__ or error)))
    return found, missing


def missing_lines(missing: list[Missing]) -> list[str]:
    """Return a short line for each reason, with the forms that are missing for it."""
    by_reason: dict[str, list[str]] = {}
    for one in missing:
        by_reason.setdefault(one.reason, []).append(one.name)
    return [f"{', '.join(names)}: {shorten(reason, LINE)}" for reason, names in by_reason.items()]


def _candidate(run: RunToExport, name: str, settings: Export) -> Candidate:
    made = exported(run, settings)

    def network(threads: int) -> Predict:
        return network_of(made.content, made.suffix, name, threads).predict

    return Candidate(name, len(made.content), made.comparison.metric_of_file, network)


def loss_of(candidate: Candidate, run: Candidate, metric_name: str) -> float:
    """Return what a form loses against the run: percentage points of accuracy.

    Of values, the percentage by which the mean absolute error is larger.
    """
    if metric_name in LOWER_IS_BETTER:
        return 100 * (candidate.value - run.value) / max(run.value, 1e-12)
    return 100 * (run.value - candidate.value)


def recommended(found: list[Candidate], batch: int, points: float, metric_name: str) -> Candidate:
    """Return the form to take for a batch size.

    It is the one with the smallest median latency, at its better number of threads, among those that lose at
    most `points` against the run. Of those within 5 % of the smallest, it is the one that loses least.
    """
    run = found[0]
    allowed = [one for one in found if loss_of(one, run, metric_name) <= points]
    fastest = min(one.latency(batch).p50 for one in allowed)
    tied = [one for one in allowed if one.latency(batch).p50 <= TIE * fastest]
    return min(tied, key=lambda one: (loss_of(one, run, metric_name), one.latency(batch).p50))
