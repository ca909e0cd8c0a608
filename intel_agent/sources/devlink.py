"""What drivers say of network functions over generic netlink: eswitch, loaded package, RDMA, vDPA devices.

Sources: Documentation/networking/devlink (devlink-info: `fw.app.name`; devlink-params: `enable_rdma`), in
Documentation/netlink/specs devlink.yaml, include/uapi/linux/devlink.h and vdpa.h.
A question may wait for the driver, and through it for the function's firmware: one device is asked at a time.
"""

import errno
import struct
from dataclasses import dataclass

from intel_agent.sources.netlink import (
    Conversation,
    NetlinkError,
    attribute,
    attributes,
    each_attribute,
    number,
    string,
)

_COMMAND = struct.Struct("=BBxx")
"""genlmsghdr: command, version."""

_ESWITCH_GET, _PARAMETER_GET, _INFO_GET = 29, 38, 51
_BUS_NAME, _DEVICE_NAME, _ESWITCH_MODE = 1, 2, 25
_PARAMETER, _PARAMETER_NAME, _VALUES, _VALUE, _VALUE_DATA = 80, 81, 84, 85, 86
_RUNNING, _VERSION_NAME, _VERSION_VALUE = 101, 103, 104
_MODES = {0: "legacy", 1: "switchdev"}

_VDPA_GET, _MANAGING_BUS, _MANAGING_NAME, _VDPA_NAME = 5, 1, 2, 4

_NOTHING_TO_SAY = frozenset({errno.ENODEV, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOENT})
"""The device is no devlink device, has no such thing, or only those may know who have CAP_NET_ADMIN (eswitch)."""


@dataclass(frozen=True, slots=True)
class Devlink:
    """The family, while a conversation lasts. Devices are named as devlink does (`pci/0000:3b:00.0`).

    Each question has the answer `None` when the device has no such thing, or the agent may not know.
    It raises `NetlinkError` when the device should answer and does not.
    """

    kernel: Conversation
    family: int

    def eswitch_mode(self, device: str) -> str | None:
        """Return the mode of the device's eswitch. Asking takes CAP_NET_ADMIN."""
        return eswitch_mode(self._answer(_ESWITCH_GET, device))

    def ddp_profile(self, device: str) -> str | None:
        """Return the name of the package that is loaded into the device."""
        return ddp_profile(self._answer(_INFO_GET, device))

    def rdma_enabled(self, device: str) -> bool | None:
        """Return what the parameter `enable_rdma` is."""
        return rdma_enabled(self._answer(_PARAMETER_GET, device, attribute(_PARAMETER_NAME, b"enable_rdma\0")))

    def _answer(self, command: int, device: str, more: bytes = b"") -> bytes:
        bus, _, name = device.partition("/")
        handle = attribute(_BUS_NAME, bus.encode() + b"\0") + attribute(_DEVICE_NAME, name.encode() + b"\0")
        try:
            return self.kernel.ask(self.family, _COMMAND.pack(command, 1) + handle + more)
        except NetlinkError as error:
            if error.number in _NOTHING_TO_SAY:
                return b""
            raise


def eswitch_mode(answer: bytes) -> str | None:
    mode = attributes(answer, _COMMAND.size).get(_ESWITCH_MODE)
    return None if mode is None else _MODES.get(number(mode))


def ddp_profile(answer: bytes) -> str | None:
    running = (attributes(value) for kind, value in each_attribute(answer, _COMMAND.size) if kind == _RUNNING)
    names = (version.get(_VERSION_VALUE, b"") for version in running if _is_package(version))
    return string(next(names, b"")) or None


def _is_package(version: dict[int, bytes]) -> bool:
    return string(version.get(_VERSION_NAME, b"")) == "fw.app.name"


def rdma_enabled(answer: bytes) -> bool | None:
    parameter = attributes(attributes(answer, _COMMAND.size).get(_PARAMETER, b""))
    values = each_attribute(parameter.get(_VALUES, b""))
    first = next((value for kind, value in values if kind == _VALUE), None)
    # What is true is an attribute without a value, what is false is none.
    return None if first is None else _VALUE_DATA in attributes(first)


def vdpa(kernel: Conversation) -> dict[str, str]:
    """Return the name of the first vDPA device of each function, by function (`pci/0000:3b:00.2`).

    Raises:
        NetlinkError: the kernel has vDPA and does not tell.
    """
    if (family := kernel.family("vdpa")) is None:
        return {}
    found: dict[str, str] = {}
    for device, name in kernel.dump(family, _COMMAND.pack(_VDPA_GET, 1), vdpa_device):
        found.setdefault(device, name)
    return found


def vdpa_device(answer: bytes) -> tuple[str, str] | None:
    """Return the function that manages a vDPA device, and its name; `None` for one that is made by software alone."""
    told = attributes(answer, _COMMAND.size)
    if _MANAGING_BUS not in told:
        return None
    device = f"{string(told[_MANAGING_BUS])}/{string(told.get(_MANAGING_NAME, b''))}"
    return device, string(told.get(_VDPA_NAME, b""))
