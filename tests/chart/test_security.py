"""The least privilege: what pods may do, what they see of the node, and what they may ask the API server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from intel_agent.config.schema import Json, entries, items

from .helm import VALUES, Helm, Object

POLICY = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
OVERRIDE = ("--set", "nodeOverrides[0].selector.matchLabels.a=b,nodeOverrides[0].devices.gpu.enabled=false")
EVENTS = ("--set", "kubernetesEvents.enabled=true")
TAINT = ("--set", "startupTaint.enabled=true")
CONDITION = ("--set", "nodeCondition.enabled=true")
FAULT_TAINT = ("--set", "faultTaint.enabled=true")
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
        forbidden = {"hostPID", "hostIPC", "hostPort", "initContainers", "add"}
        forbidden |= set() if values.stem == "nic" else {"hostNetwork"}
        assert {key for key, each in words(dict(pod)) if key in forbidden or (key == "privileged" and each)} == set()


def test_the_agent_is_root_and_the_test_is_not(helm: Helm) -> None:
    rendered = helm.render("--set", "test.resource=intel.com/x")
    assert [each["securityContext"]["runAsUser"] for each in rendered.pods] == [0, 65534]


def test_what_is_mounted_is_fixed(helm: Helm) -> None:
    assert mounts(helm) == MOUNTS
    assert paths(helm) == PATHS


@PAGES
def test_mounts_do_not_depend_on_anything_but_their_own_values(helm: Helm, values: Path) -> None:
    if values.stem not in {"k0s", "nic", "other-directories", "pods"}:
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


POOL = "devices.nic.pools[0].resource=intel.com/a,devices.nic.pools[0].selectors.drivers={iavf}"
OVERRIDDEN = "nodeOverrides[0].selector.matchLabels.a=b,nodeOverrides[0].devices.nic"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param("log.level=info", False, id="nothing"),
        pytest.param("devices.nic.enabled=true", False, id="enabled, and nothing to offer"),
        pytest.param(POOL, True, id="pools"),
        pytest.param("devices.nic.configFile=/etc/pcidp/config.json", True, id="a file"),
        pytest.param(f"{POOL},devices.nic.enabled=false", False, id="disabled"),
        pytest.param(f"{OVERRIDDEN}.configFile=/etc/pcidp/config.json", True, id="a file on some nodes"),
        pytest.param(f"{POOL},devices.nic.enabled=false,{OVERRIDDEN}.enabled=true", True, id="enabled on some nodes"),
        pytest.param(f"{POOL},{OVERRIDDEN}.enabled=false", True, id="disabled on some nodes"),
        pytest.param("nodeOverrides[0].selector.a=b,nodeOverrides[0].devices.gpu.enabled=false", False, id="others"),
    ],
)
def test_the_hosts_network_is_used_for_network_functions_only(helm: Helm, settings: str, *, expected: bool) -> None:
    settings = settings.replace("selector.a=b", "selector.matchLabels.a=b")
    options = ("--set", f"{settings},openshift.securityContextConstraints=true")
    spec = helm.render(*options).agent["spec"]
    allowed = helm.render(*options).one("SecurityContextConstraints")
    directory = "/var/run/k8s.cni.cncf.io/devinfo/dp"

    assert (spec.get("hostNetwork", False), spec.get("dnsPolicy")) == (
        (True, "ClusterFirstWithHostNet") if expected else (False, None)
    )
    assert (allowed["allowHostNetwork"], allowed["allowHostPorts"]) == (expected, expected)
    assert mounts(helm, *options) == (MOUNTS | {directory: {"name": "device-info"}} if expected else MOUNTS)
    info = {"device-info": {"path": directory, "type": "DirectoryOrCreate"}}
    assert paths(helm, *options) == (PATHS | info if expected else PATHS)


def test_without_a_directory_there_is_no_mount_for_device_info(helm: Helm) -> None:
    assert mounts(helm, "--set", f"{POOL},deviceInfo.directory=") == MOUNTS


def test_the_directory_of_xpumds_socket_is_mounted_if_it_is_asked(helm: Helm) -> None:
    options = ("--set", "health.xpumd.socket=/run/xpumd/intelxpuinfo.sock")
    assert mounts(helm, *options) == MOUNTS | {"/run/xpumd": {"name": "xpumd", "readOnly": True}}
    assert paths(helm, *options) == PATHS | {"xpumd": {"path": "/run/xpumd", "type": "DirectoryOrCreate"}}


def test_config_maps_are_read_as_files(helm: Helm) -> None:
    options = ("--set", "configMaps[0].name=sriovdp-config,configMaps[0].directory=/etc/pcidp")
    volumes = helm.render(*options).agent["spec"]["volumes"]

    assert mounts(helm, *options) == MOUNTS | {"/etc/pcidp": {"name": "config-map-0", "readOnly": True}}
    assert {"name": "config-map-0", "configMap": {"name": "sriovdp-config", "optional": True}} in volumes
    assert "configMaps" not in helm.render(*options).file


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
        pytest.param(FAULT_TAINT, ["get", "patch"], True, id="fault taint"),
        pytest.param((*TAINT, *FAULT_TAINT), ["get", "patch"], True, id="both taints"),
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


def test_events_bring_the_right_to_make_them_and_no_other(helm: Helm) -> None:
    making = {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}
    rendered = helm.render(*EVENTS)
    assert rendered.one("ClusterRole")["rules"] == [making]
    assert rendered.agent["spec"]["automountServiceAccountToken"] is True
    assert rendered.one("ValidatingAdmissionPolicy")["metadata"]["name"] == "accelerators-intel-agent-events"
    older = helm.render(*EVENTS, "--kube-version", "1.29.9")
    assert older.one("ClusterRole")["rules"] == [making]
    assert not older.kinds & set(POLICY)
    nodes = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]}
    assert helm.render(*EVENTS, *TAINT).one("ClusterRole")["rules"] == [nodes, making]


def test_the_condition_brings_the_right_to_read_nodes_and_to_change_their_status(helm: Helm) -> None:
    rendered = helm.render(*CONDITION)
    assert rendered.one("ClusterRole")["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
    ]
    assert rendered.agent["spec"]["automountServiceAccountToken"] is True


def test_eviction_brings_the_rights_to_get_and_evict_pods(helm: Helm) -> None:
    rendered = helm.render("--set", "eviction.enabled=true")
    assert rendered.one("ClusterRole")["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
    ]
    assert rendered.one("ValidatingAdmissionPolicy")["metadata"]["name"] == "accelerators-intel-agent-eviction"
    assert rendered.agent["spec"]["automountServiceAccountToken"] is True


def test_eviction_in_some_namespaces_brings_the_rights_there_only(helm: Helm) -> None:
    rendered = helm.render("--set", "eviction.enabled=true,eviction.namespaces={train,test}")
    role, account = rendered.one("ClusterRole"), {"kind": "ServiceAccount", "name": "intel-agent"}
    assert [each["resources"] for each in role["rules"]] == [["pods"], ["pods/eviction"]]
    bindings = [each for each in rendered if each["kind"].endswith("RoleBinding")]
    assert [(each["kind"], each["metadata"].get("namespace")) for each in bindings] == [
        ("RoleBinding", "train"),
        ("RoleBinding", "test"),
    ]
    for each in bindings:
        assert each["roleRef"]["name"] == role["metadata"]["name"] == "accelerators-intel-agent-eviction"
        assert each["subjects"] == [{**account, "namespace": "accelerators"}]


def test_every_policy_is_about_the_account_and_has_a_binding(helm: Helm) -> None:
    rendered = helm.render(*EVENTS, *TAINT, *CONDITION, "--set", "serviceAccount.name=other,eviction.enabled=true")
    policies = [each for each in rendered if each["kind"] == POLICY[0]]
    bound = [each["spec"]["policyName"] for each in rendered if each["kind"] == POLICY[1]]
    assert sorted(each["metadata"]["name"] for each in policies) == sorted(bound)
    assert len(bound) == 4
    for each in policies:
        (condition,) = each["spec"]["matchConditions"]
        assert condition["expression"].endswith("'system:serviceaccount:accelerators:other'")
        assert each["spec"]["failurePolicy"] == "Fail"


def test_the_policy_is_about_the_account_of_the_pods(helm: Helm) -> None:
    rendered = helm.render(*TAINT, "--set", "serviceAccount.name=other,startupTaint.key=example.com/wait")
    policy: Object = rendered.one("ValidatingAdmissionPolicy")["spec"]
    assert rendered.agent["spec"]["serviceAccountName"] == "other"
    (condition,) = policy["matchConditions"]
    assert condition["expression"].endswith("'system:serviceaccount:accelerators:other'")
    assert "taint.key in ['example.com/wait']" in policy["validations"][1]["expression"]
    binding = rendered.one("ValidatingAdmissionPolicyBinding")["spec"]
    assert binding == {"policyName": "accelerators-intel-agent", "validationActions": ["Deny"]}


def test_the_agent_tolerates_the_taint_that_it_removes(helm: Helm) -> None:
    assert "tolerations" not in helm.render().agent["spec"]
    tolerations = helm.render(*TAINT).agent["spec"]["tolerations"]
    assert tolerations == [{"key": "intel.com/agent-not-ready", "operator": "Exists"}]


def test_the_agent_tolerates_the_taint_that_it_adds_whatever_its_effect(helm: Helm) -> None:
    tolerations = helm.render(*FAULT_TAINT, "--set", "faultTaint.key=example.com/broken").agent["spec"]["tolerations"]
    assert tolerations == [{"key": "example.com/broken", "operator": "Exists"}]


def test_only_metrics_are_read_and_only_the_api_server_is_called(helm: Helm) -> None:
    closed = helm.render("--set", "http.host=").one("NetworkPolicy")["spec"]
    assert (closed["policyTypes"], "ingress" in closed, "egress" in closed) == (["Ingress", "Egress"], False, False)
    open_ = helm.render(*OVERRIDE, "--set", "networkPolicy.apiServerPorts={8443}").one("NetworkPolicy")["spec"]
    assert open_["egress"] == [{"ports": [{"protocol": "TCP", "port": 8443}]}]
    assert open_["ingress"] == [{"ports": [{"protocol": "TCP", "port": 9808}]}]
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
