"""Open report.html in headless Chromium: python -m benchmarks.report_page FILE --out FOLDER.

Fails if the console has an error, if the page asks for anything from elsewhere, or if it is wider than the
window, at two widths, in light and in dark mode.
Screenshots are written for looking at. Needs Chromium (Debian's package `chromium`).
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

from PIL import Image

WIDTHS = (1400, 390)
HEIGHT = 5000
# Wider than the window, a page is cut off at its right edge: nothing but background may be there.
MARGIN = 4


def open_page(file: Path, width: int, picture: Path, dark: bool) -> list[str]:
    """Draw a page at a width into a PNG file; return the lines of the browser's console."""
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [
        "--enable-logging=stderr",
        "--v=0",
        f"--window-size={width},{HEIGHT}",
        f"--screenshot={picture}",
    ]
    command += ["--force-dark-mode"] if dark else []
    done = subprocess.run([*command, file.resolve().as_uri()], capture_output=True, text=True, check=True)
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line or "net::ERR" in line]


def main() -> None:
    """Open the page at all widths, in light and in dark mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = arguments.file.read_text(encoding="utf-8")
    problems = ["asks for something from elsewhere"] if 'src="http' in text or "url(http" in text else []
    for width in WIDTHS:
        for dark in (False, True):
            picture = arguments.out / f"{arguments.file.parent.name}-{width}{'-dark' if dark else ''}.png"
            problems += open_page(arguments.file, width, picture, dark)
            image = Image.open(picture).convert("L")
            edge = image.crop((image.width - MARGIN, 0, image.width, image.height))
            if len(set(edge.tobytes())) > 1:
                problems.append(f"{picture.name}: something reaches the right edge at {width} pixels")
            print(f"{picture}: {image.width}x{image.height}, {len(text) / 1e6:.2f} MB")
    if problems:
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
