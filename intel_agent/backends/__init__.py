"""What a backend is: the knowledge of one kind of accelerator.

A backend is a value. It has no state, no clock, no log, writes nothing, and reads nothing but the `Host` it is given.
Its fields are its section in the configuration file.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET

from intel_agent import pci, rules
from intel_agent.allocation import Policy
from intel_agent.inventory import Found
from intel_agent.links import LinkFact
from intel_agent.model import ContainerEdits, Device, Event, Exclusion, Signs, Verdict, merged
from intel_agent.rules import Kind, Reasons, Rule
from intel_agent.section import Section
from intel_agent.sysfs import Host

CdiUse = Literal["none", "names", "both"]
MAX_SHARES = rules.MAX_SHARES


class Backend(Section, frozen=True, kw_only=True):
    """The contract. A kind gives `name`, `subsystems` and `discover`; the rest has sound defaults."""

    name: ClassVar[str]
    """Key in the configuration file, label in logs and metrics, class of the CDI kind."""
    subsystems: ClassVar[frozenset[str]]
    """Kernel subsystems whose uevents make a new look worth while."""
    directories: ClassVar[tuple[str, ...]] = ()
    """Directories below /dev where names appear that no uevent tells of (links made by udev)."""
    overall: ClassVar[frozenset[str]] = frozenset()
    """Resources that stand for all devices of the kind at once: rules mean them only where they ask for a resource."""
    taken: ClassVar[frozenset[str]] = frozenset()
    """Names of resources, without domain, that mean something which rules cannot make of another device."""
    choices: ClassVar[frozenset[str]] = frozenset()
    """Rules of exclusions that speak of what an administrator chose, not of something that is wrong."""
    remembers: ClassVar[bool] = False
    """Whether facts go out of sight while a device is used: then `Host.known` has them, also of before a restart."""

    enabled: Annotated[bool, msgspec.Meta(description="Whether devices of this kind are looked for at all.")] = True
    cdi: Annotated[
        CdiUse,
        msgspec.Meta(
            description="What Allocate answers with: device nodes (none), the names of CDI devices (names), or both."
        ),
    ] = "none"
    rules: Annotated[
        tuple[Rule, ...],
        msgspec.Meta(description="What is different for single devices; the first rule that matches a device decides."),
    ] = ()

    reasons: Annotated[
        Reasons,
        msgspec.Meta(
            description="How reasons of docs/faults.md are treated for this kind: fault, warning or ignore. "
            "What is not named here follows health.reasons."
        ),
    ] = {}  # noqa: RUF012 - msgspec copies empty defaults

    @property
    def link_facts(self) -> frozenset[LinkFact]:
        """Return what a look wants to know of the host's network links: nothing, and netlink is left alone."""
        return frozenset()

    @property
    def configured(self) -> bool:
        """Whether there is anything to look for: a kind may need more than to be enabled."""
        return True

    @property
    def file(self) -> str:
        """The path of a file that says more of the section, or nothing. It is read before the section is used."""
        return ""

    def with_file(self, content: bytes) -> tuple["Backend", tuple[str, ...]]:
        """Return the section with what its file says and without the file, and remarks on what means nothing in it.

        Raises:
            ConfigError: it cannot be used, with everything that is wrong; nothing names the file.
        """
        del content
        return self, ()

    def discover(self, host: Host) -> Iterable[Device | Exclusion | Signs]:
        """Return every device of this kind, broken or not, and everything of this kind that is not offered and why.

        Signs tell of what devices hang on, and carry counts of errors.

        Raises:
            SysfsError: nothing can be said of the whole kind. Trouble with one device never raises:
                `host.each` turns it into an exclusion.
        """
        raise NotImplementedError

    def recognised(self, identity: pci.Identity) -> pci.Hardware | None:
        """Return what a PCI function is if it is of this kind, whatever its driver, or `None`.

        No look depends on it: it tells people of functions that no driver made anything of.
        """
        del identity
        return None

    def diagnose(self, event: Event) -> Iterable[Verdict]:
        """Return what a message of the kernel says of devices of this kind that no file will show later.

        Called for events of `subsystems`, on the event loop: by the message alone, without a look at anything.
        What all PCI devices have in common is known already (`intel_agent.health.messages`).
        """
        del event
        return ()

    def allocate(self, devices: Sequence[Device]) -> ContainerEdits:
        """Return what one container gets that was given `devices`, in a fixed order.

        Raises:
            EditsError: these devices cannot be in one container.
        """
        return merged(device.edits for device in devices)

    def policy(self, resource: str) -> Policy | None:
        """Return how to choose among free ids of `resource`, or `None` when this kind has no preference."""
        del resource
        return None

    def device_info(self, device: Device) -> Mapping[str, object] | None:
        """Return what the Network Plumbing Working Group's device-info file of a device says, or `None` without one."""
        del device
        return None

    def socket_name(self, resource: str) -> str:
        """Return the file name of a resource's socket: the existing plugin's, so that the two are not side by side."""
        return resource.replace("/", "-") + ".sock"

    @classmethod
    def domain(cls) -> str:
        """Return what stands before the slash in the names of this kind's resources, or something as long."""
        return f"{cls.name}.intel.com"

    @classmethod
    def shareable(cls) -> bool:
        """Return whether several containers can use one device of this kind: then its section says how many."""
        return "shared_dev_num" in cls.__struct_fields__

    def sharable(self, device: Device) -> bool:
        """Return whether several containers can use this device."""
        return self.shareable() and device.shares is not None

    def ruled(self, found: Found) -> Found:
        """Return what was found as the rules have it."""
        if not self.rules:
            return found
        return rules.applied(self.rules, found, Kind(f"devices.{self.name}", self.sharable, self.overall))

    @classmethod
    def objections(cls, rule: Rule) -> dict[str, str]:
        """Return what this kind has against a rule, beyond what is wrong with any: key to problem."""
        found: dict[str, str] = {}
        if rule.shares is not UNSET and not cls.shareable():
            found["shares"] = f"found {rule.shares}; devices of this kind are not shared: leave it out"
        if rule.resource is not UNSET and rule.resource in cls.taken:
            found["resource"] = f'found "{rule.resource}", which means something else here; allowed any other name'
        return found
