"""Requests to the Kubernetes API, over TLS: what they say, and how each failure ends, in time and in words."""

import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio import from_thread, to_thread

from intel_agent.cluster import api as module
from intel_agent.cluster.api import METADATA, Access, Api
from intel_agent.cluster.node import OwnNode
from intel_agent.errors import ClusterError, ConflictError

from .apiserver import NAME, PATH, ApiServer, Request
from .waiting import PATIENCE

pytestmark = pytest.mark.anyio

OURS = {"key": "intel.com/agent-not-ready", "effect": "NoSchedule"}
OURS_TOO = {"key": "intel.com/agent-not-ready", "effect": "NoExecute", "timeAdded": "2026-01-31T12:00:00Z"}
OTHER = {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}
ANOTHER = {"key": "intel.com/agent-not-ready-yet", "value": "true", "effect": "NoSchedule"}


@asynccontextmanager
async def _answering(listener: socket.socket, answer: bytes) -> AsyncGenerator[None]:
    """Answer one connection with these bytes, whatever it says."""

    def answer_one() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(answer)

    async with anyio.create_task_group() as group:
        group.start_soon(to_thread.run_sync, answer_one)
        yield


@pytest.fixture
async def api(server: ApiServer) -> AsyncIterator[Api]:
    api = Api(Access.from_pod(server.environment, str(server.directory)))
    yield api
    await api.close()


@pytest.fixture
def node(api: Api) -> OwnNode:
    return OwnNode(api, NAME)


async def test_labels_are_asked_for_without_the_rest_of_the_node(server: ApiServer, node: OwnNode) -> None:
    server.labels = {"type": "flex", "intel.com/gpu": ""}
    assert await node.labels() == server.labels
    assert server.requests == [Request("GET", f"{PATH}?resourceVersion=0", "first", METADATA)]


async def test_a_node_without_labels_has_none(node: OwnNode) -> None:
    assert await node.labels() == {}


async def test_the_token_is_read_for_each_request(server: ApiServer, node: OwnNode) -> None:
    await node.labels()
    server.token = "second"
    with pytest.raises(ClusterError, match="401 Unauthorized: Unauthorized"):
        await node.labels()
    server.write_token("second\n")
    assert await node.labels() == {}
    assert [each.token for each in server.requests] == ["first", "first", "second"]


async def test_a_new_authority_is_taken_after_a_failure(server: ApiServer, node: OwnNode) -> None:
    await node.labels()
    server.stop()
    server.renew_authority()
    server.start()
    with pytest.raises(ClusterError):  # the connection of before is gone
        await node.labels()
    assert await node.labels() == {}


async def test_another_authority_is_not_trusted(server: ApiServer, node: OwnNode) -> None:
    trusted = (server.directory / "ca.crt").read_bytes()
    server.stop()
    server.renew_authority()
    (server.directory / "ca.crt").write_bytes(trusted)
    server.start()
    with pytest.raises(ClusterError, match="certificate verify failed"):
        await node.labels()
    assert server.requests == []


async def test_a_request_that_is_called_off_leaves_no_connection_behind(server: ApiServer) -> None:
    """Even in the middle of the handshake: nobody else would close it before the garbage collector comes round."""
    hello, gone = anyio.Event(), anyio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def listen() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE)
                while connection.recv(1000):
                    from_thread.run_sync(hello.set)
            from_thread.run_sync(gone.set)

        environment = {**server.environment, "KUBERNETES_SERVICE_PORT": str(listener.getsockname()[1])}
        api = Api(Access.from_pod(environment, str(server.directory)))
        async with anyio.create_task_group() as group:
            group.start_soon(to_thread.run_sync, listen)
            async with anyio.create_task_group() as asking:
                asking.start_soon(OwnNode(api, NAME).labels)
                await hello.wait()
                asking.cancel_scope.cancel()
            with anyio.fail_after(PATIENCE):
                await gone.wait()  # before the client as a whole is closed
        await api.close()


