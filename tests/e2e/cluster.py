"""A cluster of one node: etcd, API server, scheduler, controller manager and a kubelet."""

import json
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.client import NOT_FOUND
from pathlib import Path

import msgspec

from .daemon import Daemon
from .kubelet import NODE
from .network import LOOPBACK
from .node import Node, binaries
from .pods import Pod, manifest
from .sandbox import MachineNamespace, MountNamespace
from .waiting import PATIENCE, eventually

TOKENS = {
    "admin": 'admin,1,"system:masters"',
    "kubelet": f'system:node:{NODE},2,"system:nodes"',
    "scheduler": "system:kube-scheduler,3",
    "controllers": "system:kube-controller-manager,4",
}
"""User, id and groups of those who talk to the API server; the name is the token."""

CONTROLLERS = "*,-service-lb-controller,-node-route-controller,-cloud-node-lifecycle-controller"

READY_SECONDS = 60.0

HTTPS = 443
"""The port of the service `kubernetes`."""


class Condition(msgspec.Struct, frozen=True):
    """One condition of a node."""

    type: str
    status: str


class NodeStatus(msgspec.Struct, frozen=True):
    """What the API server knows of the node."""

    capacity: dict[str, str] = {}
    allocatable: dict[str, str] = {}
    conditions: tuple[Condition, ...] = ()

    @property
    def ready(self) -> bool:
        return Condition("Ready", "True") in self.conditions

    def amounts(self, resource: str) -> tuple[int, int]:
        """Return capacity and allocatable of a resource, -1 where there is none of the name."""
        return int(self.capacity.get(resource, -1)), int(self.allocatable.get(resource, -1))


class NodeObject(msgspec.Struct, frozen=True):
    """The node, as far as it matters here."""

    status: NodeStatus = NodeStatus()


class Api:
    """The API server, as its administrator sees it, or whoever has another token."""

    def __init__(self, namespace: MountNamespace, address: str, port: int, authority: Path) -> None:
        self.port = port
        self.authority = authority
        self.url = f"https://{address}:{port}"
        self._network = namespace.network
        self._context = ssl.create_default_context(cafile=str(authority))

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        content: str = "application/json",
        token: str = "admin",
    ) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with self._network(), urllib.request.urlopen(request, timeout=PATIENCE, context=self._context) as answer:
            text: bytes = answer.read()
            return text

    def ready(self) -> bool:
        """Return whether it serves: it is not there at first."""
        try:
            self.request("GET", "/readyz")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def exists(self, path: str) -> bool:
        """
        Return whether there is such an object.

        Raises:
            OSError: that cannot be told.
        """
        try:
            self.request("GET", path)
        except urllib.error.HTTPError as error:
            if error.code != NOT_FOUND:
                raise
            return False
        return True


