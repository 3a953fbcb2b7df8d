"""For all tests: one thread, which is faster for tiny networks than two that wait for each other."""

import os

# Read when torch is first imported, by this process and by those it starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
