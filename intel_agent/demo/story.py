"""What the demo does to the node, and what it tells of it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import anyio

from intel_agent.demo.chronicle import Chronicle, Tone, duration
from intel_agent.demo.stage import Stage
from intel_agent.model import Device
from intel_agent.simulation.kubelet import AdmissionError, Listed
from intel_agent.simulation.tree import Tree

PODS = {
    "gpu": "trainer",
    "gaudi": "learner",
    "npu": "listener",
    "dsa": "mover",
    "iaa": "packer",
    "dlb": "sorter",
    "qat": "cipher",
    "sgx": "vault",
    "fpga": "filter",
    "nic": "router",
}
"""Which pod asks for a device of which kind. The first kind there is has to see its device pulled."""
NOUNS = {
    "gpu": "GPU",
    "gaudi": "Gaudi",
    "npu": "NPU",
    "dsa": "Work queue",
    "iaa": "Work queue",
    "dlb": "Load balancer",
    "qat": "Virtual function",
    "sgx": "Device",
    "fpga": "FPGA port",
    "nic": "Network function",
}
LATE = "late"
"""The pod that asks for a device like the one that was pulled."""
SHAREABLE = ("gpu", "npu", "dsa", "iaa")
"""Kinds whose devices can be shared, so that a change of the configuration shows."""
ARRIVALS = 4.8
"""How many seconds all pods may take to come, at an easy pace."""
FEW = 4
"""How many names are told one by one."""


class Seat(NamedTuple):
    """A pod, and the share of a device that it got."""

    pod: str
    id: str
    kind: str
    device: Device

    @property
    def key(self) -> tuple[str, str]:
        return self.device.resource, self.id


@dataclass(frozen=True, slots=True)
class Story:
    """All scenes, in order. `pace` 1 leaves time to read; less is faster."""

    stage: Stage
    chronicle: Chronicle
    pace: float

    async def tell(self, ends: float = math.inf) -> None:
        """Tell the story again and again, but only as often as it can be over at `ends`, by the clock of the loop.

        In a hurry it is told once.
        """
        await self._registration()
        if not self.stage.agent.inventory.value.devices:
            await anyio.sleep_forever()
        while True:
            started = anyio.current_time()
            await self._round()
            took = anyio.current_time() - started
            if self.pace < 1 or anyio.current_time() + took > ends:
                break
            self._say("Once more, from the first pod on.")
        self._say("That was the story; this is what the node looks like after it.")
        await anyio.sleep_forever()

    async def end(self, took: float | None) -> None:
        """Tell what is left once the agent has stopped, which `took` so many seconds."""
        after = "" if took is None else f" after {duration(took)}"
        if sockets := await self.stage.left_behind():
            self._bad(f"The agent has stopped{after}, and left {_listed(sockets)} behind.")
        else:
            self._say(f"The agent has stopped{after}; its sockets are gone.")
        for sentence in self.stage.kubelet.violations:
            self._bad(f"A rule of kubelet was broken: {sentence}.")

    async def _round(self) -> None:
        seats = await self._pods()
        handed_on = await self._unplug(seats[0])
        await self._depart(seats[0].kind, handed_on)
        await self._kubelet_restarts(seats)
        await self._reconfigure(seats)
        await self._pods_end(seats)

    async def _registration(self) -> None:
        self._act("The agent starts.")
        took = await self.stage.listed()
        inventory = self.stage.agent.inventory.value
        count = sum(len(device.ids) for device in inventory.devices)
        if not count:
            self._say("Nothing is there: this node has no device that the agent knows, so kubelet hears of none.")
            self._good(f"The agent has looked at every kind after {duration(took)} and waits for devices to come.")
        else:
            self._good(
                f"{_many(len(inventory.resources), 'resource')} with {_many(count, 'id')} "
                f"registered and listed at kubelet after {duration(took)}."
            )
        self._say(f"The node at a glance, for a browser: {await self.stage.page()}")
        self._tell_table()
        left_out = inventory.exclusions
        for each in left_out[:FEW]:
            self._say(f"Left out: {each.path}: {each.evidence}.")
        if len(left_out) > FEW:
            self._say(f"Left out, too: {len(left_out) - FEW} more.")
        await self._pause(2)

    async def _pods(self) -> list[Seat]:
        wanted = {kind: found[0].resource for kind in PODS if (found := self._devices(kind))}
        seats: list[Seat] = []
        for kind, resource in wanted.items():
            self._act(f"Pod {PODS[kind]} asks for one {resource}.")
            identifier = await self._admitted(PODS[kind], resource)
            device = next(each for each in self._devices(kind) if identifier in each.ids)
            seats.append(Seat(PODS[kind], identifier, kind, device))
            await self._pause(min(1.2, ARRIVALS / len(wanted)))
        return seats

    async def _admitted(self, pod: str, resource: str) -> str:
        """Admit the pod, tell what it got, and return the id.

        Raises:
            AdmissionError: kubelet refuses it.
        """
        start = anyio.current_time()
        answer = await self.stage.kubelet.admit(pod, {resource: 1})
        took = anyio.current_time() - start
        await self.stage.ask_holders()
        (identifier,) = answer.ids[resource]
        # A network function of the kernel has no node; the pod gets its address.
        gets = [each.path for each in answer.device_nodes] or list(answer.env)
        links = f" and {_many(len(answer.mounts), 'link')} to them" if answer.mounts else ""
        self._good(f"Admitted after {duration(took)}: it gets {identifier}, with {_listed(gets)}{links}.")
        return identifier

    async def _unplug(self, seat: Seat) -> str | None:
        """Pull the device of a pod and bring it back; return the id that another pod got in between, if it did."""
        pod, _, kind, device = seat
        self._act(f"{_named(kind, device)} is pulled, though {pod} uses it.")
        part, took = await self.stage.pull(kind, device)
        await self.stage.ask_holders()
        runs = f" Pod {pod} keeps running." if self._holds(seat) else ""
        self._bad(f"Unhealthy at kubelet {duration(took)} after the hint.{runs}")
        self._tell_table([device.resource])
        await self._pause(2)
        got = await self._late(device.resource)
        await self._back(kind, device, part)
        await self._release(LATE)
        return got

    async def _late(self, resource: str) -> str | None:
        self._act(f"Pod {LATE} asks for one {resource}, too.")
        got = None
        try:
            got = await self._admitted(LATE, resource)
        except AdmissionError as error:
            self._bad(f"Refused, in kubelet's words: {error}.")
        await self._pause(2)
        return got

    async def _back(self, kind: str, device: Device, part: Tree) -> None:
        self._act(f"{_named(kind, device)} is brought back.")
        took = await self.stage.plug(kind, device, part)
        self._good(f"Healthy at kubelet {duration(took)} after the hint.")
        self._tell_table([device.resource])
        await self._pause(2)

    async def _depart(self, kind: str, but: str | None) -> None:
        """Pull a device that nobody holds: there the agent lets go of it.

        Not the one with the id `but`: the agent believes for some seconds yet that it may be in somebody's hands.
        """
        taken = {identifier for _, identifier in self.stage.holders} | {but}
        device = next((each for each in self._devices(kind) if taken.isdisjoint(each.ids)), None)
        if device is None:
            return
        self._act(f"{_named(kind, device)} is pulled, which nobody uses.")
        part, took = await self.stage.pull(kind, device)
        self._bad(f"Unhealthy at kubelet {duration(took)} after the hint. It may still come back.")
        await self.stage.dropped(device)
        linger = self.stage.agent.config.value.health.linger_seconds
        self._say(f"It did not within {duration(linger)}, and no pod holds it: it is off kubelet's list.")
        self._tell_table([device.resource])
        await self._pause(1.5)
        await self._back(kind, device, part)

    async def _kubelet_restarts(self, seats: Iterable[Seat]) -> None:
        self._act("Kubelet stops.")
        await self.stage.stop_kubelet()
        await self._pause(1.5)
        self._act("Kubelet starts: it deletes every socket in its directory and makes its own anew.")
        took = await self.stage.start_kubelet()
        count = sum(1 for each in self.stage.resources().values() if each.healthy)
        await self.stage.ask_holders()
        kept = _listed([seat.pod for seat in seats if self._holds(seat)])
        self._good(
            f"{_many(count, 'resource')} registered and listed again, {duration(took)} after kubelet's socket is there."
            f" Pods keep their devices: {kept}."
        )
        await self._pause(2)

    async def _reconfigure(self, seats: Iterable[Seat]) -> None:
        shared = [kind for kind in SHAREABLE if any((each.shares or 0) > 1 for each in self._devices(kind))]
        if not shared:
            return
        before, after = self.stage.shares, 5 - self.stage.shares
        self._act(f"The configuration file changes: sharedDevNum of {_listed(shared)} from {before} to {after}.")
        took = await self.stage.configure(after)
        self._good(f"Read again and listed at kubelet after {duration(took)}; no pod noticed.")
        self._tell_table(seat.device.resource for seat in seats if seat.kind in shared)
        await self._pause(2)

    async def _pods_end(self, seats: Iterable[Seat]) -> None:
        self._act("The pods end.")
        for seat in seats:
            self.stage.kubelet.release(seat.pod)
        await self.stage.ask_holders()
        self._good("Their devices are free again.")
        await self._pause(2)

    async def _release(self, pod: str) -> None:
        self.stage.kubelet.release(pod)
        await self.stage.ask_holders()

    def _holds(self, seat: Seat) -> bool:
        return self.stage.holders.get(seat.key) == seat.pod

    def _devices(self, kind: str) -> Sequence[Device]:
        """Return the devices of a kind that can be pulled; `gpu.intel.com/monitoring`, for one, cannot."""
        found = self.stage.agent.inventory.value.found.get(kind)
        return [each for each in found.devices if each.sysfs_path.startswith("/sys/devices/")] if found else []

    def _tell_table(self, names: Iterable[str] | None = None) -> None:
        resources = self.stage.resources()
        for name in resources if names is None else names:
            each = resources[name]
            text = f"{name}: capacity {each.capacity}, allocatable {each.allocatable}"
            states = [self._state(name, device) for device in each.devices[: FEW + 1]]
            few = f": {_listed(states)}" if 0 < len(each.devices) <= len(states) else ""
            self.chronicle.say(f"{text}{few}", Tone.STATE)

    def _state(self, resource: str, device: Listed) -> str:
        holder = self.stage.holders.get((resource, device.id))
        return f"{device.id} {device.health}" + (f" (held by {holder})" if holder else "")

    async def _pause(self, seconds: float) -> None:
        await anyio.sleep(seconds * self.pace)

    def _say(self, text: str) -> None:
        self.chronicle.say(text)

    def _act(self, text: str) -> None:
        self.chronicle.say(text, Tone.ACT)

    def _good(self, text: str) -> None:
        self.chronicle.say(text, Tone.GOOD)

    def _bad(self, text: str) -> None:
        self.chronicle.say(text, Tone.BAD)


def _named(kind: str, device: Device) -> str:
    return f"{NOUNS[kind]} {device.id}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _listed(names: Sequence[str]) -> str:
    """Return the names as a sentence has them; of many only the first ones."""
    if not names:
        return "nothing"
    if len(names) > FEW + 1:
        return f"{', '.join(names[:FEW])} and {len(names) - FEW} more"
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
