"""What a backend is: the knowledge of one kind of accelerator.

A backend is a value. It has no state, no clock, no log, writes nothing, and reads nothing but the `Host` it is given.
Its fields are its section in the configuration file.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

from intel_agent.allocation import PolicyName
from intel_agent.model import ContainerEdits, Device, Exclusion, merged
from intel_agent.sysfs import Host

CdiUse = Literal["none", "names", "both"]
MAX_SHARES = 10_000


class Backend(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """The contract. A kind gives `name`, `subsystems` and `discover`; the rest has sound defaults."""

    name: ClassVar[str]
    """Key in the configuration file, label in logs and metrics, class of the CDI kind."""
    subsystems: ClassVar[frozenset[str]]
    """Kernel subsystems whose uevents make a new look worth while."""
    directories: ClassVar[tuple[str, ...]] = ()
    """Directories below /dev where names appear that no uevent tells of (links made by udev)."""

    enabled: Annotated[bool, msgspec.Meta(description="Whether devices of this kind are looked for at all.")] = True
    cdi: Annotated[
        CdiUse,
        msgspec.Meta(
            description="What Allocate answers with: device nodes (none), the names of CDI devices (names), or both."
        ),
    ] = "none"

    def discover(self, host: Host) -> Iterable[Device | Exclusion]:
        """Return every device of this kind, broken or not, and everything of this kind that is not offered and why.

        Raises:
            SysfsError: nothing can be said of the whole kind. Trouble with one device never raises:
                `host.each` turns it into an exclusion.
        """
        raise NotImplementedError

    def allocate(self, devices: Sequence[Device]) -> ContainerEdits:
        """Return what one container gets that was given `devices`, in a fixed order.

        Raises:
            EditsError: these devices cannot be in one container.
        """
        return merged(device.edits for device in devices)

    def policy(self, resource: str) -> PolicyName | None:
        """Return how to choose among free ids of `resource`, or `None` when this kind has no preference."""
        del resource
        return None

    def problems(self) -> dict[str, str]:
        """Return what is wrong with the section beyond its types: key to problem."""
        return {}
