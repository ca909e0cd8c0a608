"""When enclaves are offered, and what is said when only half of the driver's files are there."""

from pathlib import Path

import msgspec
import pytest

from intel_agent.backends.sgx import Sgx
from intel_agent.inventory import Found
from intel_agent.model import ContainerEdits, Device, DeviceNode, Exclusion, Health, Mount
from intel_agent.publish import cdi
from intel_agent.simulation.disk import add, materialise, remove
from intel_agent.sysfs import Host

MISC = "/sys/devices/virtual/misc"
SGX = f"""
{MISC}/sgx_enclave/dev = 10:125
{MISC}/sgx_provision/dev = 10:126
/sys/class/misc/sgx_enclave -> ../../devices/virtual/misc/sgx_enclave
/sys/class/misc/sgx_provision -> ../../devices/virtual/misc/sgx_provision
/dev/sgx_enclave c 10:125
/dev/sgx_provision c 10:126
"""
NODES_ONLY = "/dev/sgx_enclave c 10:125\n/dev/sgx_provision c 10:126\n"


def found(host: Host, **section: object) -> Found:
    return Found.of(msgspec.convert(section, Sgx).discover(host))


def rules(host: Host, **section: object) -> dict[str, str]:
    return {each.path: each.rule for each in found(host, **section).exclusions}


@pytest.mark.parametrize("tree", [SGX, NODES_ONLY])
def test_offers_both_files_as_often_as_the_limits_say(host: Host) -> None:
    def device(what: str, shares: int) -> Device:
        return Device(
            id=f"sgx-{what}",
            resource=f"sgx.intel.com/{what}",
            sysfs_path=f"{MISC}/sgx_{what}",
            edits=ContainerEdits(device_nodes=(DeviceNode(f"/dev/sgx_{what}", f"/on/host/dev/sgx_{what}", "rw"),)),
            cdi_name=what,
            shares=shares,
            attributes={"driver": "sgx"},
        )

    assert found(host, enclaveLimit=10, provisionLimit=20) == Found((device("enclave", 10), device("provision", 20)))


@pytest.mark.parametrize("tree", [SGX])
def test_has_the_ids_and_the_limits_that_kubelet_knows_from_the_go_plugin(host: Host) -> None:
    enclave, provision = found(host).devices

    assert enclave.ids == tuple(f"sgx-enclave-{share}" for share in range(110))
    assert provision.ids == tuple(f"sgx-provision-{share}" for share in range(110))


@pytest.mark.parametrize("tree", [SGX])
@pytest.mark.parametrize("what", ["enclave", "provision"])
def test_a_limit_of_zero_is_not_offered(host: Host, what: str) -> None:
    seen = found(host, **{f"{what}Limit": 0})

    assert [each.id for each in seen.devices] == [f"sgx-{each}" for each in ("enclave", "provision") if each != what]
    assert seen.exclusions == (
        Exclusion(
            path=f"{MISC}/sgx_{what}",
            rule="limit",
            evidence=f"{what}Limit is 0",
            remedy=f"set devices.sgx.{what}Limit to the number of containers that may have it",
        ),
    )


def test_a_processor_without_sgx_is_nothing_to_talk_about(host: Host) -> None:
    assert found(host) == Found()


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        pytest.param(
            "/dev/sgx_enclave c 10:125",
            {f"{MISC}/sgx_enclave": "/dev/sgx_provision not there"},
            id="only enclave, no sysfs (Go: idle for ever)",
        ),
        pytest.param(
            "/dev/sgx_provision c 10:126",
            {f"{MISC}/sgx_provision": "/dev/sgx_enclave not there"},
            id="only provision, no sysfs (Go: idle for ever)",
        ),
        pytest.param(
            SGX.replace(NODES_ONLY, ""),
            dict.fromkeys(
                [f"{MISC}/sgx_enclave", f"{MISC}/sgx_provision"], "/dev/sgx_enclave and /dev/sgx_provision not there"
            ),
            id="the driver is there, its files are not (Go: idle for ever)",
        ),
    ],
)
def test_half_of_sgx_is_not_offered_and_says_what_is_missing(host: Host, expected: dict[str, str]) -> None:
    seen = found(host)

    assert seen.devices == ()
    assert {each.rule for each in seen.exclusions} == {"no-node"}
    assert expected.items() <= {each.path: each.evidence for each in seen.exclusions}.items()


def test_files_that_appear_late_are_found_and_lost_ones_noticed(tmp_path: Path) -> None:
    """The Go plugin looks once in its life (Go: nothing that comes later is ever seen)."""
    materialise("", tmp_path)
    host = Host(str(tmp_path), "/on/host")
    seen = [len(found(host).devices)]
    materialise(SGX, tmp_path)
    seen.append(len(found(host).devices))
    part = remove(tmp_path, "/dev/sgx_provision")
    seen.append(len(found(host).devices))
    add(tmp_path, part)
    seen.append(len(found(host).devices))

    assert seen == [0, 2, 0, 2]


