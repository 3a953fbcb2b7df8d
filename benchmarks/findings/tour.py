"""Write docs/tour.md: ten things that go wrong, what a run says of them, and what its command gains.

python -m benchmarks.findings.tour --out FOLDER
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shlex
from pathlib import Path

from cnntrain.cli import main as cnntrain

THINGS = {
    "A learning rate that is too high": "cnntrain model=mlp optim.lr=20",
    "A learning rate that is too low": "cnntrain optim=adam optim.lr=1e-7 trainer.epochs=10",
    "Weights that are all equal": "cnntrain initialization=zeros trainer.epochs=10",
    "Initial weights that are too small": (
        "cnntrain model=lenet5 initialization=gaussian initialization.std=1e-5"
    ),
    "A deep network of sigmoids": (
        "cnntrain model=mlp 'model.hidden=[32,32,32,32,32]' model.activation=sigmoid"
    ),
    "A penalty that swamps the loss": "cnntrain model=mlp regularization.l2=2",
    "Too much dropout": "cnntrain model=mlp regularization.dropout=0.97",
    "A batch too small for batch normalization": "cnntrain data.batch_size=2 trainer.epochs=3",
    "Clipping that leaves nothing": "cnntrain model=mlp trainer.max_grad_norm=0.001",
    "Divergence": "cnntrain model=mlp trainer.max_grad_norm=null optim.lr=1e5",
}
BEGINNING = """# Ten things that go wrong

Each on the digits that come with the program: the command, what the run says at its end, and what the
command that it suggests reaches. Made by `python -m benchmarks.findings.tour --out FOLDER`; seed 0, bf16, one
thread of a Xeon with AVX512-BF16, torch 2.14.1, 2026-11-30. The accuracy is that of the best epoch.
"""


def run(command: str, folder: Path) -> tuple[int, float | None]:
    """Run a command in a folder; return its exit code and best validation accuracy."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = cnntrain([*shlex.split(command)[1:], f"hydra.run.dir={folder}"])
    summary = json.loads((folder / "summary.json").read_text())
    return code, summary.get("val/accuracy")


def main() -> None:
    """Run all commands and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    out = parser.parse_args().out
    sections = [BEGINNING]
    for number, (title, command) in enumerate(THINGS.items(), 1):
        code, accuracy = run(command, out / f"{number}")
        findings = json.loads((out / f"{number}" / "findings.json").read_text())
        reached = f"exit code {code}" if accuracy is None else f"validation accuracy {accuracy:.1%}"
        lines = [f"## {number}. {title}", "", f"    $ {command}", f"    … {reached}"]
        for finding in findings:
            lines.append(f"    finding   {finding['sentence']}")
            if finding["try"]:
                lines.append(f"    try       {finding['try']}")
        mended = next((finding["try"] for finding in findings if finding["try"]), None)
        if mended is not None:
            _, accuracy = run(mended, out / f"{number}-mended")
            reached = "nothing" if accuracy is None else f"{accuracy:.1%}"
            lines += ["", f"`{mended}` reached {reached}."]
        sections.append("\n".join(lines) + "\n")
    (Path(__file__).parents[2] / "docs" / "tour.md").write_text("\n".join(sections))


if __name__ == "__main__":
    main()
