"""A sweep on a real Ray cluster of two nodes on this machine, one of which is lost in the middle.

    pip install '.[ray]'
    python -m benchmarks.search.ray_cluster

It held if every job was trained to its end once and the table equals that of the same sweep without Ray.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.search.interruptions import COMMAND, compare, start, table


def main() -> None:
    """Run the sweep with and without Ray, and compare."""
    cluster_utils = importlib.import_module("ray.cluster_utils")  # of an extra that CI does not install
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        start(root / "local", *COMMAND).communicate()
        expected = table(root / "local")
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        second = cluster.add_node(num_cpus=1)
        try:
            os.environ["RAY_ADDRESS"] = cluster.address
            began = time.monotonic()
            driver = start(root / "ray", *COMMAND, "search.launcher=ray", "search.workers=2")
            while len(table(root / "ray")) < 15 and driver.poll() is None:
                time.sleep(0.2)
            cluster.remove_node(second, allow_graceful=False)
            print("a node is lost", flush=True)
            output = driver.communicate()[0].decode()
            print(output[-600:])
            held = compare(f"on Ray, {time.monotonic() - began:.0f} s", table(root / "ray"), expected)
            for file in sorted((root / "ray").glob("ray-*.txt")):
                print(f"{file.name}: {file.read_text().count('job ')} lines of jobs")
        finally:
            cluster.shutdown()
    sys.exit(0 if held and driver.returncode == 1 else 1)  # 1: five jobs fail on purpose


if __name__ == "__main__":
    main()