@pytest.mark.parametrize("tree", [SGX])
def test_a_name_that_is_no_device_makes_both_unreadable(host: Host) -> None:
    before = found(host)
    Path(host.root, "dev/sgx_provision").unlink()
    Path(host.root, "dev/sgx_provision").mkdir()

    assert rules(host) == {f"{MISC}/sgx_enclave": "unreadable", f"{MISC}/sgx_provision": "unreadable"}
    assert [each.health for each in found(host).after(before).devices] == [Health.UNHEALTHY, Health.UNHEALTHY]


@pytest.mark.parametrize("section", [{"enclaveLimit": -1}, {"provisionLimit": 10_001}, {"enclavelimit": 1}])
def test_values_out_of_range_are_refused(section: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(section, Sgx)


def test_has_no_preference_among_equal_ids() -> None:
    assert Sgx().policy("sgx.intel.com/enclave") is None


EFI = "/sys/firmware/efi/efivars/\n"
BOTH = tuple(DeviceNode(f"/dev/{name}", f"/on/host/dev/{name}", "rw") for name in ("sgx_enclave", "sgx_provision"))


@pytest.mark.parametrize("tree", [SGX + EFI])
def test_offers_quoting_and_registration_once_each(host: Host) -> None:
    assert found(host, dcapInfraResources=True, enclaveLimit=0, provisionLimit=0).devices == (
        Device(
            id="qe-1",
            resource="sgx.intel.com/qe",
            sysfs_path="/sys/class/misc/sgx_enclave",
            edits=ContainerEdits(device_nodes=BOTH),
            cdi_name="qe",
            attributes={"driver": "sgx"},
        ),
        Device(
            id="registration-1",
            resource="sgx.intel.com/registration",
            sysfs_path="/sys/class/misc/sgx_provision",
            edits=ContainerEdits(
                device_nodes=BOTH,
                mounts=(
                    Mount(
                        "/run/efivars",
                        "efivarfs",
                        read_only=False,
                        options=("nosuid", "nodev", "noexec", "relatime"),
                        type="efivarfs",
                    ),
                ),
            ),
            cdi_name="efivarfs",
            attributes={"driver": "sgx"},
        ),
    )


@pytest.mark.parametrize("tree", [SGX + EFI])
def test_the_services_have_the_ids_that_kubelet_knows_and_are_devices_of_their_own(host: Host) -> None:
    devices = found(host, dcapInfraResources=True).devices

    assert [each.ids for each in devices[2:]] == [("qe-1",), ("registration-1",)]
    assert len({each.sysfs_path for each in devices}) == len(devices) == 4


@pytest.mark.parametrize("tree", [SGX + EFI])
def test_the_services_are_not_offered_unless_asked_for(host: Host) -> None:
    assert [each.id for each in found(host).devices] == ["sgx-enclave", "sgx-provision"]


@pytest.mark.parametrize("tree", [pytest.param(SGX, id="no UEFI (Go: the container does not start)")])
def test_registration_needs_the_variables_of_uefi(host: Host) -> None:
    seen = found(host, dcapInfraResources=True)

    assert [each.id for each in seen.devices] == ["sgx-enclave", "sgx-provision", "qe-1"]
    assert seen.exclusions == (
        Exclusion(
            path="/sys/class/misc/sgx_provision",
            rule="no-efi",
            evidence="/sys/firmware/efi/efivars is not there",
            remedy="registration needs variables of UEFI: start the machine by UEFI, and not with efi=noruntime",
        ),
    )


@pytest.mark.parametrize("tree", ["", EFI, EFI + "/dev/sgx_enclave c 10:125", EFI + "/dev/sgx_provision c 10:126"])
def test_the_services_need_both_files_and_what_is_missing_is_said_once(host: Host) -> None:
    assert found(host, dcapInfraResources=True) == found(host)


@pytest.mark.parametrize("tree", [SGX + EFI])
def test_a_name_that_is_no_device_makes_the_services_unreadable_too(host: Host) -> None:
    before = found(host, dcapInfraResources=True)
    Path(host.root, "dev/sgx_provision").unlink()
    Path(host.root, "dev/sgx_provision").mkdir()
    after = found(host, dcapInfraResources=True).after(before)

    assert {each.id: each.health for each in after.devices} == dict.fromkeys(
        ("sgx-enclave", "sgx-provision", "qe-1", "registration-1"), Health.UNHEALTHY
    )


@pytest.mark.parametrize("tree", [SGX + EFI])
def test_only_registration_is_had_by_its_cdi_name_alone(host: Host) -> None:
    needs = {each.id: each.edits.needs_cdi for each in found(host, dcapInfraResources=True).devices}

    assert [each for each, needed in needs.items() if needed] == ["registration-1"]


@pytest.mark.parametrize("tree", [SGX + EFI])
def test_the_cdi_device_of_registration_is_the_go_plugins(host: Host) -> None:
    device = found(host, dcapInfraResources=True).devices[-1]

    assert cdi.name("sgx", device) == "intel.cdi.k8s.io/sgx=efivarfs"
    assert cdi.edits(device.edits, host)["mounts"] == [
        {
            "hostPath": "efivarfs",
            "containerPath": "/run/efivars",
            "type": "efivarfs",
            "options": ["rw", "nosuid", "nodev", "noexec", "relatime"],
        }
    ]
