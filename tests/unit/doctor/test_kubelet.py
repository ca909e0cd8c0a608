"""Kubelet's side: its directory and sockets, its age, and others that serve what the agent would."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from anyio import from_thread
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from intel_agent._proto import v1beta1
from intel_agent.publish import probe
from intel_agent.simulation.disk import materialise

from .conftest import Doctor, Place
from .nodes import Broken, small

SOUND = Broken(says=())
NAMES = ("/v1beta1.Registration/Probe", "/v1.PodResourcesLister/Probe", "/v1.PodResourcesLister/Get")


class Refusing:
    """A server of gRPC as kubelet's is: what it does not know it refuses with these words."""

    def __init__(self, words: str) -> None:
        self._words = words

    async def refuse(self, stream: object) -> None:
        raise GRPCError(Status.UNIMPLEMENTED, self._words)

    def __mapping__(self) -> dict[str, Handler]:
        return {name: Handler(self.refuse, Cardinality.UNARY_UNARY, v1beta1.Empty, v1beta1.Empty) for name in NAMES}


class Plugin(v1beta1.DevicePluginBase):
    """Another device plugin."""

    async def get_device_plugin_options(self, message: v1beta1.Empty) -> v1beta1.DevicePluginOptions:
        return v1beta1.DevicePluginOptions()


@asynccontextmanager
async def serving(services: Mapping[Path, Refusing | Plugin]) -> AsyncGenerator[None]:
    servers: list[Server] = []
    for path, service in services.items():
        server = Server([service])
        await server.start(path=str(path))
        servers.append(server)
    try:
        yield
    finally:
        for server in servers:
            server.close()


Serve = Callable[[Mapping[Path, Refusing | Plugin]], None]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return what serves sockets until the test ends."""
    with from_thread.start_blocking_portal() as portal:
        open_: list[AbstractAsyncContextManager[None]] = []

        def start(services: Mapping[Path, Refusing | Plugin]) -> None:
            manager = serving(services)
            portal.call(manager.__aenter__)
            open_.append(manager)

        yield start
        for each in open_:
            portal.call(each.__aexit__, None, None, None)


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return where a kubelet could be: the path of a socket must be short."""
    base = tmp_path_factory.mktemp("k")
    found = Place(base / "dp", base / "pr" / "kubelet.sock", base / "run")
    for directory in (found.directory, found.pod_resources.parent, found.runtime):
        directory.mkdir()
    return found


UNKNOWN_METHOD = Refusing("unknown method Probe for service")
"""How a server answers that has the service."""


def told(doctor: Doctor, place: Place) -> list[tuple[str, str, str, str]]:
    """Return check, problem, evidence and remedy of what is found on a machine on which all else is sound."""
    return [
        (each["check"], each["problem"], each["evidence"], each["remedy"])
        for each in doctor(SOUND, place).findings
        if each["severity"] != "note"
    ]


def one(found: list[tuple[str, str, str, str]], check: str, problem: str, evidence: str, remedy: str) -> None:
    assert [each[0] for each in found] == [check], found
    assert problem in found[0][1]
    assert evidence in found[0][2]
    assert remedy in found[0][3]


def test_no_directory(doctor: Doctor, place: Place) -> None:
    place.directory.rmdir()
    one(
        told(doctor, place),
        "kubelet-directory",
        "no device can be offered",
        "no such file",
        "kubelet.devicePluginDirectory",
    )


def test_something_else_than_a_directory(doctor: Doctor, place: Place) -> None:
    place.directory.rmdir()
    place.directory.write_text("")
    one(told(doctor, place), "kubelet-directory", "no device can be offered", "is not a directory", "must be mounted")


def test_no_socket(doctor: Doctor, place: Place) -> None:
    one(told(doctor, place), "kubelet-socket", "kubelet does not answer", "kubelet.sock: is not there", "start kubelet")


def test_a_socket_of_which_nobody_listens(doctor: Doctor, place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place.directory / "kubelet.sock"))
    one(
        told(doctor, place),
        "kubelet-socket",
        "kubelet does not answer",
        "connection refused",
        "systemctl status kubelet",
    )


