"""Says in the log what is new about devices."""

import structlog

from intel_agent.health.record import Record
from intel_agent.inventory import Change, Inventory
from intel_agent.model import Device

log = structlog.get_logger()


def changed(before: Inventory, inventory: Inventory) -> None:
    """Say what is new since `before`."""
    _devices(inventory.since(before))
    known = set(before.exclusions)
    for each in inventory.exclusions:
        if each not in known:
            log.info("device.excluded", device=each.path, rule=each.rule, evidence=each.evidence, remedy=each.remedy)
    for problem in sorted({*inventory.rule_problems} - {*before.rule_problems}):
        log.warning("rule.ignored", setting=problem.setting, problem=problem.problem)


def _devices(change: Change) -> None:
    for device in change.added:
        log.info("device.added", device=device.id, resource=device.resource, path=device.sysfs_path, **_state(device))
    for device in change.removed:
        log.warning("device.removed", device=device.id, resource=device.resource, path=device.sysfs_path)
    for old, new in change.changed:
        say = log.warning if new.faults - old.faults or new.warnings - old.warnings else log.info
        say("device.changed", device=new.id, resource=new.resource, path=new.sysfs_path, **_state(new))


def _state(device: Device) -> dict[str, object]:
    state: dict[str, object] = {"health": device.health.value}
    for name, faults in (("faults", device.faults), ("warnings", device.warnings)):
        if faults:
            state[name] = [f"{fault.reason}: {fault.detail}" for fault in sorted(faults)]
    if device.decided_by is not None:
        state["decided_by"] = device.decided_by
    return state


def damped(before: Record, after: Record, recovery: float) -> None:
    """Say which faults have come back, so that their recovery has to last longer."""
    for key, each in after.conditions.items():
        old = before.conditions.get(key)
        if each.returns and (old is None or old.returns < each.returns):
            log.warning(
                "fault.damped", device=key.path, reason=str(key.reason), count=each.returns, seconds=each.hold(recovery)
            )
