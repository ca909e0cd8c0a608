"""What becomes of a backend's looks: the monitor's memory and judgement, without its clock and threads."""

from intel_agent import vitals
from intel_agent.backends import Backend
from intel_agent.config import Config
from intel_agent.health import fate
from intel_agent.health.bodies import Bodies
from intel_agent.health.record import Record
from intel_agent.inventory import Found, Inventory
from intel_agent.model import Device, Reason
from intel_agent.sysfs import Host

HOLD = Config().health.recovery_seconds

Reasons = dict[str, set[Reason]]
"""By id."""


class Judging:
    """Looks at a machine again and again, and remembers."""

    def __init__(self, host: Host, backend: Backend) -> None:
        self._host = host
        self._backend = backend
        self._record = Record()
        self._devices: tuple[Device, ...] = ()

    def look(self, now: float) -> Reasons:
        """Look; return the reasons that keep each device from being handed out."""
        seen = Inventory.of(
            {self._backend.name: vitals.examined(self._host, Found.of(self._backend.discover(self._host)))}
        )
        self._record = self._record.seen(seen, now, HOLD, Bodies.of(seen))
        acting = self._record.acting(now, HOLD)
        self._devices = fate.judged(seen, acting, fate.treatments(Config()), {}).devices
        return {each.id: {fault.reason for fault in each.faults} for each in self._devices}

    @property
    def warnings(self) -> Reasons:
        """The other reasons at the last look."""
        return {each.id: {fault.reason for fault in each.warnings} for each in self._devices}
