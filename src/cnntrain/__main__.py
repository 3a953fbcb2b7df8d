"""python -m cnntrain, and the command cnntrain."""

import atexit
import os
import sys

from .cli import main


def run() -> None:
    """Run the program on the command line's arguments and end the process with its exit code.

    Python would take torch apart piece by piece, half a second after the last line. Being registered first,
    `end` is the last of the exit handlers to run, when threads and worker processes have ended.
    """
    exit_code = 1

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)

    atexit.register(end)
    exit_code = main()
    sys.exit(exit_code)


if __name__ == "__main__":
    run()
