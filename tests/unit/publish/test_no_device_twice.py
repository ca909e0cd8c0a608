"""Whatever is reloaded, allocated and released in whatever order: nobody shares what somebody was promised alone."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from thorough import some

from intel_agent._proto.v1beta1 import ListAndWatchResponse
from intel_agent.inventory import Found, Inventory
from intel_agent.model import NO_EDITS, Device
from intel_agent.publish.holdings import Holdings, Key
from intel_agent.publish.roster import Roster, projected
from intel_agent.rules import Kind, Match, Rule, applied

CARDS = 2
LINGER = 10.0
WHOLE = "gpu.intel.com/whole"
"""A resource whose one device is made of all cards."""
KIND = Kind("devices.gpu", lambda _: True)
NAMES = [*(f"card{number}" for number in range(CARDS)), "whole0"]
MATCHES = st.lists(st.sampled_from(NAMES), min_size=1, max_size=CARDS).map(lambda names: Match(name=tuple(names)))
NAMED = st.sampled_from(["xe", "other"])
RULES = st.lists(
    st.one_of(
        st.builds(Rule, match=MATCHES, hide=st.booleans()),
        st.builds(Rule, match=MATCHES, reserve=st.just(value=True)),
        st.builds(Rule, match=MATCHES, shares=st.integers(1, 3), prefer_last=st.booleans()),
        st.builds(Rule, match=MATCHES, resource=NAMED),
        st.builds(Rule, match=MATCHES, resource=NAMED, shares=st.integers(1, 3)),
    ),
    max_size=2,
)
TERMS = st.tuples(st.sampled_from(["gpu.intel.com/i915", "gpu.intel.com/xe"]), st.sampled_from([1, 2, 3]))


@dataclass(frozen=True)
class Holder:
    pod: str
    cards: frozenset[str]
    alone: bool


class Node(RuleBasedStateMachine):
    """A kubelet that believes the last list of each resource, and pods that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pods = 0
        self.reachable = True
        self.granted: set[Key] = set()
        self.known = Holdings()
        self.holders: dict[Key, Holder] = {}
        self.recent: set[Key] = set()
        """What is being handed out, or was so recently that kubelet does not tell of it."""
        self.told: set[Key] = set()
        """What kubelet has heard of from this agent."""
        self.open: Key | None = None
        """The Allocate under way: kubelet has one at a time."""
        self.roster = Roster()
        self.whole = False
        """Whether all cards together are offered as one device, and none by itself."""
        self.exceptions: list[Rule] = []
        self.terms: dict[int, tuple[str, int] | None] = dict.fromkeys(range(CARDS), ("gpu.intel.com/i915", 1))
        self.publish()

    def inventory(self) -> Inventory:
        devices = [
            Device(f"card{number}", terms[0], f"/sys/devices/{number}", NO_EDITS, f"card{number}", terms[1])
            for number, terms in self.terms.items()
            if terms is not None
        ]
        if self.whole and devices:
            parts = tuple(device.sysfs_path for device in devices)
            devices = [Device("whole0", WHOLE, "/sys/devices/whole", NO_EDITS, "whole0", parts=parts)]
        return Inventory.of({"gpu": applied(self.exceptions, Found(tuple(devices)), KIND)})

    def publish(self) -> None:
        """Publish as the publisher does: on a guess first, then on kubelet's word."""
        self.project(self.known.guess(self.granted))
        if self.roster.unsettled:
            self.ask()
            self.project(self.known.plus(self.recent))

    def ask(self) -> None:
        if self.reachable:
            told = {key: each.pod for key, each in self.holders.items() if key not in self.recent}
            self.known = Holdings(told, known=True)
            self.granted = set(told) | self.recent
        else:
            self.known = self.known.guess(self.granted)

    def project(self, holdings: Holdings) -> None:
        self.roster = projected(self.roster, self.inventory(), holdings, now=self.now, linger=LINGER)

    def free(self) -> list[Key]:
        """Return what kubelet would hand out."""
        return [
            (name, device.id)
            for name, listing in self.roster.listings.items()
            for device in ListAndWatchResponse.parse(listing.message).devices
            if device.health == "Healthy" and (name, device.id) not in self.holders
        ]

    @rule(card=st.integers(0, CARDS - 1), terms=TERMS)
    def reload(self, card: int, terms: tuple[str, int]) -> None:
        self.terms[card] = terms
        self.publish()

    @rule()
    def change_between_cards_and_the_whole(self) -> None:
        self.whole = not self.whole
        self.publish()

    @rule(rules=RULES)
    def reload_rules(self, rules: list[Rule]) -> None:
        self.exceptions = rules
        self.publish()

    @rule(card=st.integers(0, CARDS - 1))
    def unplug(self, card: int) -> None:
        self.terms[card] = None
        self.publish()

    @precondition(lambda self: self.open is None)
    @rule(
        found=st.sets(st.integers(0, CARDS - 1)), terms=TERMS, rules=RULES, whole=st.booleans(), remembers=st.booleans()
    )
    def restart(
        self, found: set[int], terms: tuple[str, int], rules: list[Rule], *, whole: bool, remembers: bool
    ) -> None:
        """Start another agent with these terms, which finds some cards late."""
        self.whole, self.exceptions = whole, rules
        self.roster = Roster(terms=self.roster.terms)
        self.told = set()
        self.known = Holdings()
        self.granted = set(self.holders) if remembers or not self.reachable else set()  # by kubelet's checkpoint
        self.recent = set()
        self.terms = {number: terms if number in found else None for number in self.terms}
        if self.reachable:
            self.ask()
        self.publish()

    @rule(terms=TERMS)
    def everybody_leaves(self, terms: tuple[str, int]) -> None:
        """End every pod: all that is there is free, in each message from then on."""
        if self.open is not None:
            self.end_to_allocate(sound=False)
        self.holders, self.recent, self.reachable = {}, set(), True
        self.terms = dict.fromkeys(self.terms, terms)
        self.whole = False
        self.exceptions = []
        self.now += LINGER
        self.publish()
        self.ask()
        self.publish()
        self.project(self.known.guess(self.granted))
        free = {each for name, each in self.free() if name == terms[0]}
        assert free >= {f"card{number}-{share}" for number in self.terms for share in range(terms[1])}

    @rule(seconds=st.sampled_from([1.0, LINGER]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.publish()

    @rule()
    def kubelet_stops_or_starts_answering(self) -> None:
        self.reachable = not self.reachable

    @precondition(lambda self: self.open is None and self.free())
    @rule(data=st.data())
    def begin_to_allocate(self, data: st.DataObject) -> None:
        """Have the plugin look at its list: from now on a container may get the device on these terms."""
        key = data.draw(st.sampled_from(self.free()))
        device = self.roster.listings[key[0]].lines_of([key[1]])[key[1]].device
        self.pods += 1
        self.granted.add(key)
        self.recent.add(key)
        self.holders[key] = Holder(f"default/pod{self.pods}/main", frozenset(device.paths), device.exclusive)
        self.open = key

    @precondition(lambda self: self.open is not None)
    @rule(sound=st.booleans())
    def end_to_allocate(self, sound: bool) -> None:  # noqa: FBT001 - hypothesis gives it by name
        """Have the plugin answer; it refuses when a device node is gone meanwhile."""
        if self.open is not None and not sound:
            del self.holders[self.open]
            self.recent.discard(self.open)
        self.open = None

    @rule()
    def settle(self) -> None:
        """Kubelet tells of everybody by now."""
        self.recent &= {self.open} if self.open is not None else set()

    @precondition(lambda self: self.holders.keys() - {self.open})
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        del self.holders[data.draw(st.sampled_from(sorted(self.holders.keys() - {self.open})))]

    @invariant()
    def nobody_shares_what_is_held_alone(self) -> None:
        for card in {card for each in self.holders.values() for card in each.cards}:
            together = [each for each in self.holders.values() if card in each.cards]
            assert len(together) == 1 or not any(each.alone for each in together), together

    @invariant()
    def no_held_id_that_this_agent_told_of_is_dropped(self) -> None:
        listed = self.listed()
        assert {each for each in self.holders if each in self.told} <= listed
        self.told |= listed

    def listed(self) -> set[Key]:
        return {
            (name, each)
            for name, listing in self.roster.listings.items()
            for line in listing.lines
            for each in line.ids
        }


TestNode = Node.TestCase
TestNode.settings = settings(max_examples=some(400), stateful_step_count=25)
