"""python -m cnntrain, and the command cnntrain."""

import signal

# Until a job has something to save, a signal ends the process at once, without a traceback.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import atexit
import os
import sys
from contextlib import suppress

from .cli import main
from .output_streams import open_standard_descriptors


def run() -> None:
    """Run the program on the command line's arguments and end the process with its exit code.

    Python would take torch apart piece by piece, half a second after the last line. Being registered first,
    `end` is the last of the exit handlers to run, when threads and worker processes have ended.
    """
    exit_code = 1

    def end() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed, full or missing
                stream.flush()
        os._exit(exit_code)

    open_standard_descriptors()
    atexit.register(end)
    exit_code = main()
    sys.exit(exit_code)


if __name__ == "__main__":
    run()
