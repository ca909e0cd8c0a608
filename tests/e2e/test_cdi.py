"""Devices by their CDI names: the spec files and what the runtime makes of them."""

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from .agent import Agent
from .machine import CARD0, DEDICATED, ENCLAVE, I915, OFFER, SHARED, XE, Machine, device_nodes
from .node import Node
from .waiting import eventually

NAMES: dict[str, dict[str, object]] = {
    "gpu": {"sharedDevNum": 2, "enableMonitoring": True, "cdi": "names"},
    "sgx": {"enclaveLimit": 10, "provisionLimit": 10, "cdi": "names"},
    "dsa": {"sharedDevNum": 4, "cdi": "names"},
    "iaa": {"cdi": "names"},
}
"""Allocate answers with names alone, so that what a container finds comes from the files."""


def defined(directory: Path) -> set[str]:
    """Return the qualified names in the spec files; a half-written file is an error."""
    specs = [json.loads(path.read_text()) for path in directory.iterdir() if path.suffix in {".json", ".yaml"}]
    return {f"{spec['kind']}={device['name']}" for spec in specs for device in spec["devices"]}


class Reader(Thread):
    """Reads the spec files without a pause, as runtimes may at any time."""

    def __init__(self, directory: Path) -> None:
        super().__init__(name="reader of CDI files")
        self._directory = directory
        self._over = Event()
        self.problems: list[str] = []
        self.seen: set[str] = set()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                self.seen |= defined(self._directory)
            except FileNotFoundError:  # removed after it was listed
                continue
            except ValueError as error:
                self.problems.append(str(error))

    def end(self) -> None:
        self._over.set()
        self.join()


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({I915: 1}, id="a card"),
        pytest.param({XE: 1, ENCLAVE: 1}, id="a card and an enclave"),
        pytest.param({DEDICATED: 1}, id="a DSA queue"),
        pytest.param({SHARED: 2}, id="two shares of one queue"),
        pytest.param(dict.fromkeys(OFFER, 1), id="one of everything"),
    ],
)
def test_row_54_the_runtime_finds_the_names_and_the_container_its_nodes(
    node: Node, start_agent: Callable[..., Agent], limits: dict[str, int]
) -> None:
    start_agent(**NAMES).until_offered()
    pod = node.run(limits).until_running()
    report = pod.report()

    assert report.devices == device_nodes(pod.devices)
    assert all(report.permitted(path) for path in report.devices)
    assert not report.permitted("/tmp/other")


def test_both_ways_at_once_give_the_same_nodes(node: Node, start_agent: Callable[..., Agent]) -> None:
    start_agent(**{kind: {**section, "cdi": "both"} for kind, section in NAMES.items()}).until_offered()
    pod = node.run(dict.fromkeys(OFFER, 1)).until_running()

    assert pod.report().devices == device_nodes(pod.devices)


def test_row_55_spec_files_are_whole_and_there_before_their_devices_and_gone_after_them(
    node: Node, machine: Machine, start_agent: Callable[..., Agent]
) -> None:
    reader = Reader(node.cdi)
    reader.start()
    try:
        card = machine.unplug(CARD0)
        agent = start_agent(**NAMES).until_offered({I915: frozenset({"card1-0", "card1-1"})})
        # An agent before this one may have defined it: a name stays until nobody can come with it any more.
        eventually(lambda: "intel.cdi.k8s.io/gpu=card0" not in defined(node.cdi), "end of its name", within=40)
        machine.plug(card)
        eventually(lambda: "card0-0" in agent.offered()[I915], "plugged card", within=5)
        assert "intel.cdi.k8s.io/gpu=card0" in defined(node.cdi)
        machine.unplug(CARD0)
        eventually(lambda: "intel.cdi.k8s.io/gpu=card0" not in defined(node.cdi), "end of its name", within=40)
    finally:
        reader.end()

    assert reader.problems == []
    assert "intel.cdi.k8s.io/gpu=card0" in reader.seen
