"""For all tests: waiting threads sleep, so that a busy machine slows the suite but does not stall it."""

import os

# Read when torch is first imported, by this process and by those it starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
