"""Train the runs of the cases."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from pathlib import Path

import numpy as np

from benchmarks.findings.archives import changed
from benchmarks.findings.cases import BASES, Case

QUICK = ["trainer.pictures=false", "trainer.threads=1", "trainer.record_every_steps=10"]


def folder_of(case: Case, out: Path) -> Path:
    """Return the folder of a case's run."""
    name = f"{case.base}-{case.name}".replace(" ", "_").replace("=", "-").replace("[", "").replace("]", "")
    return out / name.replace(",", "-")


def run_case(job: tuple[Case, Path]) -> str:
    """Train one case unless it is there."""
    case, out = job
    folder = folder_of(case, out)
    if (folder / "evidence.json").exists():
        return folder.name
    from cnntrain.cli import main

    overrides = [*BASES[case.base], *QUICK]
    if case.archive is not None:
        given = {key: value for key, _, value in (entry.partition("=") for entry in overrides)}
        source = Path(given.get("data.path", "digits.npz")).name
        file = out / f"{case.archive}-{source}"
        if not file.exists():
            np.savez(file, **changed(dict(np.load(out / source)), case.archive))
        overrides = [o for o in overrides if not o.startswith(("data=", "data.path="))]
        overrides += ["data=npz", f"data.path={file}"]
    overrides = [o.replace("data.path=", f"data.path={out}/") if "/" not in o else o for o in overrides]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
        code = main([*overrides, *case.overrides, f"hydra.run.dir={folder}"])
    return f"{folder.name}: exit {code} {err.getvalue().strip()[:200] if code not in (0, 4) else ''}"


def measure_again(job: tuple[Case, Path]) -> str:
    """Measure the evidence of a case's run again, after a change of what is measured."""
    from cnntrain.cli import main

    folder = folder_of(*job)
    if not (folder / "checkpoints" / "best.pt").exists():
        return f"{folder.name}: no best network"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return f"{folder.name}: exit {main([f'run={folder}', 'job=report'])}"


def repair(job: tuple[Case, Path]) -> str:
    """Run the command of the first finding of a case's run, unless that was done."""
    from cnntrain.cli import main

    folder = folder_of(*job)
    repaired = folder.with_name(f"{folder.name}-repaired")
    findings = (
        json.loads((folder / "findings.json").read_text()) if (folder / "findings.json").exists() else []
    )
    if not job[0].right or not findings or not findings[0]["try"]:
        return f"{folder.name}: nothing to try"
    if (repaired / "evidence.json").exists():
        return repaired.name
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = main([*shlex.split(findings[0]["try"])[1:], f"hydra.run.dir={repaired}"])
    return f"{repaired.name}: exit {code}"
