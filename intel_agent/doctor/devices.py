"""Checks of accelerators: what is seen and not offered, what no driver made anything of, what is offered and broken."""

from collections.abc import Iterator

from intel_agent import pci
from intel_agent.backends import Backend
from intel_agent.doctor.drivers import cause
from intel_agent.doctor.finding import Finding, Severity
from intel_agent.doctor.node import Accelerator, Node
from intel_agent.health.bodies import at
from intel_agent.model import Exclusion, Reason
from intel_agent.remedies import REMEDIES
from intel_agent.rules import HIDDEN_RULE
from intel_agent.sysfs import Dir
from intel_agent.userspace import UIO_DRIVERS, VFIO_DRIVERS

_ABSENT = "no driver is bound"
_BY_HAND = VFIO_DRIVERS | UIO_DRIVERS
"""Drivers that take a function only when somebody says so."""


def failed(node: Node) -> Iterator[Finding]:
    for name, found in node.inventory.found.items():
        if found.problem:
            remedy = "see to what the evidence says; until then none of its devices is offered"
            yield Finding(Severity.ERROR, name, f"devices of {name} cannot be looked at", found.problem, remedy)


def left_out(node: Node) -> Iterator[Finding]:
    offered = [path for each in node.inventory.devices for path in each.paths]
    for kind, each in node.left_out():
        accelerator = node.at(each.path)
        subject = _subject(each.path, accelerator)
        what = accelerator.hardware.name if accelerator else f"a device of {kind.name}"
        severity = _severity(kind, each)
        if accelerator is not None and accelerator.driver is None and accelerator.path == each.path:
            yield _driverless(node, accelerator, severity, each)
        elif any(at(each.path, path) for path in offered):
            problem = f"{what} is offered without a part of it: {each.rule}"
            yield Finding(Severity.WARNING, subject, problem, each.evidence, each.remedy)
        elif each.path.startswith("/dev/"):
            problem = f"this belongs to no device of {kind.name}: {each.rule}"
            yield Finding(Severity.WARNING, subject, problem, each.evidence, each.remedy)
        else:
            yield Finding(severity, subject, f"{what} is not offered: {each.rule}", each.evidence, each.remedy)


def _driverless(
    node: Node, accelerator: Accelerator, severity: Severity, exclusion: Exclusion | None = None
) -> Finding:
    """Return that a function has no driver. One that a driver never takes by itself is handed over with commands."""
    found = cause(node, accelerator)
    problem, evidence, remedy = f"{accelerator.hardware.name}: {_ABSENT}", found.evidence, found.remedy
    if exclusion is not None:
        problem, evidence = f"{problem} ({exclusion.rule})", f"{exclusion.evidence}; {evidence}"
        if not found.certain and accelerator.hardware.drivers.keys() <= _BY_HAND:
            remedy = exclusion.remedy
    return Finding(severity, _subject(accelerator.path, accelerator), problem, evidence, remedy)


def _severity(kind: Backend, exclusion: Exclusion) -> Severity:
    return Severity.NOTE if exclusion.rule in kind.choices | {HIDDEN_RULE} else Severity.ERROR


def _subject(path: str, accelerator: Accelerator | None) -> str:
    """Return how people call what is at a path: by its address, or its name and the address of what it is part of."""
    name = path.rpartition("/")[2]
    function = accelerator.address if accelerator else None
    if function is None and (above := pci.function_above(Dir(path))) is not None:
        function = above.name
    ids = f" ({accelerator.identity})" if accelerator else ""
    if function is None:
        return path
    return f"{function}{ids}" if name == function else f"{name} of {function}"


def unseen(node: Node) -> Iterator[Finding]:
    explained = [each.path for _, each in node.left_out()]
    for each in node.accelerators:
        if each.kind.name not in node.inventory.found or node.inventory.found[each.kind.name].problem:
            continue
        if node.of(each) or any(map(each.owns, explained)) or pci.virtual_functions(each.function):
            continue
        if each.driver is None:
            yield _driverless(node, each, Severity.ERROR)
        else:
            problem = f"nothing was made of this {each.hardware.name}"
            evidence = f"/sys/bus/pci/devices/{each.address}/driver: {each.driver}"
            remedy = _for_driver(each, each.driver)
            yield Finding(Severity.ERROR, _subject(each.path, each), problem, evidence, remedy)


def _for_driver(accelerator: Accelerator, driver: str) -> str:
    wanted = " or ".join(accelerator.hardware.drivers)
    if driver in accelerator.hardware.drivers:
        return f"look for {accelerator.address} in the kernel log: {driver} has it, and made no device of it"
    return f"bind it to {wanted}, for which it is offered"


def unknown(node: Node) -> Iterator[Finding]:
    offered = [each.sysfs_path for each in node.inventory.devices]
    for function, identity, driver in node.strangers:
        path = node.host.kernel_path(function)
        if any(at(each, path) for each in offered):
            continue
        evidence = f"class {identity.pci_class}, driver {driver or 'none'}"
        remedy = "if it should be offered: update the agent, or ask for its id to be added"
        yield Finding(Severity.WARNING, f"{function.name} ({identity})", "this id is not known here", evidence, remedy)


def unhealthy(node: Node) -> Iterator[Finding]:
    for each in node.inventory.devices:
        for severity, faults in ((Severity.ERROR, each.faults), (Severity.WARNING, each.warnings)):
            for fault in sorted(faults):
                effect = "is offered as Unhealthy" if severity is Severity.ERROR else "is not well"
                yield Finding(
                    Severity.NOTE if fault.reason is Reason.RESERVED else severity,
                    f"{each.id} of {each.resource}",
                    f"it {effect}: {fault.reason}",
                    f"{each.sysfs_path}: {fault.detail}",
                    REMEDIES[fault.reason],
                )
