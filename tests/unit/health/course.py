"""A node by and by: what the monitor does with looks, messages and time, without its clock and threads."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from intel_agent.backends import Backend
from intel_agent.backends.gpu import Gpu
from intel_agent.config import Config
from intel_agent.health import fate, judges, messages
from intel_agent.health.bodies import Bodies
from intel_agent.health.condition import Life
from intel_agent.health.marks import Mark, Marks, Place
from intel_agent.health.record import Record
from intel_agent.inventory import Found, Inventory
from intel_agent.model import NO_EDITS, Device, Event, Exclusion, Fault, Health, Reason, Signs, Verdict

BRIDGE = "/sys/devices/pci0000:3a/0000:3a:00.0"
CARD = f"{BRIDGE}/0000:3b:00.0"
HOLD = 30.0


def device(
    path: str = CARD, *faults: Fault, name: str = "card0", shares: int | None = None, depends_on: tuple[str, ...] = ()
) -> Device:
    return Device(
        name, "gpu.intel.com/xe", path, NO_EDITS, name, shares, faults=frozenset(faults), depends_on=depends_on
    )


def fault(reason: Reason, detail: str = "it is so") -> Fault:
    return Fault(reason, "test", detail)


def event(action: str, path: str = CARD, subsystem: str = "pci", **properties: str) -> Event:
    return Event(action, subsystem, path.removeprefix("/sys"), properties)


@dataclass
class Course:
    """One node. Time passes by `wait` only."""

    config: Config = field(default_factory=Config)
    backend: Backend = field(default_factory=Gpu)
    now: float = 1000.0
    record: Record = field(default_factory=Record)
    seen: Inventory = field(default_factory=Inventory)
    marks: Marks = field(default_factory=dict[Place, Mark])
    lives: dict[str, Life | None] = field(default_factory=lambda: {CARD: Life(1, 2)})
    words: judges.Words = field(default_factory=dict[str, judges.Parts])
    """What an outside judge said last."""

    @property
    def recovery(self) -> float:
        return self.config.health.recovery_seconds

    @property
    def bodies(self) -> Bodies:
        return Bodies.of(self.seen)

    def look(self, *items: Device | Exclusion | Signs, **others: Found) -> "Course":
        """See these, of the kind, and what was found of others."""
        self.seen = Inventory.of({self.backend.name: Found.of(items), **others})
        return self._take_in()

    def judge(self, words: judges.Words) -> "Course":
        """Have other words of the judge count."""
        self.words = words
        return self._take_in(again=True)

    def _take_in(self, *, again: bool = False) -> "Course":
        witnessed = judges.witnessed(self.seen, self.words)
        self.record = self.record.seen(witnessed, self.now, self.recovery, self.bodies, again=again)
        return self.settle()

    def hear(self, message: Event) -> "Course":
        if not messages.synthetic(message):
            self.record = messages.understood(self.record, message, self.now, self.recovery, self.bodies)
            for verdict in self.backend.diagnose(message):
                self.tell(verdict)
        return self.settle()

    def tell(self, verdict: Verdict, kind: str | None = None) -> "Course":
        name = self.backend.name if kind is None else kind
        self.record = self.record.told(name, verdict, self.now, self.recovery, self.bodies)
        return self.settle()

    def wait(self, seconds: float) -> "Course":
        self.now += seconds
        return self.settle()

    def settle(self) -> "Course":
        """Do what the monitor does each time that it wakes."""
        self.record = self.record.living(self.lives, self.now, self.bodies).elapsed(self.now, self.recovery)
        return self

    @property
    def judged(self) -> Inventory:
        acting = self.record.acting(self.now, self.recovery)
        return fate.judged(self.seen, acting, fate.treatments(self.config), self.marks)

    @property
    def health(self) -> Mapping[str, Health]:
        return {each.id: each.health for each in self.judged.devices}

    @property
    def healthy(self) -> bool:
        return set(self.health.values()) <= {Health.HEALTHY}

    @property
    def faults(self) -> dict[str, set[Reason]]:
        return {each.id: {fault.reason for fault in each.faults} for each in self.judged.devices}

    @property
    def warnings(self) -> dict[str, set[Reason]]:
        return {each.id: {fault.reason for fault in each.warnings} for each in self.judged.devices}
