"""When enclaves are offered, and what is said when only half of the driver's files are there."""

from pathlib import Path

import msgspec
import pytest

from intel_agent.backends.sgx import Sgx
from intel_agent.inventory import Found
from intel_agent.model import ContainerEdits, Device, DeviceNode, Exclusion, Health
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
    """The Go plugin looks once in its life."""
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
