"""The commands. What only one of them needs is imported when it runs."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from intel_agent.cli.parser import Command, Option, Values

if TYPE_CHECKING:
    from intel_agent.cli.sight import Place

CONFIG: Final = Option(
    names=("--config",),
    metavar="FILE",
    type=Path,
    completes="file",
    help="the configuration file (default: none, every setting has a default)",
)
ROOT: Final = Option(
    names=("--root",),
    metavar="DIR",
    default="/",
    completes="directory",
    help="where to find the node's sys/ and dev/; in a pod that is where the host is mounted (default: /)",
)
CHARTS: Final = ("gpu", "sgx", "dsa", "iaa", "qat", "npu", "dlb")
"""The kinds of devices whose old plugin has a chart."""
HOST_ROOT: Final = Option(
    names=("--host-root",),
    metavar="DIR",
    default="/",
    completes="directory",
    help="what the host itself calls that directory; paths given to kubelet start there (default: /)",
)
RUNTIME: Final = Option(
    names=("--runtime-directory",),
    metavar="DIR",
    default="/run/intel-agent",
    completes="directory",
    help="where the agent has its socket and what does not outlive a boot (default: /run/intel-agent)",
)
STATE: Final = Option(
    names=("--state-directory",),
    metavar="DIR",
    default="/var/lib/intel-agent",
    completes="directory",
    help="where the agent keeps marks and which overrides were in force (default: /var/lib/intel-agent)",
)
ACCOUNT: Final = Option(
    names=("--account-directory",),
    metavar="DIR",
    default="/var/run/secrets/kubernetes.io/serviceaccount",
    completes="directory",
    help="where to find token and ca.crt for the Kubernetes API (default: where kubelet mounts them)",
)
OUTPUT: Final = Option(
    names=("-o", "--output"),
    choices=("table", "json", "yaml"),
    default="table",
    help="how to print it (default: table)",
)


def _run(values: Values) -> int:
    # The kernel keeps SIGTERM from the first process of a container unless it has a handler: here is one until the
    # agent's own listens. There is nothing to tidy up yet.
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
    from intel_agent.agent import Settings
    from intel_agent.cli import service

    return service.run(
        Settings(
            values.config,
            values.root,
            values.host_root,
            values.runtime_directory,
            values.state_directory,
            values.account_directory,
        )
    )


def _devices(values: Values) -> int:
    from intel_agent.cli import devices

    return devices.run(values.config, _place(values), values.output)


def _doctor(values: Values) -> int:
    from intel_agent.cli import doctor

    return doctor.run(values.config, _place(values), values.account_directory, values.output)


def _place(values: Values) -> "Place":
    from intel_agent.cli.sight import Place

    return Place(values.root, values.host_root, values.runtime_directory, values.state_directory)


def _mark(values: Values) -> int:
    from intel_agent import control

    arguments = {"device": values.device, "word": values.word, "reason": values.reason}
    for line in control.ask(values.runtime_directory, "mark", arguments).lines:
        sys.stdout.write(f"{line}\n")
    return 0


def _status(values: Values) -> int:
    from intel_agent.cli import status

    return status.run(values.runtime_directory, values.output, watch=values.watch)


def _explain(values: Values) -> int:
    from intel_agent.cli import explain

    return explain.run(values.runtime_directory, values.name, values.output)


def _demo(values: Values) -> int:
    import anyio

    from intel_agent import demo

    return anyio.run(demo.run, values.node, values.seconds)


def _check(values: Values) -> int:
    from intel_agent import config

    for warning in config.warnings(config.load(values.file)):
        sys.stderr.write(f"intel-agent: {warning}\n")
    return 0


def _show(values: Values) -> int:
    from intel_agent import config

    loaded = config.load(values.config)
    if values.node_labels is not None:
        loaded = loaded.on_node(config.labels(values.node_labels))
    sys.stdout.write(config.show(loaded, values.output))
    return 0


def _schema(values: Values) -> int:
    del values
    from intel_agent import config

    sys.stdout.write(json.dumps(config.schema(), indent=2, ensure_ascii=False) + "\n")
    return 0


def _migrate(values: Values) -> int:
    from intel_agent.cli import migrate

    return migrate.run(values.files, values.chart, values.hardware_labels)


def _completion(values: Values) -> int:
    from intel_agent.cli import completion

    sys.stdout.write(completion.script(COMMANDS, values.shell))
    return 0


COMMANDS: Final = (
    Command(
        name="run",
        summary="serve this node: find devices, offer them to kubelet, until SIGTERM",
        description="Find the node's devices, register them with kubelet and keep the lists true until SIGTERM.\n"
        "Needs to read /sys and /dev and to write into kubelet's device-plugins directory.\n"
        "The configuration is read again when the file changes, or after SIGHUP.",
        epilog="in a pod that mounts the host below /host:\n"
        "  intel-agent run --config /etc/intel-agent.yaml --root /host",
        run=_run,
        options=(CONFIG, ROOT, HOST_ROOT, RUNTIME, STATE, ACCOUNT),
    ),
    Command(
        name="devices",
        summary="list what this node would offer, and what not and why",
        description="Look at /sys and /dev once and list every device that would be offered to kubelet,\n"
        "and everything that was seen and is not offered, with the reason and what to do about it.\n"
        "Needs no kubelet and changes nothing. Exits with 1 when a kind of device cannot be looked at.\n"
        "Where the configuration has overrides, they count as the agent of this node applied them last.",
        epilog="for scripts:\n"
        "  intel-agent devices -o json | jq -r '.devices[] | select(.health != \"Healthy\") | .id'",
        run=_devices,
        options=(OUTPUT, CONFIG, ROOT, HOST_ROOT, RUNTIME, STATE),
    ),
    Command(
        name="doctor",
        summary="say why a device is not there, and what to do about it",
        description="Look at every accelerator on the PCI bus, at every section of the configuration and at what\n"
        "surrounds the agent (drivers, kernel, kubelet, pod), and say what keeps devices from pods:\n"
        "what is wrong, which file says so, and what to do. Changes nothing; needs neither kubelet nor\n"
        "a running agent. docs/doctor.md lists all checks.",
        epilog="in the agent's pod:\n"
        "  kubectl exec -n intel-agent POD -- \\\n"
        "    intel-agent doctor --config /etc/intel-agent/config.yaml --root /host\n\n"
        "exits with 0 when the node is sound, with 1 when there are findings (notes are none), and with 2\n"
        "when it could not look",
        run=_doctor,
        options=(OUTPUT, CONFIG, ROOT, HOST_ROOT, RUNTIME, STATE, ACCOUNT),
    ),
    Command(
        name="status",
        summary="show what the running agent holds, and who has it",
        description="Ask the agent that runs on this node for what it holds now: resources and whether kubelet has\n"
        "them, devices with health, reasons and since when, the pods that hold them, what is not offered\n"
        "and why, and what happened. Needs root.",
        epilog="for scripts:\n  intel-agent status -o json | jq -r '.devices[] | .ids[] | select(.holder) | .id'",
        run=_status,
        options=(
            OUTPUT,
            Option(names=("--watch",), flag=True, help="print it again whenever something changed, until Ctrl-C"),
            RUNTIME,
        ),
    ),
    Command(
        name="explain",
        summary="say how one device, resource or left-out thing came to be what it is",
        description="Ask the agent that runs on this node for one thing's life: where it was seen, how it is judged\n"
        "and by what, how it is offered and who has it, and what happened to it last; of what is not\n"
        "offered the rule, the evidence and the remedy. Needs root.",
        epilog="why is this card not there?\n  intel-agent explain 0000:3b:00.0",
        run=_explain,
        options=(
            Option(
                names=("name",),
                metavar="NAME",
                help="a resource, an id, RESOURCE/ID, a PCI address, or a path below /sys",
            ),
            OUTPUT,
            RUNTIME,
        ),
    ),
    Command(
        name="mark",
        summary="have a device be unhealthy or healthy, whatever is seen of it",
        description="Tell the agent that runs on this node what to think of a device, until it is told `auto`.\n"
        "Kept over restarts and boots. `healthy` also forgets what messages of the kernel have told of it;\n"
        "what is seen and told from then on are warnings. Needs root.",
        epilog="for a card that is to be replaced:\n"
        "  intel-agent mark 0000:3b:00.0 unhealthy --reason 'fan is loud, ticket 4711'",
        run=_mark,
        options=(
            Option(names=("device",), metavar="DEVICE", help="an id, RESOURCE/ID, a PCI address, or a path below /sys"),
            Option(names=("word",), metavar="WORD", choices=("unhealthy", "healthy", "auto"), help="what it is to be"),
            Option(names=("--reason",), metavar="TEXT", default="", help="why, for logs and metrics"),
            RUNTIME,
        ),
    ),
    Command(
        name="demo",
        summary="watch the agent work on a simulated node and kubelet",
        description="Make a node with devices of every kind in a temporary directory, run the real agent on it\n"
        "against a kubelet in miniature, and show what happens: registration, an allocation,\n"
        "a GPU pulled and brought back, a kubelet restart. Needs neither hardware nor root nor a cluster.",
        run=_demo,
        options=(
            Option(
                names=("--node",), metavar="NAME", default="everything", help="which node to make (default: everything)"
            ),
            Option(
                names=("--seconds",), metavar="N", type=float, help="end after so many seconds (default: at Ctrl-C)"
            ),
        ),
    ),
    Command(
        name="config check",
        summary="say everything that is wrong with a configuration file",
        description="Check a configuration file as a whole and say everything that is wrong with it, one line each:\n"
        "file, line, key, what was found and what is allowed. Silent when nothing is wrong.\n"
        "Rules for single devices that can never decide are warnings: the exit code stays 0.",
        run=_check,
        options=(Option(names=("file",), metavar="FILE", type=Path, completes="file", help="the configuration file"),),
    ),
    Command(
        name="config show",
        summary="print every setting and where its value comes from",
        description="Print every setting with the value in force and where that comes from: the default, or a line\n"
        "of the file. The YAML form is a configuration file itself.\n"
        "With --node-labels, devices are those of a node with these labels, with the overrides that mean it.",
        epilog="for a node of the cluster:\n"
        "  kubectl get node NAME -o go-template="
        "'{{range $key, $value := .metadata.labels}}{{$key}}={{$value}},{{end}}' |\n"
        "    xargs intel-agent config show --config FILE --node-labels",
        run=_show,
        options=(
            CONFIG,
            Option(
                names=("--node-labels",),
                metavar="KEY=VALUE,...",
                help="the labels of the node that is meant (default: none, overrides are not applied)",
            ),
            Option(
                names=("-o", "--output"),
                choices=("yaml", "json"),
                default="yaml",
                help="how to print it (default: yaml)",
            ),
        ),
    ),
    Command(
        name="config schema",
        summary="print the JSON Schema of the configuration file",
        run=_schema,
    ),
    Command(
        name="migrate",
        summary="make a values file of the resources of the old device plugins",
        description="Read the resources of the Intel device plugins operator, the old plugins' DaemonSets or the\n"
        "values of their charts, or the configuration of the SR-IOV network device plugin, and print an\n"
        "equal values file for the chart of intel-agent. Every value says where it comes from. What has no\n"
        "equivalent is said on standard error and in comments, with what to do instead.",
        epilog="from a cluster:\n"
        "  kubectl get $(kubectl api-resources --api-group=deviceplugin.intel.com -o name | paste -sd,) -o yaml |\n"
        "    intel-agent migrate - > values.yaml\n\n"
        "exits with 0 when everything is carried over, with 1 when something has no equivalent",
        run=_migrate,
        options=(
            Option(
                names=("files",),
                metavar="FILE",
                completes="file",
                several=True,
                help="YAML or JSON with any number of objects, or a values file; -: standard input",
            ),
            Option(
                names=("--chart",),
                choices=CHARTS,
                help="whose a values file is that does not say it itself",
            ),
            Option(
                names=("--hardware-labels",),
                choices=("drop", "keep"),
                default="drop",
                help="what to do with labels for nodes that have the hardware: the agent looks itself (default: drop)",
            ),
        ),
    ),
    Command(
        name="completion",
        summary="print the completion script for a shell",
        epilog="to use it now:\n"
        "  bash:  source <(intel-agent completion bash)\n"
        "  zsh:   source <(intel-agent completion zsh)\n"
        "  fish:  intel-agent completion fish | source",
        run=_completion,
        options=(Option(names=("shell",), metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish"),),
    ),
)
