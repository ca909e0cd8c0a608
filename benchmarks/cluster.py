"""What the features cost that need the cluster: memory of an agent without them and with each, on the fixed node.

The Kubernetes API is answered by the tests' stand-in over TLS, in this process. Needs no root.
`--package DIR` measures another version of the agent without any of them.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from kubelet import serving

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from integration.apiserver import ApiServer, apiserver

from intel_agent.simulation import disk, tree

OVERRIDE = {"selector": {"matchLabels": {"type": "flex"}}, "devices": {"gpu": {"sharedDevNum": 10}}}
FEATURES: Mapping[str, Mapping[str, object]] = {
    "none of them": {},
    "nodeOverrides": {"nodeOverrides": [OVERRIDE]},
    "startupTaint": {"startupTaint": {"enabled": True}},
    "both": {"nodeOverrides": [OVERRIDE], "startupTaint": {"enabled": True}},
    "simulation": {"simulation": {"node": "bench"}},
}
SETTLE = 20.0
"""Seconds until memory is looked at: the looks after the first one are over, and threads that nothing needs ended."""


def memory(place: Path, server: ApiServer, features: Mapping[str, object], package: str | None) -> tuple[float, float]:
    """Return the proportional set size of an agent with the features and its private part, in MB (10^6 bytes)."""
    plugins = place / "plugins"
    plugins.mkdir(exist_ok=True)
    settings = {
        "log": {"format": "json"},
        "kubelet": {"devicePluginDirectory": str(plugins), "podResourcesSocket": str(place / "pod-resources.sock")},
        "devices": {"gpu": {"sharedDevNum": 10, "enableMonitoring": True}},
    }
    file = place / "agent.yaml"
    file.write_text(json.dumps({**settings, **features}), encoding="utf-8")
    command = [sys.executable, "-m", "intel_agent", "run", "--config", str(file), "--root", str(place / "node")]
    command += ["--host-root", str(place / "node")]
    if package is None:
        command += ["--account-directory", str(server.directory), "--state-directory", str(place / "state")]
        command += ["--runtime-directory", str(place / "run")]
    environment = {**os.environ, **server.environment, **({} if package is None else {"PYTHONPATH": package})}
    with (
        (place / "log").open("ab") as log,
        serving(plugins) as (kubelet, _),
        subprocess.Popen(command, stdout=log, env=environment, cwd=place) as process,
    ):
        try:
            kubelet.wait_for(lambda: len(kubelet.plugins) >= 8)  # noqa: PLR2004 - resources of the fixed node
            time.sleep(SETTLE)
            return _rollup(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


def _rollup(process: int) -> tuple[float, float]:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines}
    return sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", help="the directory of another version of the package")
    parser.add_argument("--times", type=int, default=3, help="how often each is measured (default: 3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as base, apiserver(Path(base, "account")) as server:
        place = Path(base)
        server.labels = {"type": "flex"}
        disk.materialise(tree.node("bench"), place / "node")
        wanted = FEATURES if options.package is None else {"another version": FEATURES["none of them"]}
        for name, features in wanted.items():
            server.taints = [{"key": "intel.com/agent-not-ready", "effect": "NoSchedule"}]
            taken = [memory(place, server, features, options.package) for _ in range(options.times)]
            pss, private = (round(statistics.median(each), 2) for each in zip(*taken, strict=True))
            print(json.dumps({name: {"PSS (MB)": pss, "private (MB)": private}}), flush=True)


if __name__ == "__main__":
    main()
