"""Run the cases and judge them: python -m benchmarks.findings --data ROOT --out FOLDER.

Runs that are there are not repeated, so that rules can be changed and judged again on the same records.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections import Counter
from pathlib import Path

from benchmarks.findings.archives import write_archives
from benchmarks.findings.baselines import autotrainer, debugger, right
from benchmarks.findings.cases import BASES, CASES, Case
from benchmarks.findings.runs import folder_of, measure_again, repair, run_case

# Validation accuracy that a fault may cost and still count as without effect.
HARMLESS = 0.02
# A repaired run is as good as its healthy twin, less this.
REPAIRED = 0.03
# A change that was meant to be harmless and costs more is a fault.
HARMFUL = 0.15


def judge(cases: list[Case], out: Path) -> None:
    """Judge all runs with the rules as they are, and print what they find, case by case and in sum."""
    from cnntrain.findings.judge import findings_of
    from cnntrain.findings.run_record import read_evidence, read_record
    from cnntrain.runs.run_folder import RunFolder

    counts: Counter[str] = Counter()
    first_found: dict[str, Counter[str]] = {}
    healthy = {base: _best(out / f"{base}-healthy_as_it_is") for base in BASES}
    for case in cases:
        folder = folder_of(case, out)
        if not (folder / "evidence.json").exists():
            print(f"MISSING {folder.name}")
            continue
        record = read_record(RunFolder(folder), read_evidence(RunFolder(folder)))
        names = [finding.name for finding in findings_of(record)]
        half = "held out" if case.held_out else "tuning"
        best = max(record.val_accuracies, default=0.0)
        tools = {"AutoTrainer": autotrainer(record), "Debugger": debugger(record)}
        same = case.archive is None and best >= healthy[case.base] - HARMLESS and record.status == "finished"
        if case.right and same:
            # A fault that changes nothing counts as healthy, unless what is found is its own name.
            counts[f"{half}: faults without effect"] += 1
            wrong = [name for name in names if name not in case.right]
            counts[f"{half}: faults without effect with another finding"] += bool(wrong)
            mark = "FALSE" if wrong else "(ok) "
        elif case.right:
            if case.held_out:
                fault = case.name.rpartition(" ")[0]
                first_found.setdefault(fault, Counter())[names[0] if names else "nothing"] += 1
            counts[f"{half}: faults"] += 1
            first, among = bool(names) and names[0] in case.right, bool(set(names[:3]) & set(case.right))
            counts[f"{half}: first right"] += first
            counts[f"{half}: one of three right"] += among
            mark = "ok   " if first else "third" if among else "MISS "
            for tool, fired in tools.items():
                counts[f"{half}: {tool} right"] += right(fired, case.right)
            repaired = folder.with_name(f"{folder.name}-repaired")
            if case.archive is None:
                counts[f"{half}: faults of settings"] += 1
                counts[f"{half}: repaired"] += _best(repaired) >= healthy[case.base] - REPAIRED
        elif best < healthy[case.base] - HARMFUL:
            counts[f"{half}: meant to be healthy, but far behind its twin"] += 1
            mark = "SICK "
        else:
            counts[f"{half}: healthy"] += 1
            counts[f"{half}: healthy with a finding"] += bool(names)
            for tool, fired in tools.items():
                counts[f"{half}: {tool} fires on healthy"] += bool(fired)
            mark = "FALSE" if names else "ok   "
        print(f"{mark} {half:8} {folder.name:60.60} val {best:.2f} learned {record.learned:.2f} {names}")
    print("\n| planted, on unseen networks | found first |\n|---|---|")
    for fault, found in sorted(first_found.items()):
        listed = ", ".join(f"{name} {count}" for name, count in found.most_common())
        print(f"| {fault.replace('_', ' ')} | {listed} |")
    for name, count in sorted(counts.items()):
        print(f"{name:40} {count}")
    (out / "counts.json").write_text(json.dumps(counts, indent=2))


def _best(folder: Path) -> float:
    """Return the best validation accuracy of a run, 0 where there is none."""
    from cnntrain.findings.run_record import read_record
    from cnntrain.runs.run_folder import RunFolder

    if not (folder / "config.yaml").exists():
        return 0.0
    return max(read_record(RunFolder(folder), {}).val_accuracies, default=0.0)


def main() -> None:
    """Run and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the complete data sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--only", choices=("tuning", "held_out"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--judge", action="store_true", help="judge only the runs that are there")
    parser.add_argument("--measure-again", action="store_true", help="measure the evidence of all runs again")
    parser.add_argument("--repair", action="store_true", help="run the command of each first finding")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    cases = [case for case in CASES if arguments.only in (None, "held_out" if case.held_out else "tuning")]
    if not arguments.judge:
        os.environ["OMP_NUM_THREADS"] = "1"
        if not (out / "cifar.npz").exists():
            write_archives(out, arguments.data)
        context = multiprocessing.get_context("spawn")
        with context.Pool(arguments.processes, maxtasksperchild=20) as pool:
            jobs = [(case, out) for case in cases]
            work = measure_again if arguments.measure_again else repair if arguments.repair else run_case
            for number, line in enumerate(pool.imap_unordered(work, jobs), 1):
                print(f"{number}/{len(jobs)} {line}", flush=True)
    judge(cases, out)


if __name__ == "__main__":
    main()
