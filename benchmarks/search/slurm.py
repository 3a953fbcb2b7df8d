"""A sweep on a real Slurm of two virtual nodes on this machine, one of which is lost in the middle.

    apt-get install slurmctld slurmd munge slurm-client
    python -m benchmarks.search.slurm          # as root

It held if every job was trained to its end once and the table equals that of the same sweep without Slurm.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.search.interruptions import COMMAND, compare, start, table

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SlurmdTimeout=20
SelectType=select/cons_tres
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17001 CPUs=1
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port=17002 CPUs=1
PartitionName=all Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
"""


def begin(root: Path) -> dict[str, subprocess.Popen[bytes]]:
    """Start munge, the controller and two nodes; return their processes by name."""
    (root / "state").mkdir()
    file = root / "slurm.conf"
    file.write_text(CONFIGURATION.format(host=socket.gethostname(), root=root))
    os.environ["SLURM_CONF"] = str(file)
    subprocess.run(["service", "munge", "start"], check=False, capture_output=True)
    processes = {"slurmctld": subprocess.Popen(["slurmctld", "-D"], stderr=subprocess.DEVNULL)}
    for node in ("node1", "node2"):
        processes[node] = subprocess.Popen(
            ["slurmd", "-D", "-N", node], stderr=subprocess.DEVNULL, start_new_session=True
        )
    for _ in range(60):
        found = subprocess.run(["sinfo", "-h", "-o", "%D %t"], capture_output=True, text=True, check=False)
        if found.stdout.strip() == "2 idle":
            return processes
        time.sleep(1)
    raise SystemExit(f"Slurm did not start:\n{found.stdout}{found.stderr}")


def lose(node: str, process: subprocess.Popen[bytes]) -> None:
    """Kill a node's daemon and all that runs on it, with the processes that started those."""
    process.kill()
    killed = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            if f"SLURMD_NODENAME={node}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if "slurmstepd" in Path(f"/proc/{parent}/comm").read_text():
                    os.kill(parent, signal.SIGKILL)
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
    print(f"{node} is lost, with {killed} processes of its worker", flush=True)


def main() -> None:
    """Run the sweep with and without Slurm, and compare."""
    if shutil.which("slurmctld") is None:
        sys.exit("install slurmctld, slurmd, munge and slurm-client")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        processes = begin(root)
        try:
            start(root / "local", *COMMAND).communicate()
            expected = table(root / "local")
            began = time.monotonic()
            driver = start(root / "slurm", *COMMAND, "search.launcher=slurm", "search.workers=2")
            while len(table(root / "slurm")) < 15 and driver.poll() is None:
                time.sleep(0.2)
            lose("node2", processes["node2"])
            output = driver.communicate()[0].decode()
            print(output[-600:])
            held = compare(f"on Slurm, {time.monotonic() - began:.0f} s", table(root / "slurm"), expected)
            for file in sorted((root / "slurm").glob("slurm-*.txt")):
                print(f"{file.name}: {file.read_text().count('job ')} lines of jobs")
        finally:
            for process in processes.values():
                process.kill()
            subprocess.run(["pkill", "slurmstepd"], check=False)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
