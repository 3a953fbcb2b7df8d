"""Draw the pictures of the README and of the documentation from real runs (make pictures).

A recording of the terminal as SVG, by rich; the top of a run's report, photographed by Chromium, which has
to be installed; and a decision boundary. They are written into docs/images.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

IMAGES = Path("docs/images")
WIDTH = 112
MISTAKES = ("optim=adamm", "trainer.epoch=3", "optim.lr=0")
FAULTY = ("initialization=zeros", "trainer.epochs=10")
MENDED = ("initialization=he", "trainer.epochs=10")
DEEP_SIGMOIDS = ("model=mlp", "model.hidden=[32,32,32,32,32]", "model.activation=sigmoid")
SPIRAL = ("data=toy2d", "model=mlp", "model.hidden=[20]")
SHOWN = ("data", "epoch", "…", "  test", "finding", "try")
# The report without its long table of numbers: findings, and the first curves.
SHORTENED = "<style>#summary { display: none }</style></head>"
REPORT_SIZE = (1200, 880)


def cnntrain(folder: Path, *overrides: str) -> str:
    """Run a command in a folder, and return what it prints."""
    command = [sys.executable, "-m", "cnntrain", *overrides]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    completed = subprocess.run(
        command, cwd=folder, env=one_thread, capture_output=True, text=True, check=False
    )
    return completed.stdout + completed.stderr


def draw_terminal(folder: Path) -> None:
    """Record three commands: mistakes, a run with a finding, and the command that it suggests."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    for overrides in (MISTAKES, FAULTY, MENDED):
        console.print(Text(f"$ cnntrain {' '.join(overrides)}", style="bold"))
        lines = shortened(cnntrain(folder, *overrides).strip().splitlines())
        for line in [*lines, ""]:
            console.print(Text(line, style=style_of(line)))
    # The font would be loaded from the network.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="cnntrain"), flags=re.DOTALL)
    (IMAGES / "terminal.svg").write_text(svg, encoding="utf-8")


def shortened(lines: list[str]) -> list[str]:
    """Return all lines of errors; of a run its data, three epochs, result and findings."""
    epochs = [number for number, line in enumerate(lines) if line.startswith("epoch")]
    if not epochs:
        return lines
    lines = [*lines[: epochs[0] + 2], "…", *lines[epochs[-1] :]]
    return [line for line in lines if line.startswith(SHOWN)]


def style_of(line: str) -> str:
    """Return the colour of a line: errors, findings and suggestions stand out."""
    if line.startswith("cnntrain:"):
        return "red"
    return "yellow" if line.startswith(("finding ", "try ")) else ""


def draw_report(folder: Path) -> None:
    """Photograph the top of the report of a run whose gradients vanish."""
    cnntrain(folder, *DEEP_SIGMOIDS, "hydra.run.dir=sigmoids")
    page = folder / "sigmoids" / "shortened.html"
    report = (folder / "sigmoids" / "report.html").read_text(encoding="utf-8")
    page.write_text(report.replace("</head>", SHORTENED), encoding="utf-8")
    picture = folder / "report.png"
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--screenshot={picture}"]
    size = f"--window-size={REPORT_SIZE[0]},{REPORT_SIZE[1]}"
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("the picture of the report needs chromium, which was not found; install it")
    subprocess.run([chromium, *options, size, page.as_uri()], check=True, capture_output=True)
    Image.open(picture).convert("RGB").save(IMAGES / "report.webp", quality=80, method=6)


def draw_decision_boundary(folder: Path) -> None:
    """Keep the picture that a run on points of a plane leaves, smaller."""
    cnntrain(folder, *SPIRAL, "hydra.run.dir=spiral")
    picture = Image.open(folder / "spiral" / "decision_boundary.png").convert("RGB")
    picture.thumbnail((520, 520))
    picture.save(IMAGES / "decision_boundary.webp", quality=85, method=6)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for draw in (draw_terminal, draw_report, draw_decision_boundary):
            draw(Path(scratch))
