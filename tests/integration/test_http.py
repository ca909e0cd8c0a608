"""Metrics and probes of a running agent, over real connections."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx2
import pytest
from anyio import to_thread
from prometheus_client.parser import text_string_to_metric_families

from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.web import server

from .log import Log
from .node import EVERYTHING, I915_CARD, XE, Node
from .running import Running, running
from .waiting import PATIENCE, until, until_async

pytestmark = pytest.mark.anyio

ANYWHERE = {"host": "127.0.0.1", "port": 0}
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@asynccontextmanager
async def serving(node: Node) -> AsyncGenerator[tuple[Running, httpx2.AsyncClient]]:
    """Run an agent that listens, and give a client of it."""
    node.configure(http=ANYWHERE)
    async with running(node) as agent:
        port = await until(lambda: agent.agent.web.port, "port")
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            yield agent, client


async def scraped(client: httpx2.AsyncClient) -> Series:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float:
    """Return the sum of what has (at least) these labels."""
    wanted = labels.items()
    return sum(each for (known, has), each in series.items() if known == f"intel_agent_{name}" and wanted <= has)


async def exchange(port: int, request: bytes) -> bytes:
    """Send bytes and return what comes back until the other side closes."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request)
        answer = b""
        with anyio.fail_after(PATIENCE):
            try:
                while True:
                    answer += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return answer


async def test_metrics_tell_of_devices_health_holders_and_kubelet(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    async with serving(node) as (agent, client):
        await agent.until_registered()
        await until(lambda: not agent.agent.unready, "readiness")
        await log.until_logged("resource.registered", times=len(EVERYTHING))
        await kubelet.admit("pod", {XE: 1})
        series = await scraped(client)

        assert value(series, "devices", resource=XE, health="Healthy") == 1
        assert value(series, "device_info", resource=XE, device="card0", driver="xe", pci_address="0000:3b:00.0") == 1
        assert value(series, "registered") == len(EVERYTHING)
        assert value(series, "listed", resource=XE) == 1
        assert value(series, "ready") == 1
        assert value(series, "allocated", resource=XE, id="card0-0", pod="pod") == 1
        assert value(series, "log_events_total", event="resource.registered", level="info") >= len(EVERYTHING)
        assert value(series, "scans_total", kind="gpu") >= 1
        assert value(series, "kubelet_start_time_seconds") > 0


@pytest.mark.usefixtures("kubelet")
async def test_a_fault_is_a_series_while_it_lasts(node: Node) -> None:
    async with serving(node) as (agent, client):
        await agent.until_registered()
        card = await to_thread.run_sync((node.root / f"{I915_CARD[1:]}/vendor").read_text)
        await node.change(f"{I915_CARD}/vendor", "nothing\n")
        agent.hint(["gpu"])

        async def faulty() -> bool:
            series = await scraped(client)
            return value(series, "device_fault", device="card1", reason="unreadable", source="sysfs") == 1

        await until_async(faulty, "fault in the metrics")
        await node.change(f"{I915_CARD}/vendor", card)
        agent.hint(["gpu"])

        async def sound() -> bool:
            series = await scraped(client)
            return not value(series, "device_fault") and value(series, "device_healthy", device="card1") == 1

        await until_async(sound, "sound card in the metrics")


async def test_ready_means_that_kubelet_has_every_list(node: Node) -> None:
    async with serving(node) as (agent, client):
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        await until(lambda: len(agent.published) == len(EVERYTHING), "lists")
        answer = await client.get("/readyz")
        assert f"{XE}: not registered with kubelet" in answer.text.splitlines()
        async with node.kubelet():
            await agent.until_registered()

            async def ready() -> bool:
                return (await client.get("/readyz")).status_code == 200

            await until_async(ready, "readiness")
            answer = await client.get("/readyz?verbose")
            assert f"{XE}: registered, and kubelet has the present list" in answer.text.splitlines()
            assert "gpu: looked at" in answer.text.splitlines()

        async def unready() -> bool:
            return (await client.get("/readyz")).status_code == 503

        await until_async(unready, "loss of kubelet")


async def test_alive_means_that_nothing_takes_longer_than_it_should(node: Node) -> None:
    async with serving(node) as (agent, client):
        answer = await client.get("/livez")
        assert (answer.status_code, answer.text) == (200, "ok\n")
        with agent.agent.liveness.within(0, "making lists"):
            answer = await client.get("/livez")
        assert answer.status_code == 503
        assert answer.text.startswith("making lists: ")


async def test_only_pages_that_exist_are_read_and_nothing_is_written(node: Node) -> None:
    async with serving(node) as (_, client):
        assert (await client.get("/")).status_code == 404
        answer = await client.post("/metrics", content=b"")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
        answer = await client.head("/livez")
        assert (answer.status_code, answer.headers["Content-Length"], answer.content) == (200, "3", b"")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /livez HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),  # TLS
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2 * server.LARGEST_HEAD + b"\r\n\r\n", b"431"),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", b"413"),
        (b"GET /livez HTTP/1.0\r\n\r\n", b"200"),
    ],
)
async def test_odd_requests_are_answered_and_the_connection_ends(node: Node, request_: bytes, status: bytes) -> None:
    async with serving(node) as (agent, _):
        answer = await exchange(agent.agent.web.port, request_)

        assert answer.startswith(b"HTTP/1.1 " + status)


async def test_who_is_silent_is_hung_up_on(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_DEADLINE", 0.1)
    async with serving(node) as (agent, _):
        assert await exchange(agent.agent.web.port, b"GET /livez") == b""


async def test_one_connection_too_many_is_closed_and_those_before_go_on(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 1)
    async with serving(node) as (agent, client):
        assert (await client.get("/livez")).status_code == 200
        assert await exchange(agent.agent.web.port, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n") == b""
        assert (await client.get("/livez")).status_code == 200


async def test_a_new_address_takes_effect_and_one_in_use_is_said(node: Node, log: Log) -> None:
    async with serving(node) as (agent, _), await anyio.create_tcp_listener(local_host="127.0.0.1") as other:
        taken = other.extra(anyio.abc.SocketAttribute.local_port)
        node.configure(http={"host": "127.0.0.1", "port": taken})
        await agent.agent.reload()

        async def said() -> bool:
            return bool(await log.lines("http.unavailable"))

        await until_async(said, "complaint")
        (line,) = await log.lines("http.unavailable")
        assert line.problem == f"127.0.0.1, port {taken}: address already in use"
        node.configure(http=ANYWHERE)
        await agent.agent.reload()
        await until(lambda: agent.agent.web.port, "port")
