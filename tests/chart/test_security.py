"""The least privilege: what pods may do, what they see of the node, and what they may ask the API server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from intel_agent.config.schema import Json, entries, items

from .helm import VALUES, Helm, Object

POLICY = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
OVERRIDE = ("--set", "nodeOverrides[0].selector.matchLabels.a=b,nodeOverrides[0].devices.gpu.enabled=false")
TAINT = ("--set", "startupTaint.enabled=true")
PAGES = pytest.mark.parametrize("values", VALUES, ids=lambda values: str(values.stem))

READ = {"readOnly": True, "recursiveReadOnly": "IfPossible"}
MOUNTS = {
    "/etc/intel-agent": {"name": "config", "readOnly": True},
    "/host/dev": {"name": "dev", **READ},
    "/host/sys": {"name": "sys", **READ},
    "/var/lib/kubelet/device-plugins": {"name": "device-plugins"},
    "/var/lib/kubelet/pod-resources": {"name": "pod-resources", "readOnly": True},
    "/var/run/cdi": {"name": "cdi"},
    "/run/intel-agent": {"name": "run"},
    "/var/lib/intel-agent": {"name": "state"},
}
PATHS = {
    "dev": {"path": "/dev", "type": "Directory"},
    "sys": {"path": "/sys", "type": "Directory"},
    "device-plugins": {"path": "/var/lib/kubelet/device-plugins", "type": "Directory"},
    "pod-resources": {"path": "/var/lib/kubelet/pod-resources", "type": "Directory"},
    "cdi": {"path": "/var/run/cdi", "type": "DirectoryOrCreate"},
    "run": {"path": "/run/intel-agent", "type": "DirectoryOrCreate"},
    "state": {"path": "/var/lib/intel-agent", "type": "DirectoryOrCreate"},
}


def mounts(helm: Helm, *options: str | Path) -> dict[str, Any]:
    container = helm.render(*options).agent["spec"]["containers"][0]
    return {
        each["mountPath"]: {k: v for k, v in each.items() if k != "mountPath"} for each in container["volumeMounts"]
    }


def paths(helm: Helm, *options: str | Path) -> dict[str, Any]:
    volumes = helm.render(*options).agent["spec"]["volumes"]
    return {each["name"]: each["hostPath"] for each in volumes if "hostPath" in each}


def words(part: Json) -> Iterator[tuple[str, Json]]:
    """Yield every key and value, at any depth."""
    yield from entries(part).items()
    for each in (*entries(part).values(), *items(part)):
        yield from words(each)


@PAGES
def test_no_pod_has_a_privilege(helm: Helm, values: Path) -> None:
    for pod in helm.render("--values", values).pods:
        (container,) = pod["containers"]
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert {**wanted, "privileged": False} == {"privileged": False, **container["securityContext"]}
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        forbidden = {"hostNetwork", "hostPID", "hostIPC", "hostPort", "initContainers", "add"}
        assert {key for key, each in words(dict(pod)) if key in forbidden or (key == "privileged" and each)} == set()


def test_the_agent_is_root_and_the_test_is_not(helm: Helm) -> None:
    rendered = helm.render("--set", "test.resource=intel.com/x")
    assert [each["securityContext"]["runAsUser"] for each in rendered.pods] == [0, 65534]


def test_what_is_mounted_is_fixed(helm: Helm) -> None:
    assert mounts(helm) == MOUNTS
    assert paths(helm) == PATHS


@PAGES
def test_mounts_do_not_depend_on_anything_but_their_own_values(helm: Helm, values: Path) -> None:
    if values.stem not in {"k0s", "other-directories", "pods"}:
        assert mounts(helm, "--values", values) == MOUNTS
        assert paths(helm, "--values", values) == PATHS


def test_paths_of_kubelet_and_cdi_are_mounted_where_they_are(helm: Helm) -> None:
    values = ("--values", next(each for each in VALUES if each.stem == "other-directories"))
    moved = {
        "device-plugins": ("/srv/kubelet: one/device-plugins", "Directory"),
        "pod-resources": ("/srv/kubelet #2/pod-resources", "Directory"),
        "cdi": ("/etc/cdi {}", "DirectoryOrCreate"),
    }
    assert paths(helm, *values) == PATHS | {key: {"path": path, "type": kind} for key, (path, kind) in moved.items()}
    assert {path for path, _ in moved.values()} <= set(mounts(helm, *values))


def test_what_the_node_mounts_later_can_be_seen_instead_of_being_read_only(helm: Helm) -> None:
    seen = {"readOnly": True, "mountPropagation": "HostToContainer"}
    changed = {"/host/dev": {"name": "dev", **seen}, "/host/sys": {"name": "sys", **seen}}
    assert mounts(helm, "--set", "hostMounts.recursiveReadOnly=false") == MOUNTS | changed


def test_there_is_never_more_than_one_agent_on_a_node(helm: Helm) -> None:
    strategy = helm.render().one("DaemonSet")["spec"]["updateStrategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


@pytest.mark.parametrize(
    ("options", "verbs", "policy"),
    [
        pytest.param((), None, False, id="nothing"),
        pytest.param(OVERRIDE, ["get"], False, id="overrides"),
        pytest.param(TAINT, ["get", "patch"], True, id="taint"),
        pytest.param((*OVERRIDE, *TAINT), ["get", "patch"], True, id="both"),
    ],
)
def test_rights_exist_only_where_they_are_needed(
    helm: Helm, options: tuple[str, ...], verbs: list[str] | None, *, policy: bool
) -> None:
    rendered = helm.render(*options)
    kinds = {"ClusterRole", "ClusterRoleBinding"} if verbs else set[str]()
    found = rendered.kinds & {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", *POLICY}
    assert found == kinds | (set(POLICY) if policy else set())
    assert rendered.agent["spec"]["automountServiceAccountToken"] == bool(verbs)
    assert rendered.one("ServiceAccount")["automountServiceAccountToken"] is False
    if verbs:
        assert rendered.one("ClusterRole")["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": verbs}]


def test_the_policy_is_about_the_account_of_the_pods(helm: Helm) -> None:
    rendered = helm.render(*TAINT, "--set", "serviceAccount.name=other,startupTaint.key=example.com/wait")
    policy: Object = rendered.one("ValidatingAdmissionPolicy")["spec"]
    assert rendered.agent["spec"]["serviceAccountName"] == "other"
    (condition,) = policy["matchConditions"]
    assert condition["expression"].endswith("'system:serviceaccount:accelerators:other'")
    assert "taint.key == 'example.com/wait'" in policy["validations"][1]["expression"]
    binding = rendered.one("ValidatingAdmissionPolicyBinding")["spec"]
    assert binding == {"policyName": "accelerators-intel-agent", "validationActions": ["Deny"]}


def test_the_agent_tolerates_the_taint_that_it_removes(helm: Helm) -> None:
    assert "tolerations" not in helm.render().agent["spec"]
    tolerations = helm.render(*TAINT).agent["spec"]["tolerations"]
    assert tolerations == [{"key": "intel.com/agent-not-ready", "operator": "Exists"}]


def test_nothing_comes_in_and_only_calls_of_the_api_server_go_out(helm: Helm) -> None:
    closed = helm.render().one("NetworkPolicy")["spec"]
    assert (closed["policyTypes"], "ingress" in closed, "egress" in closed) == (["Ingress", "Egress"], False, False)
    open_ = helm.render(*OVERRIDE, "--set", "networkPolicy.apiServerPorts={8443}").one("NetworkPolicy")["spec"]
    assert open_["egress"] == [{"ports": [{"protocol": "TCP", "port": 8443}]}]
    assert open_["podSelector"]["matchLabels"].items() <= helm.render().agent["metadata"]["labels"].items()


def test_openshift_allows_no_more_than_the_pods_ask_for(helm: Helm) -> None:
    rendered = helm.render("--set", "openshift.securityContextConstraints=true,seLinux.type=container_device_plugin_t")
    allowed = rendered.one("SecurityContextConstraints")
    assert {key: each for key, each in allowed.items() if each is True} == {
        "allowHostDirVolumePlugin": True,
        "readOnlyRootFilesystem": True,
    }
    assert allowed["users"] == ["system:serviceaccount:accelerators:intel-agent"]
    used = {key for each in rendered.agent["spec"]["volumes"] for key in each if key != "name"}
    assert used | {"projected"} == set(allowed["volumes"])
    assert rendered.agent["spec"]["securityContext"]["seLinuxOptions"] == {"type": "container_device_plugin_t"}


@pytest.mark.parametrize(
    "kind", ["NodeFeatureRule", "SecurityContextConstraints", "ClusterRole", "Pod", "ValidatingAdmissionPolicy"]
)
def test_what_is_optional_is_absent_by_default(helm: Helm, kind: str) -> None:
    assert kind not in helm.render().kinds
