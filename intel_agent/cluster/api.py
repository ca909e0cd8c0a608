"""The Kubernetes API as a pod reaches it. The only user of httpx2, which the first request imports (docs/adr/0007).

Source: "Accessing the Kubernetes API from a Pod" and "API concepts" in the documentation of Kubernetes.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
from anyio import to_thread

from intel_agent.errors import (
    BusyError,
    ClusterError,
    ConflictError,
    ExistsError,
    HopelessError,
    InternalError,
    MissingError,
    RefusedError,
)

if TYPE_CHECKING:
    from httpcore2 import AsyncNetworkStream
    from httpx2 import AsyncClient

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where kubelet puts a pod's token and the authority that the API server is known by."""
DEADLINE = 10.0
"""How long a request may take from the token's file to the end of the answer, in seconds."""
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
METADATA = f"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{JSON}"
"""The form of an object that has no more than its metadata: all that labels are in."""

_MEANINGS: Mapping[tuple[str, int], type[ClusterError]] = MappingProxyType(
    {
        ("GET", 404): MissingError,
        ("PATCH", 409): ConflictError,
        ("PATCH", 422): ConflictError,
        ("POST", 400): RefusedError,
        ("POST", 403): RefusedError,
        ("POST", 404): MissingError,
        ("POST", 409): ExistsError,
        ("POST", 422): HopelessError,
        ("POST", 429): BusyError,
        ("POST", 500): InternalError,
    }
)
"""What it means that the API server answers a request so, as far as somebody acts on it."""
_TERMINATING = "NamespaceTerminating"
"""A cause of a refusal: nothing new may be in a namespace that is being removed (k8s.io/api/core/v1/types.go)."""


class _Cause(msgspec.Struct, frozen=True):
    reason: str = ""


class _Details(msgspec.Struct, frozen=True):
    causes: tuple[_Cause, ...] | None = None


