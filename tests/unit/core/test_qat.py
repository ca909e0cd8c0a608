"""QAT words: what a physical function is configured for, from whichever file tells.

Ids of cases say what the existing Go plugin does where it is wrong.
"""

import os
from pathlib import Path

import pytest

from intel_agent import qat
from intel_agent.errors import SysfsError
from intel_agent.rawfiles import PAGE
from intel_agent.simulation.disk import materialise
from intel_agent.simulation.machines import link
from intel_agent.sysfs import Dir, Host

ADDRESS = "0000:6b:00.0"
PHYSICAL = f"/sys/devices/pci0000:6a/0000:6a:01.0/{ADDRESS}"
REPORT = f"/sys/kernel/debug/qat_4xxx_{ADDRESS}/dev_cfg"
DRIVER = f"/sys/bus/pci/drivers/4xxx/\n{link(f'{PHYSICAL}/driver', '/sys/bus/pci/drivers/4xxx')}"


def configured(*, state: str | None = None, services: str | None = None, report: str | None = None) -> str:
    """Return the tree of a function whose driver tells this, in tree text; `None` for a file that is not there."""
    contents = {f"{PHYSICAL}/qat/state": state, f"{PHYSICAL}/qat/cfg_services": services, REPORT: report}
    return "\n".join([DRIVER, *(f"{path} = {text}" for path, text in contents.items() if text is not None)])


def general(services: str) -> str:
    """Return a report of the driver."""
    return rf"[KERNEL]\nServicesEnabled = none\n[GENERAL]\nFirst = 1\nServicesEnabled = {services}\n[KERNEL_QAT]\nX = 1"


def told(host: Host, directory: str = PHYSICAL) -> qat.Physical:
    return qat.physical(host, Dir(host.root + directory), configurable=True)


SYSFS = {
    "sym;asym": "cy",
    "asym;sym": "cy",
    "dc": "dc",
    "sym": "sym",
    "asym": "asym",
    "dcc": "dcc",
    "decomp": "decomp",
    "sym;dc": "sym-dc",
    "dc;sym": "dc-sym",
    "asym;dc": "asym-dc",
    "asym;sym;dc": "asym-sym-dc",
    "asym;sym;decomp": "asym-sym-decomp",
}


@pytest.mark.parametrize(
    ("tree", "capability"),
    [
        *(pytest.param(configured(state="up", services=given), name, id=given) for given, name in SYSFS.items()),
        pytest.param(configured(state="up", services="a;b;c;d"), "a-b-c-d", id="four services (Go: a-b-c;d)"),
        pytest.param(configured(state="up", services=r"\c", report=general("dc")), "dc", id="empty, debugfs tells"),
        pytest.param(configured(state="up", services="", report=general("dc")), "dc", id="an empty line (Go: no name)"),
        pytest.param(configured(state="up", report=general("dc")), "dc", id="no cfg_services"),
        pytest.param(configured(report=general("sym;asym")), "cy", id="no state"),
        pytest.param(configured(report=general('"sym;asym"')), "cy", id="quoted"),
        pytest.param(configured(report=r"[A]\nB = " + "c" * PAGE + rf"\n{general('dc')}"), "dc", id="a long report"),
    ],
)
def test_a_capability_is_named_by_the_services(host: Host, capability: str) -> None:
    unit = told(host)

    assert (qat.capability(unit.services), unit.unknown) == (capability, None)


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param(configured(state="up", services=""), id="an empty line (Go: no name)"),
        pytest.param(configured(state="up", services=r"\x20\x20\c"), id="blanks (Go: no name)"),
        pytest.param(configured(state="up", services=r"\c"), id="an empty file"),
        pytest.param(configured(state="up"), id="no cfg_services"),
        pytest.param(configured(), id="nothing at all"),
        pytest.param(configured(report=general("dc # x")), id="a comment (Go: a name with blanks)"),
        pytest.param(configured(report=r"[general]\nServicesEnabled = dc"), id="another section (Go: no name)"),
        pytest.param(configured(report=r"[GENERAL]\nservicesenabled = dc"), id="another key (Go: no name)"),
        pytest.param(configured(report=r"[GENERAL]\nOther = dc"), id="no such key (Go: no name)"),
        pytest.param(configured(report=r"[GENERAL]\nServicesEnabled ="), id="no value (Go: no name)"),
        pytest.param(configured(report=r"\c"), id="an empty report (Go: no name)"),
        pytest.param(configured(report="no separator"), id="no report of this sort"),
        pytest.param(configured(report=general("x" * 18)), id="too long for a socket's name"),
    ],
)
def test_of_unknown_services_it_is_said_that_and_why(host: Host) -> None:
    unit = told(host)

    assert qat.capability(unit.services) == "generic"
    assert unit.unknown is not None
    assert (unit.unknown.path, unit.unknown.rule) == (PHYSICAL, "services-unknown")
    assert unit.unknown.evidence.startswith("no qat/cfg_services tells what it is configured for, and ")
    assert REPORT in unit.unknown.evidence


SEE_DEBUGFS = (
    "let the agent see debugfs (mount -t debugfs debugfs /sys/kernel/debug), or run a kernel whose driver has "
    "qat/cfg_services; meanwhile its virtual functions are offered as generic"
)
CHOOSE = (
    f"choose its services: echo down > /sys/bus/pci/devices/{ADDRESS}/qat/state; "
    f"echo 'sym;asym' > /sys/bus/pci/devices/{ADDRESS}/qat/cfg_services; "
    f"echo up > /sys/bus/pci/devices/{ADDRESS}/qat/state; "
    "meanwhile its virtual functions are offered as generic"
)


