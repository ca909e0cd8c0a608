"""The few calls of the Kubernetes API that the agent makes, answered over TLS as the API server answers them."""

import json
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme

NAME = "worker-7"
PATH = f"/api/v1/nodes/{NAME}"
Taint = dict[str, str]


@dataclass
class Request:
    """One request, as far as tests look at it."""

    method: str
    path: str
    token: str
    accept: str


@dataclass
class ApiServer:
    """One node, who may see it, and what goes wrong."""

    directory: Path
    labels: dict[str, str] = field(default_factory=dict[str, str])
    taints: list[Taint] = field(default_factory=list[Taint])
    token: str = "first"
    fails: str = ""
    """What every request gets: `forbidden`, `unavailable`, `nonsense`, or nothing at all (`silence`)."""
    on_patch: list[list[Taint]] = field(default_factory=list[list[Taint]])
    """Taints that somebody else gives the node just before a patch comes, one list for each."""
    requests: list[Request] = field(default_factory=list[Request])
    patches: list[object] = field(default_factory=list[object])
    port: int = 0
    _server: ThreadingHTTPServer | None = None
    _end: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write_token(self.token)
        self.renew_authority()

    @property
    def environment(self) -> dict[str, str]:
        """What kubelet and the chart give the agent's container."""
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.port),
            "NODE_NAME": NAME,
        }

    def write_token(self, token: str) -> None:
        """Give the agent a token, as kubelet does: the file is another one at one stroke."""
        draft = self.directory / ".token"
        draft.write_text(token)
        draft.rename(self.directory / "token")

    def renew_authority(self) -> None:
        """Have certificates signed by a new authority from the next start on, and tell the agent of it."""
        authority = trustme.CA()
        self._certificate = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(str(self.directory / "ca.crt"))

    def start(self) -> None:
        """Listen, on the same port as before."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType]  # names pyOpenSSL, too
        self._end = threading.Event()
        self._server = _Server(self, self._end)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Go away, with every connection."""
        self._end.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def node(self) -> dict[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": NAME, "resourceVersion": "1", "labels": dict(self.labels)},
            "spec": {"taints": list(self.taints)} if self.taints else {},
            "status": {"images": [{"names": ["x" * 80], "sizeBytes": 1}] * 50},
        }

    def patched(self, operations: "list[dict[str, object]]") -> bool:
        """Do what a JSON patch says of taints, all of it or nothing; return whether its tests held."""
        if self.on_patch:
            self.taints = self.on_patch.pop(0)
        taints = list(self.taints)
        for each in operations:
            place = int(str(each["path"]).removeprefix("/spec/taints/"))
            if each["op"] == "remove":
                del taints[place]
            elif place >= len(taints) or taints[place] != each["value"]:
                return False
        self.taints = taints
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, api: ApiServer, end: threading.Event) -> None:
        self.api = api
        self.end = end
        super().__init__(("127.0.0.1", api.port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Take it as it comes: clients go away, or do not trust us."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]  # nobody else makes handlers

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Say nothing."""

    def do_GET(self) -> None:
        if not self._refused():
            whole = self.server.api.node()
            if "as=PartialObjectMetadata" in self.headers["Accept"]:
                self._answer(200, {"kind": "PartialObjectMetadata", "metadata": whole["metadata"]})
            else:
                self._answer(200, whole)

    def do_PATCH(self) -> None:
        operations = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused():
            return
        api = self.server.api
        if self.headers["Content-Type"] != "application/json-patch+json":
            self._fail(415, "unsupported media type")
            return
        api.patches.append(operations)
        if api.patched(operations):
            self._answer(200, api.node())
        else:
            self._fail(422, "the server rejected our request due to an error in our request")

    def _refused(self) -> bool:
        """Note the request; answer it if something is wrong, and return whether that is so."""
        api = self.server.api
        token = self.headers["Authorization"].removeprefix("Bearer ")
        api.requests.append(Request(self.command, self.path, token, self.headers["Accept"]))
        if self.server.end.is_set():
            self.close_connection = True
        elif api.fails == "silence":
            self.server.end.wait(30)
            self.close_connection = True
        elif api.fails == "unavailable":
            self._fail(503, "the server is currently unable to handle the request")
        elif api.fails == "nonsense":
            self._answer(200, [1])
        elif token != api.token:
            self._fail(401, "Unauthorized")
        elif api.fails == "forbidden":
            self._fail(403, f'nodes "{NAME}" is forbidden: User "agent" cannot get resource "nodes"')
        elif self.path.partition("?")[0] != PATH:
            self._fail(404, f'nodes "{self.path.rpartition("/")[2]}" not found')
        else:
            return False
        return True

    def _fail(self, code: int, message: str) -> None:
        self._answer(code, {"kind": "Status", "status": "Failure", "message": message, "code": code})

    def _answer(self, code: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def apiserver(directory: Path) -> Generator[ApiServer]:
    """Serve a node's object; the agent's account is in `directory`."""
    server = ApiServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