class _Status(msgspec.Struct, frozen=True):
    """The API server's account of a failure, as far as people and we need it."""

    message: str = ""
    reason: str = ""
    details: _Details | None = None

    @property
    def causes(self) -> frozenset[str]:
        causes = None if self.details is None else self.details.causes
        return frozenset(each.reason for each in causes or ())


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is, and the directory with what opens its door."""

    url: str
    account: str

    @classmethod
    def from_pod(cls, environment: Mapping[str, str], account: str) -> "Access":
        """Return what kubelet tells every container.

        Raises:
            ClusterError: this is no container in a cluster.
        """
        host, port = (environment.get(f"KUBERNETES_SERVICE_{each}", "") for each in ("HOST", "PORT"))
        if not host or not port:
            raise ClusterError(
                "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: the agent must run in a pod to use "
                "nodeOverrides, startupTaint, kubernetesEvents, nodeCondition, faultTaint or eviction"
            )
        return cls(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}", account)


class Api:
    """Requests, each with a deadline. The token is read for each one, the authority after each failure: both rotate."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._client: AsyncClient | None = None
        self._preparing = anyio.Lock()

    async def get(self, path: str, *, accept: str = JSON) -> bytes:
        """Return what the API server says of the object.

        Raises:
            MissingError: there is none.
            ClusterError: it does not answer, or refuses, in its own words.
        """
        return await self._request("GET", path, {"Accept": accept})

    async def patch(self, path: str, content: bytes, kind: str = JSON_PATCH) -> None:
        """Change the object as a patch says: one of RFC 6902, or of the `kind` that it is.

        Raises:
            ConflictError: the object is not any more what the patch takes it for.
            ClusterError: the API server does not answer, or refuses, in its own words.
        """
        await self._request("PATCH", path, {"Accept": METADATA, "Content-Type": kind}, content)

    async def post(self, path: str, content: bytes) -> None:
        """Make a new object in a collection.

        Raises:
            BusyError: not now: there are too many requests, or a disruption budget is used up.
            ConflictError: what it is about is not what it is taken for.
            ExistsError: there is one of this name; perhaps it was made before, and the answer was lost.
            HopelessError: it cannot be made: its namespace is going, or the object is invalid.
            InternalError: the API server failed, or something that it has to ask did.
            MissingError: what it is about, or its namespace, is not there.
            RefusedError: it may not be made now: a right is missing, a quota is used up, or somebody objects.
            ClusterError: the API server does not answer, or refuses, in its own words.
        """
        await self._request("POST", path, {"Accept": METADATA, "Content-Type": JSON}, content)

    async def close(self) -> None:
        """Close the connection, if there is one; the next request makes another."""
        if self._client is not None:
            await self._give_up(self._client)

    async def _request(self, method: str, path: str, headers: dict[str, str], content: bytes | None = None) -> bytes:
        client: AsyncClient | None = None
        handshake = _Handshake()
        try:
            with anyio.fail_after(DEADLINE):
                async with self._preparing:
                    prepared, token = await to_thread.run_sync(self._prepared, abandon_on_cancel=True)
                client = prepared
                headers["Authorization"] = f"Bearer {token}"
                answer = await prepared.request(
                    method, path, headers=headers, content=content, extensions={"trace": handshake.follow}
                )
        except TimeoutError as error:
            await self._give_up(client)
            raise ClusterError(f"{self._access.url} did not answer within {DEADLINE:g} s") from error
        except ClusterError:
            raise
        except Exception as error:  # the border of one request
            await self._give_up(client)
            expected = isinstance(error, (OSError, *_failures()))
            problem = (str(error) or type(error).__name__) if expected else f"unexpected: {error!r}"
            raise ClusterError(f"{self._access.url}: {problem}") from error
        finally:
            await handshake.end()
        if answer.is_success:
            return answer.content
        status = _status(answer.content)
        words = f": {status.message}" if status.message else ""
        raise _refusal(method, answer.status_code, status)(
            f"{method} {path}: {answer.status_code} {answer.reason_phrase}{words}"
        )

    def _prepared(self) -> "tuple[AsyncClient, str]":
        """Return a client and the present token. Reads files, and imports for a tenth of a second the first time.

        Raises:
            ClusterError: the token or the authority cannot be read.
        """
        account = self._access.account
        try:
            with open(f"{account}/token", encoding="ascii") as file:
                token = file.read().strip()
            if self._client is None:
                self._client = _client(self._access.url, f"{account}/ca.crt")
        except (OSError, UnicodeDecodeError) as error:
            raise ClusterError(f"the service account in {account} cannot be read: {error}") from error
        return self._client, token

    async def _give_up(self, client: "AsyncClient | None") -> None:
        """Close the client of a request that failed; others that go on with a newer one keep it."""
        if self._client is client:
            self._client = None
        if client is not None:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
                await client.aclose()


class _Handshake:
    """A connection until its TLS handshake is done: httpcore2 2.16 forgets one that is cancelled before, still open."""

    def __init__(self) -> None:
        self._stream: AsyncNetworkStream | None = None

    async def follow(self, event: str, info: Mapping[str, Any]) -> None:
        """Hear what becomes of a request; see "trace" of httpcore's request extensions."""
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
        elif event == "connection.start_tls.complete":
            self._stream = None

    async def end(self) -> None:
        """Close what is left of a connection that came to nothing."""
        if self._stream is not None:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
                await self._stream.aclose()


def _client(url: str, authority: str) -> "AsyncClient":
    from httpx2 import AsyncClient

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=authority)
    # Proxies of the environment are for the way out of the cluster.
    return AsyncClient(base_url=url, verify=context, timeout=DEADLINE, trust_env=False)


def _refusal(method: str, code: int, status: _Status) -> type[ClusterError]:
    """Return what it means that the API server answers a request so."""
    if (method, code) == ("POST", 409) and status.reason == "Conflict":
        return ConflictError
    if (method, code) == ("POST", 403) and _TERMINATING in status.causes:
        return HopelessError
    return _MEANINGS.get((method, code), ClusterError)


def _failures() -> tuple[type[Exception], ...]:
    """Return what httpx2 raises when a request fails."""
    from httpx2 import HTTPError, InvalidURL, StreamError

    return HTTPError, InvalidURL, StreamError


def _status(body: bytes) -> _Status:
    try:
        return msgspec.json.decode(body, type=_Status)
    except msgspec.MsgspecError:
        return _Status()
