"""QAT devices as tree text: a physical function, its virtual ones on vfio-pci, and what the driver tells of them.

Sources: Documentation/ABI/testing/sysfs-driver-qat, Documentation/ABI/testing/debugfs-driver-qat,
Documentation/ABI/testing/sysfs-driver-qat_ras,
drivers/crypto/intel/qat/qat_common/adf_cfg.c (`dev_cfg`), and the listings of machines that have them.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from intel_agent.simulation.machines import Function

_CLASS = "0b4000"
_REQUESTS = 8
"""Functions of one device number on a bus (Documentation/PCI/pci-iov-howto.rst: VFs follow their PF)."""


@dataclass(frozen=True, slots=True)
class Qat:
    """A QAT device with so many virtual functions enabled, of at most `total`.

    `identity` and `virtual_identity` are vendor:device of both. `group` is its IOMMU group; its virtual functions have
    the next ones. `first_cdev` is the number of the first one's cdev. `services` is what the driver tells, if it does.
    """

    directory: str
    identity: str = "8086:4940"
    virtual_identity: str = "8086:4941"
    driver: str = "4xxx"
    services: str | None = None
    virtual: int = 0
    total: int = 16
    numa: int = 0
    group: int = 0
    first_cdev: int = 0

    @property
    def functions(self) -> tuple[str, ...]:
        """The directories of its virtual functions, in the order of their numbers."""
        above, _, address = self.directory.rpartition("/")
        bus = address.rpartition(":")[0]
        return tuple(
            f"{above}/{bus}:{place // _REQUESTS:02x}.{place % _REQUESTS}" for place in range(1, self.virtual + 1)
        )

    def lines(self) -> Iterator[str]:
        address = posixpath.basename(self.directory)
        yield f"# {address}: {self.identity} on {self.driver}, {self.virtual} virtual functions"
        yield from Function(
            self.directory,
            self.identity,
            self.driver,
            _CLASS,
            self.numa,
            self.group,
            total_virtual=self.total,
            virtual=self.functions,
        ).lines()
        if self.services is not None:
            yield f"{self.directory}/qat/state = up"
            yield f"{self.directory}/qat/cfg_services = {self.services}"
            yield f"{self.directory}/qat/auto_reset = off"
            for severity in ("correctable", "nonfatal", "fatal"):
                yield f"{self.directory}/qat_ras/errors_{severity} = 0"
        yield from self._debugfs(f"/sys/kernel/debug/qat_{self.driver}_{address}")
        for number, function in enumerate(self.functions, 1):
            virtual = Function(
                function,
                self.virtual_identity,
                "vfio-pci",
                _CLASS,
                self.numa,
                self.group + number,
                physical=self.directory,
            )
            yield from virtual.lines()
            yield from virtual.user_space(self.first_cdev + number - 1)

    def _debugfs(self, directory: str) -> Iterator[str]:
        services = f"ServicesEnabled = {self.services}\\n" if self.services else ""
        yield f"{directory}/dev_cfg = [GENERAL]\\n{services}HeartbeatTimer = 500\\n[KERNEL]\\nNumberCyInstances = 0"
        # A number and a zero byte behind the newline, as the driver counts it in.
        for name, value in (("status", 0), ("queries_sent", 0), ("queries_failed", 0), ("config", 500)):
            yield f"{directory}/heartbeat/{name} = {value}\\n\\x00\\c"
