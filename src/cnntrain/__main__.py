"""python -m cnntrain, and the command cnntrain."""

import sys

from .cli import main


def run() -> None:
    """Run the program on the command line's arguments and end the process with its exit code."""
    sys.exit(main())


if __name__ == "__main__":
    run()
