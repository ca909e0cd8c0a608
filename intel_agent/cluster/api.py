"""The Kubernetes API as a pod reaches it. The only user of httpx2, which the first request imports (docs/adr/0007).

Source: "Accessing the Kubernetes API from a Pod" and "API concepts" in the documentation of Kubernetes.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import msgspec
from anyio import to_thread

from intel_agent.errors import ClusterError, ConflictError

if TYPE_CHECKING:
    from httpx2 import AsyncClient

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where kubelet puts a pod's token and the authority that the API server is known by."""
DEADLINE = 10.0
"""How long a request may take from the token's file to the end of the answer, in seconds."""
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
METADATA = f"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{JSON}"
"""The form of an object that has no more than its metadata: all that labels are in."""

_CONFLICTS = frozenset({409, 422})
"""What the API server says when an object is not any more what a patch takes it for."""


class _Status(msgspec.Struct, frozen=True):
    """The API server's account of a failure, as far as people need it."""

    message: str = ""


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
                "nodeOverrides or startupTaint"
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
            ClusterError: it does not answer, or refuses, in its own words.
        """
        return await self._request("GET", path, {"Accept": accept})

    async def patch(self, path: str, operations: bytes) -> None:
        """Change the object as a JSON patch says (RFC 6902).

        Raises:
            ConflictError: the object is not any more what the patch takes it for.
            ClusterError: the API server does not answer, or refuses, in its own words.
        """
        await self._request("PATCH", path, {"Accept": METADATA, "Content-Type": JSON_PATCH}, operations)

    async def close(self) -> None:
        """Close the connection, if there is one; the next request makes another."""
        if self._client is not None:
            await self._give_up(self._client)

    async def _request(self, method: str, path: str, headers: dict[str, str], content: bytes | None = None) -> bytes:
        client: AsyncClient | None = None
        try:
            with anyio.fail_after(DEADLINE):
                async with self._preparing:
                    prepared, token = await to_thread.run_sync(self._prepared, abandon_on_cancel=True)
                client = prepared
                headers["Authorization"] = f"Bearer {token}"
                answer = await prepared.request(method, path, headers=headers, content=content)
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
        if answer.is_success:
            return answer.content
        kind = ConflictError if answer.status_code in _CONFLICTS else ClusterError
        raise kind(f"{method} {path}: {answer.status_code} {answer.reason_phrase}{_words(answer.content)}")

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


def _client(url: str, authority: str) -> "AsyncClient":
    from httpx2 import AsyncClient

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=authority)
    # Proxies of the environment are for the way out of the cluster.
    return AsyncClient(base_url=url, verify=context, timeout=DEADLINE, trust_env=False)


def _failures() -> tuple[type[Exception], ...]:
    """Return what httpx2 raises when a request fails."""
    from httpx2 import HTTPError, InvalidURL, StreamError

    return HTTPError, InvalidURL, StreamError


def _words(body: bytes) -> str:
    try:
        message = msgspec.json.decode(body, type=_Status).message
    except msgspec.MsgspecError:
        return ""
    return f": {message}" if message else ""
