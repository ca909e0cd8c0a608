"""Nodes of which the cluster knows something else than what is there, and a kubelet that is too old for something."""

from collections.abc import Mapping

from .nodes import Api, Broken, Says

TAINT = {"startupTaint": {"enabled": True}}
"""Gives the agent the right to read its node."""
OURS = "intel.feature.node.kubernetes.io/"
DISCOVERED = {"feature.node.kubernetes.io/cpu-model.vendor_id": "Intel"}
LABELS = {**DISCOVERED, **{f"{OURS}{kind}": "true" for kind in ("gpu", "sgx", "dsa", "iaa")}}
"""What a node like the small machine has."""


def without(kind: str) -> dict[str, str]:
    return {name: value for name, value in LABELS.items() if name != f"{OURS}{kind}"}


NODES: Mapping[str, Broken] = {
    "kubelet of 1.27 by the node object": Broken(
        sections=TAINT,
        api=Api(LABELS, "v1.27.16"),
        says=(
            Says(
                "kubelet-version",
                "error",
                "kubelet",
                "kubelet is older than 1.28",
                "status.nodeInfo.kubeletVersion: v1.27.16",
                "update Kubernetes on this node to 1.28 or later",
            ),
        ),
    ),
    "CDI names on kubelet of 1.28": Broken(
        sections=TAINT,
        devices="{gpu: {cdi: names}}",
        api=Api(LABELS, "v1.28.4+k3s1"),
        says=(
            Says(
                "kubelet-features",
                "warning",
                "kubelet",
                "kubelet overlooks CDI names unless told otherwise, and gpu needs them",
                "status.nodeInfo.kubeletVersion: v1.28.4+k3s1",
                "DevicePluginCDIDevices of kubelet (from 1.28), or update it to 1.29 or later; or set devices.gpu.cdi",
            ),
            HEALTH := Says(
                "kubelet-features",
                "note",
                "kubelet",
                "the status of a pod does not say that its device is Unhealthy",
                "kubeletVersion: v1.",
                "feature gate ResourceHealthStatus of kubelet (from 1.31), or update it to 1.36 or later",
            ),
        ),
    ),
    "both ways of CDI on kubelet of 1.28": Broken(
        sections=TAINT, devices="{gpu: {cdi: both}}", api=Api(LABELS, "v1.28.4"), says=(HEALTH,)
    ),
    "no health of devices in pods": Broken(sections=TAINT, api=Api(LABELS, "v1.35.0"), says=(HEALTH,)),
    "no right to read the node": Broken(
        api=Api(without("gpu"), "v1.27.0"),
        says=(
            Says(
                "node-object",
                "note",
                "node object",
                "not looked at: kubelet's version, and the labels of Node Feature Discovery",
                "faultTaint and nodeCondition give the agent the right",
                "kubectl get node",
            ),
        ),
    ),
    "a right that is missing": Broken(
        sections=TAINT,
        api=Api(LABELS, fails="forbidden"),
        says=(Says("node-object", "note", "node object", "not looked at", "is forbidden", "kubectl get node"),),
    ),
    "an API server that talks nonsense": Broken(
        sections=TAINT,
        api=Api(LABELS, fails="nonsense"),
        says=(Says("node-object", "note", "node object", "not looked at", "the answer is no node", "kubectl"),),
    ),
    "a label that is missing": Broken(
        sections=TAINT,
        api=Api(without("dsa")),
        says=(
            Says(
                "labels",
                "warning",
                "labels",
                "no label says that there is dsa",
                f"not among the node's labels: {OURS}dsa",
                "nodeFeatureRules.enabled",
            ),
        ),
    ),
    "no labels of ours": Broken(
        sections=TAINT,
        api=Api(DISCOVERED),
        says=(
            Says(
                "labels",
                "note",
                "labels",
                "no label says that there is dsa, gpu, iaa, sgx",
                f"{OURS}dsa, {OURS}gpu, {OURS}iaa, {OURS}sgx",
                "Helm value nodeFeatureRules.enabled: true",
            ),
        ),
    ),
    "a label of what is not there": Broken(
        sections=TAINT,
        api=Api({**LABELS, f"{OURS}npu": "true", f"{OURS}fpga-arria10": "true", f"{OURS}qat": "false"}),
        says=(
            Says(
                "labels",
                "warning",
                "labels",
                "labels say that there is fpga-arria10, npu, of which nothing is offered",
                f"{OURS}fpga-arria10: true, {OURS}npu: true",
                "kubectl label node NODE LABEL-",
            ),
        ),
    ),
    "a label of what is switched off": Broken(
        sections=TAINT,
        devices="{dsa: {enabled: false}}",
        api=Api(LABELS),
        says=(
            Says("labels", "warning", "labels", "labels say that there is dsa", f"{OURS}dsa: true", "the section"),
            Says("disabled", "note", "dsa", "switched off", "devices.dsa.enabled: false", "devices.dsa.enabled"),
        ),
    ),
}