class Cluster:
    """The cluster; its node is like that of the tests without a cluster."""

    PODS = "/api/v1/namespaces/default/pods"

    def __init__(self, base: Path, machine: Path | None = None) -> None:
        """With `machine` the node is that machine, and pods reach the API server as the service `kubernetes`."""
        self._base = base
        self.node = Node(self.kubeconfig("kubelet"), machine)
        namespace = self._namespace = self.node.namespace
        self._etcd_port, etcd_peers, port = namespace.free_ports(3)
        address = LOOPBACK
        if isinstance(namespace, MachineNamespace):
            address, port = namespace.service, HTTPS
        self.api = Api(namespace, address, port, _certificates(base, address))
        for user in TOKENS:
            self.kubeconfig(user).write_text(json.dumps(_kubeconfig(user, self.api.url, base)))
        (base / "tokens.csv").write_text("".join(f"{token},{user}\n" for token, user in TOKENS.items()))
        folder = binaries("kubernetes")
        self._daemons = [
            Daemon(namespace.beside(command), base / f"{Path(command[0]).name}.log")
            for command in (
                self._etcd(etcd_peers),
                self._apiserver(folder / "kube-apiserver", address),
                self._scheduler(folder / "kube-scheduler"),
                self._controllers(folder / "kube-controller-manager"),
            )
        ]

    def start(self) -> None:
        etcd, apiserver, *others = self._daemons
        etcd.start()
        apiserver.start()
        eventually(self.api.ready, "ready API server", within=READY_SECONDS)
        for daemon in others:
            daemon.start()
        # A changed ConfigMap comes to its pods when kubelet synchronises them, once a minute if nobody says else.
        self.node.start({"syncFrequency": "1s"})
        eventually(lambda: self.node_status.ready, "ready node", within=READY_SECONDS)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        eventually(lambda: self.api.exists(account), "default service account", within=READY_SECONDS)

    def stop(self) -> None:
        self.node.stop()
        for daemon in reversed(self._daemons):
            daemon.stop()

    @property
    def node_status(self) -> NodeStatus:
        """What is known of the node; nothing before kubelet has made its object."""
        try:
            answer = self.api.request("GET", f"/api/v1/nodes/{NODE}")
        except urllib.error.HTTPError as error:
            if error.code != NOT_FOUND:
                raise
            return NodeStatus()
        return msgspec.json.decode(answer, type=NodeObject).status

    def create(self, pod: Mapping[str, object]) -> None:
        self.api.request("POST", self.PODS, pod)

    def run(self, name: str, container: Mapping[str, object]) -> None:
        """Create a pod of one container and wait until it runs."""
        own_network = isinstance(self._namespace, MachineNamespace)
        self.create(manifest(name, [container], host_network=not own_network))
        self.until_phase(name, "Running")

    def until_phase(self, name: str, phase: str) -> None:
        eventually(lambda: self.pod(name).status.phase == phase, f"{name} {phase}", within=READY_SECONDS)

    def scheduling(self, name: str) -> str:
        """Return what the scheduler says of a pod that it cannot place."""
        return " ".join(condition.message for condition in self.pod(name).status.conditions)

    def pod(self, name: str) -> Pod:
        return msgspec.json.decode(self.api.request("GET", f"{self.PODS}/{name}"), type=Pod)

    def delete(self, *names: str) -> None:
        """Delete pods, all at once, and wait until they are gone."""
        paths = [f"{self.PODS}/{name}" for name in names]
        for path in paths:
            self.api.request("DELETE", f"{path}?gracePeriodSeconds=1")
        gone = f"end of {', '.join(names)}"
        eventually(lambda: not any(map(self.api.exists, paths)), gone, within=READY_SECONDS)

    def kubeconfig(self, user: str = "admin") -> Path:
        return self._base / f"{user}.kubeconfig"

    def _etcd(self, peers: int) -> list[str]:
        clients_url, peers_url = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{peers}"
        return [
            "etcd",
            f"--data-dir={self._base}/etcd",
            f"--listen-client-urls={clients_url}",
            f"--advertise-client-urls={clients_url}",
            f"--listen-peer-urls={peers_url}",
            f"--initial-advertise-peer-urls={peers_url}",
            f"--initial-cluster=default={peers_url}",
            "--unsafe-no-fsync",
        ]

    def _apiserver(self, binary: Path, address: str) -> list[str]:
        return [
            str(binary),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--bind-address={address}",
            f"--advertise-address={address}",
            f"--secure-port={self.api.port}",
            "--kubelet-preferred-address-types=InternalIP",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={self._base}/server.crt",
            f"--tls-private-key-file={self._base}/server.key",
            f"--cert-dir={self._base}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._base}/accounts.key",
            f"--service-account-signing-key-file={self._base}/accounts.key",
            f"--token-auth-file={self._base}/tokens.csv",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
        ]

    def _scheduler(self, binary: Path) -> list[str]:
        return [str(binary), *self._client("scheduler"), "--leader-elect=false"]

    def _controllers(self, binary: Path) -> list[str]:
        return [
            str(binary),
            *self._client("controllers"),
            "--leader-elect=false",
            f"--service-account-private-key-file={self._base}/accounts.key",
            f"--root-ca-file={self._base}/authority.crt",
            "--use-service-account-credentials=true",
            f"--controllers={CONTROLLERS}",
        ]

    def _client(self, user: str) -> list[str]:
        config = self.kubeconfig(user)
        return [
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._namespace.free_ports(1)[0]}",
            f"--cert-dir={self._base}/{user}",
        ]


@contextmanager
def running_cluster(machine: Path | None = None) -> Generator[Cluster, None, None]:
    """Start a cluster, and leave nothing of it behind."""
    base = Path(tempfile.mkdtemp(prefix="e2e-"))
    try:
        cluster = Cluster(base, machine)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(base)


def _kubeconfig(user: str, url: str, base: Path) -> dict[str, object]:
    server = {"server": url, "certificate-authority": f"{base}/authority.crt"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": server}],
        "users": [{"name": user, "user": {"token": user}}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": user}}],
        "current-context": "e2e",
    }


def _certificates(base: Path, address: str) -> Path:
    """Make an authority, a server certificate and the key of the service accounts; return the authority's."""
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    authority = ["-subj", "/CN=e2e", "-keyout", f"{base}/authority.key", "-out", f"{base}/authority.crt"]
    _openssl("req", "-x509", *new_key, "-days", "30", *authority)
    server = ["-subj", "/CN=kube-apiserver", "-keyout", f"{base}/server.key", "-out", f"{base}/server.csr"]
    _openssl("req", *new_key, *server)
    (base / "names").write_text(f"subjectAltName=IP:{address},DNS:localhost\n")
    signer = ["-CA", f"{base}/authority.crt", "-CAkey", f"{base}/authority.key", "-CAcreateserial"]
    request = ["-in", f"{base}/server.csr", "-out", f"{base}/server.crt", "-extfile", f"{base}/names"]
    _openssl("x509", "-req", "-days", "30", *request, *signer)
    _openssl("genrsa", "-out", f"{base}/accounts.key", "2048")
    return base / "authority.crt"


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)
