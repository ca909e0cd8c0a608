"""What kubelet's pod-resources socket answers, and what is made of an answer that is none."""

import concurrent.futures
import importlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from intel_agent._proto.v1 import (
    ContainerDevices,
    ContainerResources,
    ListPodResourcesResponse,
    PodResources,
)
from intel_agent.errors import KubeletError
from intel_agent.publish import holdings

pytestmark = pytest.mark.anyio

grpc: Any = importlib.import_module("grpc")

HELD = ListPodResourcesResponse(
    pod_resources=[
        PodResources(
            name="pod",
            namespace="default",
            containers=[
                ContainerResources(
                    name="c", devices=[ContainerDevices(resource_name="gpu.intel.com/xe", device_ids=["card0-0"])]
                )
            ],
        )
    ]
)
ODD = [b"\x0a\x02\x0a\xff", b"\x0a\x03\x0a\x01\xff", b"\xff\xff\xff", b"\x0a\x7f"]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdings, "DEADLINE", 60.0)


@pytest.fixture
def answer() -> Iterator[tuple[str, list[bytes]]]:
    """Return a socket, and a list with the one answer that it gives to whatever is asked."""
    given: list[bytes] = [b""]

    def answered(_request: object, _context: object) -> bytes:
        return given[0]

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, _: object) -> Any:
            return grpc.unary_unary_rpc_method_handler(answered)

    with tempfile.TemporaryDirectory(prefix="ia") as base:
        path = str(Path(base) / "kubelet.sock")
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[Handler()])
        server.add_insecure_port(f"unix:{path}")
        server.start()
        yield path, given
        server.stop(0).wait()


async def test_who_holds_what(answer: tuple[str, list[bytes]]) -> None:
    path, given = answer
    given[0] = bytes(HELD)
    assert await holdings.ask(path) == holdings.Holdings({("gpu.intel.com/xe", "card0-0"): "default/pod/c"}, known=True)


@pytest.mark.parametrize("odd", ODD)
async def test_what_cannot_be_read_is_no_answer(answer: tuple[str, list[bytes]], odd: bytes) -> None:
    path, given = answer
    given[0] = odd
    for ask in (holdings.ask, holdings.allocatable):
        try:
            await ask(path)
        except KubeletError:
            continue


async def test_text_that_is_none_is_no_answer(answer: tuple[str, list[bytes]]) -> None:
    path, given = answer
    given[0] = bytes(HELD).replace(b"card0-0", b"card0-\xff")
    with pytest.raises(KubeletError, match="unexpected"):
        await holdings.ask(path)
