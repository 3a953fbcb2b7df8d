"""Starts the program as copies of a process that has imported it, on request by lines of JSON.

Importing torch takes a second, which the tests of killed runs and sweeps would spend at every start. A
request is {"arguments", "folder", "environment", "output"}; the answers are lines "started PID" and "ended
PID STATUS", as of os.waitpid. Each program has a session of its own. Ends with its standard input.
"""

import json
import os
import runpy
import select
import signal
import sys
from typing import Any

import cnntrain.jobs.sweep_worker
import cnntrain.jobs.train  # noqa: F401

os.fsync = lambda descriptor: None  # see conftest.py


def run(request: dict[str, Any]) -> None:
    """Run the program in this process, as `python -m cnntrain` does; does not return."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["cnntrain", *request["arguments"]]
    runpy.run_module("cnntrain", run_name="__main__", alter_sys=True)


def report_ended() -> None:
    """Write a line for each program that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        print("ended", pid, status, flush=True)


def serve() -> None:
    """Start a program for each line of standard input."""
    ended, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([0, ended], [], [])
        if ended in readable:
            os.read(ended, 1024)
            report_ended()
        if 0 in readable:
            line = sys.stdin.buffer.readline()
            if not line:
                return
            pid = os.fork()
            if pid == 0:
                run(json.loads(line))
            print("started", pid, flush=True)


serve()
