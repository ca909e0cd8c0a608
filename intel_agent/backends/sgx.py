"""SGX enclaves: the right to open the device files of the in-kernel driver, counted.

Sources: Documentation/arch/x86/sgx.rst (`/dev/sgx_enclave`, `/dev/sgx_provision`, both misc devices of one driver).
Memory of enclaves (EPC) is not handed out here: the kernel shares it among all enclaves.
Registration of a platform reads and writes UEFI variables (Documentation/filesystems/efivarfs.rst), which container
runtimes hide, as they hide all of /sys/firmware.
"""

from collections.abc import Iterator
from typing import Annotated, ClassVar

import msgspec

from intel_agent.backends import MAX_SHARES, Backend
from intel_agent.model import ContainerEdits, Device, DeviceNode, Exclusion, Mount
from intel_agent.sysfs import Dir, Host

_NAMES = ("sgx_enclave", "sgx_provision")
_EFI_VARIABLES = Mount(
    container_path="/run/efivars",
    host_path="efivarfs",
    read_only=False,
    options=("nosuid", "nodev", "noexec", "relatime"),
    type="efivarfs",
)
_Limit = Annotated[int, msgspec.Meta(ge=0, le=MAX_SHARES)]


class Sgx(Backend, frozen=True, kw_only=True):
    """What a container may do: open enclaves (`sgx.intel.com/enclave`), attest them (`sgx.intel.com/provision`)."""

    name: ClassVar[str] = "sgx"
    subsystems: ClassVar[frozenset[str]] = frozenset({"misc"})
    choices: ClassVar[frozenset[str]] = frozenset({"limit"})
    taken: ClassVar[frozenset[str]] = frozenset({"enclave", "provision", "qe", "registration"})

    enclave_limit: Annotated[
        _Limit, msgspec.Meta(description="How many containers of the node may use enclaves at a time; 0: none.")
    ] = 110
    provision_limit: Annotated[
        _Limit, msgspec.Meta(description="How many containers of the node may use the provisioning key; 0: none.")
    ] = 110

    dcap_infra_resources: Annotated[
        bool,
        msgspec.Meta(
            description="Whether sgx.intel.com/qe and sgx.intel.com/registration are offered, each once: to the node's "
            "one quoting service, and to the one that registers its platform."
        ),
    ] = False

    def discover(self, host: Host) -> Iterator[Device | Exclusion]:
        # These directories need no reading: their paths say which devices are meant.
        misc = host.sys / "devices/virtual/misc"
        yield from host.each((misc / name for name in _NAMES), lambda directory: self._read(host, directory))
        if self.dcap_infra_resources:
            # Whoever holds one of these holds no enclave: so they have paths of their own.
            quoting, registering = (host.sys / "class/misc" / name for name in _NAMES)
            yield from host.each([quoting], lambda directory: _quoting(host, directory))
            yield from host.each([registering], lambda directory: _registering(host, directory))

    def _read(self, host: Host, directory: Dir) -> Iterator[Device | Exclusion]:
        path = host.kernel_path(directory)
        nodes = {name: host.node(f"/dev/{name}") for name in _NAMES}
        missing = [name for name, node in nodes.items() if node is None]
        own = nodes[directory.name]
        if own is not None and not missing:
            yield self._offered(directory.name, path, own)
        elif len(missing) < len(_NAMES) or directory.exists():
            yield _incomplete(path, missing)

    def _offered(self, name: str, path: str, node: DeviceNode) -> Device | Exclusion:
        what = name.removeprefix("sgx_")
        limit = self.enclave_limit if what == "enclave" else self.provision_limit
        if limit == 0:
            return Exclusion(
                path=path,
                rule="limit",
                evidence=f"{what}Limit is 0",
                remedy=f"set devices.sgx.{what}Limit to the number of containers that may have it",
            )
        return Device(
            id=f"sgx-{what}",
            resource=f"sgx.intel.com/{what}",
            sysfs_path=path,
            edits=ContainerEdits(device_nodes=(node,)),
            cdi_name=what,
            shares=limit,
            attributes={"driver": "sgx"},
        )


def _incomplete(path: str, missing: list[str]) -> Exclusion:
    files = " and ".join(f"/dev/{name}" for name in missing)
    return Exclusion(
        path=path,
        rule="no-node",
        evidence=f"{files} not there",
        remedy="the driver makes /dev/sgx_enclave and /dev/sgx_provision together: check that the agent sees the "
        "whole /dev of the host and that nothing removes device files; they are offered as soon as both are there",
    )


def _quoting(host: Host, directory: Dir) -> Iterator[Device | Exclusion]:
    if nodes := _both(host):
        yield _service(host, directory, "qe", ContainerEdits(device_nodes=nodes), cdi_name="qe")


def _registering(host: Host, directory: Dir) -> Iterator[Device | Exclusion]:
    if not (nodes := _both(host)):
        return
    if not (host.sys / "firmware/efi/efivars").exists():
        yield Exclusion(
            path=host.kernel_path(directory),
            rule="no-efi",
            evidence="/sys/firmware/efi/efivars is not there",
            remedy="registration needs variables of UEFI: start the machine by UEFI, and not with efi=noruntime",
        )
        return
    edits = ContainerEdits(device_nodes=nodes, mounts=(_EFI_VARIABLES,))
    yield _service(host, directory, "registration", edits, cdi_name="efivarfs")


def _both(host: Host) -> tuple[DeviceNode, ...]:
    """Return both nodes; nothing unless both are there, of which more is said elsewhere."""
    nodes = [node for name in _NAMES if (node := host.node(f"/dev/{name}"))]
    return tuple(nodes) if len(nodes) == len(_NAMES) else ()


def _service(host: Host, directory: Dir, what: str, edits: ContainerEdits, *, cdi_name: str) -> Device:
    return Device(
        id=f"{what}-1",
        resource=f"sgx.intel.com/{what}",
        sysfs_path=host.kernel_path(directory),
        edits=edits,
        cdi_name=cdi_name,
        attributes={"driver": "sgx"},
    )
