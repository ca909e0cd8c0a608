"""Whatever happens in whatever order, and whatever of it is lost: a full look ends in what is so."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from thorough import some

from intel_agent.health import judges, state
from intel_agent.health.condition import LONGEST_HOLD, MEMORY, Life
from intel_agent.health.judges import FINE, UNKNOWN, Statement
from intel_agent.health.judges import SEVERITIES as REASONS
from intel_agent.health.messages import RECOVERY
from intel_agent.inventory import Inventory
from intel_agent.model import Device, Event, Exclusion, Reason

from .course import HOLD, Course, device, event, fault

PATHS = tuple(f"/sys/devices/pci0000:3a/0000:3a:0{port}.0/0000:{bus}:00.0" for port, bus in enumerate(("3b", "4b")))
CARDS = st.sampled_from(range(len(PATHS)))
SEVERITIES = [UNKNOWN, FINE, *REASONS]


def address(path: str) -> str:
    return path.rpartition("/")[2]


@dataclass
class Truth:
    """What is so of one card."""

    life: Life | None
    halted: bool = False
    excluded: bool = False
    wedged: bool = False
    """Since the last binding, and the agent heard of it."""
    said: Mapping[str, int] = field(default_factory=dict[str, int])
    """How severe the judge said it is, by part, since the last removal of which the agent heard."""


class Node(RuleBasedStateMachine):
    """Two cards that come, go, break and heal, with a kernel some of whose messages are lost."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 10
        self.course = Course(lives={path: Life(1, 2) for path in PATHS})
        self.truth = {path: Truth(Life(1, 2)) for path in PATHS}
        self.look()

    def fresh(self) -> int:
        self.number += 1
        return self.number

    def hear(self, *messages: Event, lost: bool) -> None:
        for each in () if lost else messages:
            self.course.hear(each)

    @rule(card=CARDS, lost=st.booleans())
    def wedge(self, card: int, *, lost: bool) -> None:
        path = PATHS[card]
        if self.truth[path].life is not None:
            self.truth[path].wedged |= not lost
            self.hear(event("change", f"{path}/drm/card{card}", "drm", WEDGED="rebind"), lost=lost)

    @rule(card=CARDS, lost=st.booleans())
    def rebind(self, card: int, *, lost: bool) -> None:
        path, truth = PATHS[card], self.truth[PATHS[card]]
        if truth.life is not None:
            # Without a settled record the agent does not know which binding it heard of.
            self.course.settle()
            truth.life = Life(truth.life.directory, self.fresh())
            truth.wedged = False
            self.course.lives[path] = truth.life
            self.hear(event("unbind", path), event("bind", path), lost=lost)

    @rule(card=CARDS, lost=st.booleans())
    def unplug(self, card: int, *, lost: bool) -> None:
        path = PATHS[card]
        self.truth[path] = Truth(None, said=self.truth[path].said if lost else {})
        self.course.lives[path] = None
        self.hear(event("remove", path), lost=lost)
        if not lost:
            self.course.judge(judges.without(self.course.words, address(path)))

    @rule(card=CARDS, lost=st.booleans())
    def plug(self, card: int, *, lost: bool) -> None:
        path = PATHS[card]
        if self.truth[path].life is None:
            self.truth[path] = Truth(Life(self.fresh(), self.fresh()), said=self.truth[path].said)
            self.course.lives[path] = self.truth[path].life
            self.hear(event("add", path), lost=lost)

    @rule(card=CARDS, halted=st.booleans())
    def halt(self, card: int, *, halted: bool) -> None:
        self.truth[PATHS[card]].halted = halted and self.truth[PATHS[card]].life is not None

    @rule(card=CARDS, excluded=st.booleans())
    def exclude(self, card: int, *, excluded: bool) -> None:
        self.truth[PATHS[card]].excluded = excluded and self.truth[PATHS[card]].life is not None

    @rule(card=CARDS, begins=st.booleans())
    def recover(self, card: int, *, begins: bool) -> None:
        """Have an error of PCIe of which both messages come, in time."""
        path = PATHS[card]
        if self.truth[path].life is not None:
            self.course.hear(event("change", path, ERROR_EVENT="BEGIN_RECOVERY"))
            if begins:
                self.course.wait(RECOVERY / 2)
            self.course.hear(event("change", path, ERROR_EVENT="SUCCESSFUL_RECOVERY"))

    @rule(card=CARDS, said=st.dictionaries(st.sampled_from(["memory", "engine"]), st.sampled_from(SEVERITIES)))
    def judge(self, card: int, said: dict[str, int]) -> None:
        """Have the judge say how all parts are; what it does not know is as it was."""
        path = PATHS[card]
        statements = [Statement(part, severity) for part, severity in said.items()]
        self.course.judge(judges.heard(self.course.words, [(address(path), statements)]))
        before = self.truth[path].said
        now = {part: before.get(part, FINE) if each == UNKNOWN else each for part, each in said.items()}
        self.truth[path].said = {part: each for part, each in now.items() if each != FINE}

    @rule(card=CARDS)
    def noise(self, card: int) -> None:
        self.course.hear(event("change", f"{PATHS[card]}/drm/card{card}", "drm", HOTPLUG="1"))
        self.course.hear(event("remove", PATHS[card], SYNTH_UUID="0"))
        self.course.hear(event("remove", f"/sys/devices/x{self.fresh()}"))

    @rule(seconds=st.sampled_from([0.1, 2.5, HOLD, MEMORY]))
    def wait(self, seconds: float) -> None:
        self.course.wait(seconds)

    @rule()
    def restart(self) -> None:
        """Another agent goes on with what this one kept, and looks."""
        with TemporaryDirectory() as place:
            state.write(place, "boot", self.course.record)
            self.course = replace(self.course, record=state.read(place, "boot"), seen=Inventory())
        self.look()

    @rule()
    def look(self) -> None:
        self.course.look(*self.visible())

    def visible(self) -> list[Device | Exclusion]:
        return [
            Exclusion(path, "driver", "x", "y")
            if truth.excluded
            else device(path, *([fault(Reason.HALTED)] if truth.halted else []), name=f"card{number}")
            for number, (path, truth) in enumerate(self.truth.items())
            if truth.life is not None
        ]

    @invariant()
    def a_full_look_ends_in_what_is_so(self) -> None:
        """Whenever everything is looked at, and the longest hold time passes: what is wrong then is what is so."""
        after = replace(self.course).look(*self.visible()).wait(2.5).wait(LONGEST_HOLD)
        offered = {path: truth for path, truth in self.truth.items() if truth.life is not None and not truth.excluded}
        assert after.faults == {
            f"card{PATHS.index(path)}": {
                *([Reason.HALTED] if truth.halted else []),
                *([Reason.WEDGED] if truth.wedged else []),
                *(REASONS[each] for each in truth.said.values() if REASONS[each] is not Reason.JUDGED_WARNING),
            }
            for path, truth in offered.items()
        }
        assert {name: Reason.JUDGED_WARNING in warnings for name, warnings in after.warnings.items()} == {
            f"card{PATHS.index(path)}": Reason.JUDGED_WARNING in map(REASONS.get, truth.said.values())
            for path, truth in offered.items()
        }

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.course.record.conditions) <= len(PATHS) * len(Reason)


TestNode = Node.TestCase
TestNode.settings = settings(max_examples=some(100), stateful_step_count=40)