@pytest.mark.parametrize(
    ("tree", "remedy"),
    [(configured(state="up"), SEE_DEBUGFS), (configured(state="up", services=""), CHOOSE)],
    ids=["no file", "nothing in it"],
)
def test_unknown_services_come_with_what_to_do(host: Host, remedy: str) -> None:
    unknown = told(host).unknown

    assert unknown is not None
    assert unknown.remedy == remedy


@pytest.mark.parametrize("tree", [configured(state="up")])
@pytest.mark.parametrize("how", ["locked", "directory", "loop"])
def test_a_report_that_cannot_be_read_is_no_error(host: Host, how: str) -> None:
    """Under lockdown the file is there, and reading it fails."""
    report = Path(host.root + REPORT)
    report.parent.mkdir(parents=True)
    match how:
        case "locked":
            report.symlink_to("/proc/self/mem")
        case "directory":
            report.mkdir()
        case _:
            report.symlink_to("dev_cfg")

    assert told(host).services is None


@pytest.mark.parametrize(
    "above",
    [
        "/sys/devices/pci0000:6b",
        pytest.param("/sys/devices/pci0000:6a/0000:6a:01.0", id="below a port (Go: generic)"),
        pytest.param(
            "/sys/devices/pci0000:6a/0000:6a:01.0/0000:6c:00.0/0000:6d:01.0", id="below a switch (Go: generic)"
        ),
    ],
)
def test_debugfs_is_found_at_any_depth(tmp_path: Path, above: str) -> None:
    directory = f"{above}/{ADDRESS}"
    driver = link(f"{directory}/driver", "/sys/bus/pci/drivers/4xxx")
    materialise(f"{driver}\n/sys/bus/pci/drivers/4xxx/\n{REPORT} = {general('dc')}", tmp_path)

    assert told(Host(str(tmp_path)), directory).services == "dc"


@pytest.mark.parametrize("tree", [configured(state="down", services="dc", report=general("dc"))])
def test_a_device_that_is_down_is_asked_nothing_more(host: Host) -> None:
    """The Go plugin takes what debugfs says of it."""
    os.unlink(f"{host.root}{PHYSICAL}/qat/cfg_services")
    os.mkfifo(f"{host.root}{PHYSICAL}/qat/cfg_services")  # whoever opens it waits for ever

    assert told(host) == qat.Physical(ADDRESS, "4xxx", "down")


@pytest.mark.parametrize("tree", [configured(report=general("dc")).replace(DRIVER, f"{PHYSICAL}/")])
def test_without_a_driver_nothing_is_known(host: Host) -> None:
    assert told(host) == qat.Physical(ADDRESS, None, None)


@pytest.mark.parametrize("tree", [configured(report=general("dc"))])
def test_older_devices_have_nothing_to_choose(host: Host) -> None:
    directory = Dir(host.root + PHYSICAL)

    assert qat.physical(host, directory, configurable=False) == qat.Physical(ADDRESS, "4xxx", None)


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        pytest.param(
            configured(state="resetting"), "'resetting' is neither up nor down", id="state (Go: looks elsewhere)"
        ),
        pytest.param(configured(state="up", services="dc!"), "'dc!' is no list of services", id="services (Go: taken)"),
        pytest.param(configured(state="up", services="a;;b"), "'a;;b' is no list of services", id="gap (Go: taken)"),
        pytest.param(
            configured(state="up", services="asym;sym;decomp;dcc"), "is no list of services", id="too long (Go: taken)"
        ),
    ],
)
def test_what_the_kernel_does_not_document_is_refused(host: Host, problem: str) -> None:
    with pytest.raises(SysfsError, match=problem):
        told(host)


@pytest.mark.parametrize("tree", [configured(state="up", services="dc", report=general("dc"))])
@pytest.mark.parametrize("file", ["qat/state", "qat/cfg_services", "driver"])
def test_what_the_driver_refuses_to_tell_is_no_absent_file(host: Host, file: str) -> None:
    """Of services, the Go plugin makes `generic` of it: the functions would change their resource."""
    path = Path(host.root, PHYSICAL[1:], file)
    path.unlink()
    path.mkdir()

    with pytest.raises(SysfsError):
        told(host)


def test_the_table_of_models_is_that_of_the_kernels_drivers() -> None:
    assert {device: model.vf_driver for device, model in qat.MODELS.items() if model.virtual} == {
        "0x0442": "dh895xccvf",
        "0x0443": "dh895xccvf",
        "0x18a1": "c4xxxvf",
        "0x19e3": "c3xxxvf",
        "0x37c9": "c6xxvf",
        "0x6f55": "d15xxvf",
        "0x4941": "4xxxvf",
        "0x4943": "4xxxvf",
        "0x4945": "4xxxvf",
        "0x4947": "420xxvf",
        "0x4949": "6xxxvf",
    }
    assert {device: model.driver for device, model in qat.MODELS.items() if not model.virtual} == {
        "0x0434": "dh895xcc",
        "0x0435": "dh895xcc",
        "0x18a0": "c4xxx",
        "0x19e2": "c3xxx",
        "0x37c8": "c6xx",
        "0x6f54": "d15xx",
        "0x4940": "4xxx",
        "0x4942": "4xxx",
        "0x4944": "4xxx",
        "0x4946": "420xx",
        "0x4948": "6xxx",
    }
    assert {model.vf_driver for model in qat.MODELS.values()} == {*qat.KERNEL_DRIVERS}
