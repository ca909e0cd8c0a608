"""The few calls of the Kubernetes API that the agent makes, answered over TLS as the API server answers them."""

import json
import re
import socket
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import trustme

NAME = "worker-7"
PATH = f"/api/v1/nodes/{NAME}"
NODE = re.compile(re.escape(PATH) + "(/status)?")
PODS = re.compile(r"/api/v1/namespaces/([a-z0-9-]+)/pods/([a-z0-9.-]+)")
EVICTIONS = re.compile(PODS.pattern + "/eviction")
EVENTS = re.compile(r"/api/v1/namespaces/[a-z0-9-]+/events")
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
    kubelet: str = "v1.36.2"
    """Kubelet's version."""
    token: str = "first"
    fails: str = ""
    """What every request gets: `forbidden`, `unavailable`, `nonsense`, or nothing at all (`silence`).

    With `lost`, what is asked for is done, and the connection breaks before the answer.
    """
    hides_labels: bool = False
    """Whether nobody is told of the node's labels alone."""
    refuses: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    """What new objects in a namespace get: a code and, if one is given, a cause."""
    conditions: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """What the node says of itself."""
    on_patch: list[list[Taint]] = field(default_factory=list[list[Taint]])
    """Taints that somebody else gives the node just before a patch comes, one list for each."""
    rejects: bool = False
    """Whether no patch is taken, as one that others object to."""
    version: str = "1"
    """The node's: another one when somebody else changed it."""
    requests: list[Request] = field(default_factory=list[Request])
    patches: list[object] = field(default_factory=list[object])
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Events that were made."""
    pods: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """Metadata of pods by namespace and name (`default/train`)."""
    budgets: dict[str, int] = field(default_factory=dict[str, int])
    """How often the eviction of a pod is still put off by its disruption budget, by namespace and name."""
    objections: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    """What the eviction of a pod gets, by namespace and name: a code and a reason."""
    gate: threading.Event | None = None
    """What has to happen before anything is told of a pod."""
    evictions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Evictions that were allowed."""
    port: int = 0
    _server: ThreadingHTTPServer | None = None
    _place: socket.socket | None = None
    """What keeps the port while the server is away."""
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
        self._keep_port(keep=False)
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
            self._keep_port(keep=True)

    def end(self) -> None:
        """Go away for good."""
        self.stop()
        self._keep_port(keep=False)

    def _keep_port(self, *, keep: bool) -> None:
        """See that nobody else gets the port while nobody listens on it."""
        if self._place is not None:
            self._place.close()
        self._place = socket.socket() if keep else None
        if self._place is not None:
            self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._place.bind(("127.0.0.1", self.port))

    def node(self) -> dict[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": NAME, "resourceVersion": self.version, "labels": dict(self.labels)},
            "spec": {"taints": list(self.taints)} if self.taints else {},
            "status": {
                "images": [{"names": ["x" * 80], "sizeBytes": 1}] * 50,
                "conditions": [dict(each) for each in self.conditions],
                "nodeInfo": {"kubeletVersion": self.kubelet, "architecture": "amd64"},
            },
        }

    def patched(self, operations: "list[dict[str, object]]") -> bool:
        """Do what a JSON patch says of taints, all of it or nothing; return whether its tests held."""
        if self.on_patch:
            self.taints = self.on_patch.pop(0)
            self.version += "0"
        taints = list(self.taints)
        for each in operations:
            match each["op"], str(each["path"]).removeprefix("/spec/taints").removeprefix("/"):
                case "test", "metadata/resourceVersion":
                    if each["value"] != self.version:
                        return False
                case "remove", place:
                    del taints[int(place)]
                case "test", place:
                    if int(place) >= len(taints) or taints[int(place)] != each["value"]:
                        return False
                case "add", "":
                    taints = cast("list[Taint]", each["value"])
                case "add", "-" if taints:
                    taints.append(cast("Taint", each["value"]))
                case _:
                    return False
        self.taints = taints
        return True

    def merged(self, patch: dict[str, dict[str, list[dict[str, str]]]]) -> None:
        """Do what a strategic merge patch says of conditions, which are merged by their type."""
        for each in patch["status"]["conditions"]:
            others = [known for known in self.conditions if known["type"] != each["type"]]
            (before,) = [known for known in self.conditions if known["type"] == each["type"]] or [{}]
            self.conditions = others if each.get("$patch") == "delete" else [*others, {**before, **each}]


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
        if PODS.fullmatch(self.path):
            self._tell_of_pod()
        elif not self._refused():
            whole = self.server.api.node()
            if "as=PartialObjectMetadata" in self.headers["Accept"]:
                if self.server.api.hides_labels:
                    self._fail(503, "the server is currently unable to handle the request")
                    return
                self._answer(200, {"kind": "PartialObjectMetadata", "metadata": whole["metadata"]})
            else:
                self._answer(200, whole)

    def do_PATCH(self) -> None:
        operations = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused():
            return
        api = self.server.api
        status = self.path.endswith("/status")
        wanted = "application/strategic-merge-patch+json" if status else "application/json-patch+json"
        if self.headers["Content-Type"] != wanted:
            self._fail(415, "unsupported media type")
            return
        api.patches.append(operations)
        if api.rejects:
            self._fail(422, "ValidatingAdmissionPolicy 'calm' denied the request: not here")
        elif status:
            api.merged(operations)
            self._answer(200, api.node())
        elif api.patched(operations):
            self._answer(200, api.node())
        else:
            self._fail(422, "the server rejected our request due to an error in our request")

    def _tell_of_pod(self) -> None:
        if self._refused(PODS):
            return
        if (gate := self.server.api.gate) is not None:
            gate.wait(30)
        pod = self.server.api.pods.get(_pod(self.path))
        if pod is None:
            self._fail(404, "pods not found")
        elif "as=PartialObjectMetadata" not in self.headers["Accept"]:
            self._fail(406, "tests give no more than metadata")
        else:
            self._answer(200, {"kind": "PartialObjectMetadata", "metadata": pod})

    def _evict(self, eviction: dict[str, Any]) -> None:
        """Do what pkg/registry/core/pod/storage/eviction.go does, as far as it can be seen."""
        api, name = self.server.api, _pod(self.path.removesuffix("/eviction"))
        pod, options = api.pods.get(name), eviction["deleteOptions"]
        if pod is None:
            self._fail(404, "pods not found")
        elif pod["uid"] != options["preconditions"]["uid"]:
            self._fail(409, "the UID in the precondition does not match the UID in record", reason="Conflict")
        elif name in api.objections:
            code, reason = api.objections[name]
            self._fail(code, "somebody objects", reason=reason)
        elif api.budgets.get(name, 0) > 0:
            api.budgets[name] -= 1
            self._fail(429, "Cannot evict pod as it would violate the pod's disruption budget.")
        else:
            api.evictions.append(eviction)
            if "dryRun" not in options:
                pod["deletionTimestamp"] = "2026-01-31T12:00:00Z"
            if api.fails == "lost":
                self.close_connection = True
                return
            self._answer(201, {"kind": "Status", "status": "Success"})

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if EVICTIONS.fullmatch(self.path):
            if not self._refused(EVICTIONS):
                self._evict(event)
            return
        if self._refused(EVENTS):
            return
        code, cause = self.server.api.refuses.get(self.path.split("/")[4], (0, ""))
        if code:
            self._fail(code, "refused here", *filter(None, [cause]))
            return
        problem = _wrong(self.path, event)
        if problem:
            self._fail(422, problem)
            return
        name = event["metadata"]["name"]
        if any(each["metadata"]["name"] == name for each in self.server.api.events):
            self._fail(409, f'events "{name}" already exists')
            return
        self.server.api.events.append(event)
        if self.server.api.fails == "lost":
            self.close_connection = True
            return
        self._answer(201, {"kind": "PartialObjectMetadata", "metadata": event["metadata"]})

    def _refused(self, allowed: "re.Pattern[str]" = NODE) -> bool:
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
        elif not allowed.fullmatch(self.path.partition("?")[0]):
            self._fail(404, f'nodes "{self.path.rpartition("/")[2]}" not found')
        else:
            return False
        return True

    def _fail(self, code: int, message: str, *causes: str, reason: str = "") -> None:
        details = {"causes": [{"reason": each} for each in causes]} if causes else None
        status = {
            "kind": "Status",
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
            "details": details,
        }
        self._answer(code, status)

    def _answer(self, code: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _pod(path: str) -> str:
    """Return namespace and name of the pod at the path."""
    namespace, _, name = path.split("/")[4:7]
    return f"{namespace}/{name}"


def _wrong(path: str, event: dict[str, Any]) -> str:
    """Return what the API server would refuse about an Event (pkg/apis/core/validation/events.go)."""
    involved, metadata = event["involvedObject"], event["metadata"]
    if metadata["namespace"] != path.split("/")[4]:
        return "the namespace of the provided object does not match the namespace sent on the request"
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", metadata["name"]) or len(metadata["name"]) > 253:
        return "metadata.name: Invalid value"
    if involved.get("namespace", "default") != metadata["namespace"]:
        return "involvedObject.namespace: does not match event.namespace"
    if len(event["message"]) > 1024 or event["type"] not in {"Normal", "Warning"} or not event["reason"].isalpha():
        return "message, type or reason: Invalid value"
    return ""


@contextmanager
def apiserver(directory: Path) -> Generator[ApiServer]:
    """Serve a node's object; the agent's account is in `directory`."""
    server = ApiServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.end()