async def test_proxies_of_the_environment_are_not_used(
    server: ApiServer, node: OwnNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert await node.labels() == {}
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ("forbidden", rf'403 Forbidden: nodes "{NAME}" is forbidden: User "agent" cannot get resource "nodes"'),
        ("unavailable", "503 Service Unavailable: the server is currently unable to handle the request"),
        ("nonsense", "the answer is no node"),
        ("silence", "did not answer within 0.3 s"),
    ],
)
async def test_failures_are_said_in_the_servers_words(
    server: ApiServer, node: OwnNode, fails: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.3 if fails == "silence" else PATIENCE)
    server.fails = fails
    with pytest.raises(ClusterError, match=said):
        await node.labels()
    with pytest.raises(ClusterError, match=said):
        await node.remove_taint("intel.com/agent-not-ready")
    monkeypatch.setattr(module, "DEADLINE", PATIENCE)
    server.fails = ""
    assert await node.labels() == {}


async def test_a_node_of_another_name_is_not_found(api: Api) -> None:
    with pytest.raises(ClusterError, match='404 Not Found: nodes "a%2Fb" not found'):
        await OwnNode(api, "a/b").remove_taint("x")


async def test_nobody_listens(server: ApiServer, node: OwnNode) -> None:
    server.stop()
    with pytest.raises(ClusterError, match=rf"https://127.0.0.1:{server.port}: "):
        await node.labels()
    server.start()
    assert await node.labels() == {}


async def test_a_peer_that_speaks_no_tls(server: ApiServer, node: OwnNode) -> None:
    server.stop()
    with socket.create_server(("127.0.0.1", server.port), reuse_port=False) as listener:
        listener.settimeout(60)
        async with _answering(listener, b"HTTP/1.1 200 OK\r\n\r\n"):
            with pytest.raises(ClusterError, match="SSL"):
                await node.labels()


async def test_an_account_that_cannot_be_read(server: ApiServer, node: OwnNode) -> None:
    authority = (server.directory / "ca.crt").read_bytes()
    for file, content in (("token", b"\xff"), ("ca.crt", b"no certificate")):
        (server.directory / file).write_bytes(content)
        with pytest.raises(ClusterError, match=f"the service account in {server.directory} cannot be read"):
            await node.labels()
        server.write_token("first")
    (server.directory / "ca.crt").unlink()
    with pytest.raises(ClusterError, match=r"cannot be read: .*No such file"):
        await node.labels()
    (server.directory / "ca.crt").write_bytes(authority)
    assert await node.labels() == {}


@pytest.mark.parametrize("missing", ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"])
async def test_outside_of_a_cluster_there_is_no_api(server: ApiServer, missing: str) -> None:
    environment = {key: value for key, value in server.environment.items() if key != missing}
    with pytest.raises(ClusterError, match="the agent must run in a pod"):
        Access.from_pod(environment, "/nowhere")


async def test_an_address_of_ipv6_is_put_in_brackets() -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert Access.from_pod(environment, "/a") == Access("https://[fd00::1]:443", "/a")


async def test_only_the_taint_with_the_key_is_removed(server: ApiServer, node: OwnNode) -> None:
    server.taints = [OURS, OTHER, OURS_TOO, ANOTHER]
    assert await node.remove_taint(OURS["key"])
    assert server.taints == [OTHER, ANOTHER]
    assert not await node.remove_taint(OURS["key"])
    assert server.patches == [
        [
            {"op": "test", "path": "/spec/taints/2", "value": OURS_TOO},
            {"op": "remove", "path": "/spec/taints/2"},
            {"op": "test", "path": "/spec/taints/0", "value": OURS},
            {"op": "remove", "path": "/spec/taints/0"},
        ]
    ]


async def test_taints_that_change_meanwhile_are_left_alone(server: ApiServer, node: OwnNode) -> None:
    server.taints = [OURS]
    server.on_patch = [[OTHER, OURS]]
    with pytest.raises(ConflictError, match="422"):
        await node.remove_taint(OURS["key"])
    assert server.taints == [OTHER, OURS]
    assert await node.remove_taint(OURS["key"])
    assert server.taints == [OTHER]


async def test_the_library_is_not_imported_before_it_is_needed() -> None:
    program = (
        "import sys, intel_agent.cli.service, intel_agent.cluster.node\n"
        "sys.exit(any(each.split('.')[0] in {'httpx2', 'httpcore2', 'pydantic'} for each in sys.modules))"
    )
    assert (await anyio.run_process([sys.executable, "-c", program], check=False)).returncode == 0