def test_somebody_who_never_answers(doctor: Doctor, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "DEADLINE", 0.3)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place.directory / "kubelet.sock"))
        silent.listen()
        one(told(doctor, place), "kubelet-socket", "kubelet does not answer", "no answer in time", "start kubelet")


def test_a_kubelet_without_this_version_of_device_plugins(doctor: Doctor, place: Place, serve: Serve) -> None:
    old = Refusing("unknown service v1beta1.Registration")
    serve({place.directory / "kubelet.sock": old, place.pod_resources: Refusing("unknown method Probe for service")})
    checks = {each[0]: each for each in told(doctor, place)}
    assert checks["kubelet-socket"][1] == "kubelet does not know device plugins of v1beta1"
    assert checks["kubelet-socket"][3] == "update kubelet to 1.28 or later"


@pytest.mark.parametrize(
    ("words", "since"),
    [
        ("unknown service v1.PodResourcesLister", "1.20"),
        ("unknown method Get for service v1.PodResourcesLister", "1.27"),
    ],
    ids=["1.19", "1.26"],
)
def test_a_kubelet_that_is_too_old(words: str, since: str, doctor: Doctor, place: Place, serve: Serve) -> None:
    serve({place.directory / "kubelet.sock": UNKNOWN_METHOD, place.pod_resources: Refusing(words)})
    one(
        told(doctor, place),
        "kubelet-version",
        f"kubelet is older than {since}",
        "v1.PodResourcesLister",
        "1.28 or later",
    )


def test_nobody_who_tells_which_pod_has_what(doctor: Doctor, place: Place, serve: Serve) -> None:
    serve({place.directory / "kubelet.sock": UNKNOWN_METHOD})
    one(
        told(doctor, place),
        "pod-resources",
        "it is not known which pod holds which device",
        "is not there",
        "kubelet.podResourcesSocket",
    )


def test_another_plugin_that_serves_our_resource(doctor: Doctor, kubelet: Place, serve: Serve) -> None:
    path = kubelet.directory / "gpu.intel.com-xe.sock"
    other = kubelet.directory / "example.com-x.sock"
    serve({path: Plugin(), other: Plugin()})
    try:
        found = told(doctor, kubelet)
    finally:
        path.unlink()
        other.unlink()
    one(
        found, "rival", "another device plugin serves it", f"{path}: a device plugin answers", "remove the other plugin"
    )


def test_what_the_running_agent_serves_is_no_others(doctor: Doctor, kubelet: Place, serve: Serve) -> None:
    path, control = kubelet.directory / "gpu.intel.com-xe.sock", kubelet.runtime / "agent.sock"
    kubelet.runtime.mkdir(exist_ok=True)
    serve({path: Plugin(), control: Plugin()})
    try:
        outcome = doctor(SOUND)
    finally:
        path.unlink()
        control.unlink()
    assert [each["check"] for each in outcome.findings] == []


def test_no_agent_is_a_note(doctor: Doctor) -> None:
    (finding,) = doctor(SOUND).findings
    assert (finding["check"], finding["severity"]) == ("agent", "note")
    assert "DaemonSet must have a pod on this node" in finding["remedy"]


def test_who_may_not_read_is_told_so(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Root reads everything: so it does without that capability, in a process of its own."""
    root, config = tmp_path / "node", tmp_path / "config.yaml"
    plugins = tmp_path_factory.mktemp("k")  # short enough for sockets
    materialise(small(), root)
    (vendor,) = root.glob("sys/devices/pci0000:3a/*/*/vendor")
    vendor.chmod(0)
    plugins.chmod(0o555)
    config.write_text(f"kubelet: {{devicePluginDirectory: {plugins}, podResourcesSocket: {plugins}/x.sock}}")
    obliged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*obliged, sys.executable, "-m", "intel_agent", "doctor", "--root", str(root), "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    findings = done.stdout.split("\n\n")[2]
    assert "vendor: permission denied" in findings
    assert "cannot be written" in findings
