"""Trees that no kernel should show: nothing crashes, every odd device is named, sound ones are served unchanged.

Each operator is put in the place of each file and link that a look reads, alone, in pairs and in random heaps.
"""

import itertools
import os
import random
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from thorough import STEP, some

from intel_agent.backends import Backend
from intel_agent.backends.dlb import Dlb
from intel_agent.backends.dsa import Dsa
from intel_agent.backends.fpga import Fpga
from intel_agent.backends.gaudi import Gaudi
from intel_agent.backends.gpu import Gpu
from intel_agent.backends.iaa import Iaa
from intel_agent.backends.nic import Nic
from intel_agent.backends.nic.pools import Pool
from intel_agent.backends.nic.selectors import Selector
from intel_agent.backends.npu import Npu
from intel_agent.backends.qat import Qat
from intel_agent.backends.sgx import Sgx
from intel_agent.inventory import Found, Inventory
from intel_agent.links import Links
from intel_agent.model import Device
from intel_agent.simulation.disk import materialise
from intel_agent.sysfs import Host

from .parts import PARTS, VFIO, Part

OPERATORS = ("absent", "empty", "directory", "loop", "dangling", "binary", "long", "text", "number", "eio")
BACKENDS: tuple[Backend, ...] = (
    Gpu(enable_monitoring=True, shared_dev_num=2),
    Npu(shared_dev_num=2),
    Sgx(),
    Dsa(shared_dev_num=4),
    Iaa(),
    Dlb(),
    Fpga(),
    Fpga(mode="regiondevel"),
    Gaudi(),
    Nic(pools=(Pool(resource="intel.com/x", selectors=Selector(vendors=("8086",), drivers=("vfio-pci",))),)),
    Qat(),
)
HEAPS = 4_000


@dataclass(frozen=True)
class Spoil:
    """An operator in the place of a file or link."""

    path: str
    operator: str

    @property
    def absent(self) -> bool:
        """Whether the file cannot be told from one that was never made."""
        return self.operator in {"absent", "dangling"}


SPOILS = {part: [Spoil(path, operator) for path in part.paths for operator in OPERATORS] for part in PARTS}


def put(path: str, operator: str) -> None:
    match operator:
        case "absent":
            pass
        case "empty":
            Path(path).write_bytes(b"")
        case "directory":
            os.mkdir(path)
        case "loop":
            os.symlink(os.path.basename(path), path)
        case "dangling":
            os.symlink("no/such/thing", path)
        case "eio":
            os.symlink("/proc/self/mem", path)  # reading where nothing is mapped is EIO, as of a driver that failed
        case "binary":
            Path(path).write_bytes(bytes(range(256)))
        case "long":
            Path(path).write_text("0x8086\n")
            os.truncate(path, 1 << 20)
        case "text":
            Path(path).write_text("c enabled\n")
        case _:
            Path(path).write_text("-2\n")


@contextmanager
def spoiled(host: Host, spoil: Spoil) -> Generator[None]:
    """Put something odd in the place of a file, which is put back at the end."""
    path = host.root + spoil.path
    kept = f"{host.root}/kept{spoil.path.replace('/', '|')}"
    os.rename(path, kept)
    try:
        put(path, spoil.operator)
        yield
    finally:
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        elif os.path.lexists(path):
            os.unlink(path)
        os.rename(kept, path)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Return the sound machine, in memory where that can be had."""
    memory = Path("/dev/shm")
    base = tmp_path_factory.mktemp("machine")
    root = memory / f"intel-agent-{os.getpid()}" if os.access(memory, os.W_OK) else base
    materialise("".join([VFIO, *(part.tree for part in PARTS)]), root)
    (root / "kept").mkdir()
    host = Host(str(root), "/")
    host.links = Links()
    yield host
    shutil.rmtree(root)


def look(host: Host) -> Inventory:
    return Inventory.of({str(place): Found.of(backend.discover(host)) for place, backend in enumerate(BACKENDS)})


def devices(inventory: Inventory, part: Part) -> list[Device]:
    return [each for each in inventory.devices if each.id.startswith(part.prefix)]


def expected(before: Inventory, part: Part, spoils: Sequence[Spoil]) -> list[Device]:
    """Return the part's devices without what the kernel or udev may leave out."""
    absent = {each.path for each in spoils if each.absent}
    if absent.intersection(part.found_by):
        return []
    edited: list[Device] = []
    for device in devices(before, part):
        mounts = tuple(each for each in device.edits.mounts if each.host_path not in absent)
        near = () if any(path.endswith("/numa_node") for path in absent) else device.numa_nodes
        edits = replace(device.edits, mounts=mounts)
        resource = device.resource
        if any(path.endswith("/physfn") for path in absent):
            resource = "qat.intel.com/generic"  # without the link it is a function as virtual machines have them
        if any(path.endswith("/sriov_numvfs") for path in absent) and resource == "dlb.intel.com/pf":
            resource = "dlb.intel.com/vf"  # what has no number of virtual functions is one
        edited.append(replace(device, resource=resource, edits=edits, numa_nodes=near, attributes={}))
    return edited


def named(inventory: Inventory, part: Part) -> bool:
    """Return whether an exclusion is about the part."""
    return any(mark in each.path for each in inventory.exclusions for mark in part.marks)


def judge(host: Host, before: Inventory, spoils: Mapping[Part, Sequence[Spoil]]) -> list[str]:
    """Return what is wrong with a look at the machine with these parts spoiled."""
    with ExitStack() as stack:
        for each in spoils.values():
            for spoil in each:
                stack.enter_context(spoiled(host, spoil))
        after = look(host)
    wrong: list[str] = []
    for part in PARTS:
        if part not in spoils:
            if devices(after, part) != devices(before, part) or named(after, part):
                wrong.append(f"{part.prefix} is harmed by {spoils}")
            continue
        served = [replace(each, attributes={}) for each in devices(after, part)]
        if served != expected(before, part, spoils[part]) and not named(after, part):
            wrong.append(f"{part.prefix} is not named with {spoils[part]}")
        if not {each.id for each in served} <= {each.id for each in devices(before, part)}:
            wrong.append(f"{part.prefix} has got other ids with {spoils[part]}")
    wrong += [
        f"{each} cannot be printed" for each in after.exclusions if not f"{each.path}{each.evidence}".isprintable()
    ]
    return wrong


def test_the_sound_machine_is_sound(machine: Host) -> None:
    inventory = look(machine)

    assert sorted(each.id for each in inventory.devices) == [
        "/dev/dlb0",
        "0000:20:00.0",
        "0000:37:00.1",
        "0000:38:00.1",
        "0000:48:00.0",
        "0000:51:00.1",
        "0000:52:00.1",
        "accel9",
        "all",
        "card1",
        "card2",
        "dfl-fme.6",
        "dfl-port.6",
        "sgx-enclave",
        "sgx-provision",
        "wq-user-shared-wq3.0",
        "wq-user-shared-wq4.0",
        "wq-user-shared-wq5.0",
    ]
    assert inventory.exclusions == ()


@pytest.mark.timeout(600)  # many looks at the whole machine, and coverage counts each line
def test_one_odd_file_is_named_and_harms_no_other_device(machine: Host) -> None:
    before = look(machine)

    assert [
        problem
        for part in PARTS
        for spoil in SPOILS[part][::STEP]
        for problem in judge(machine, before, {part: [spoil]})
    ] == []
    assert look(machine) == before


@pytest.mark.timeout(600)  # many looks at the whole machine, and coverage counts each line
def test_two_odd_files_are_named_and_harm_no_other_device(machine: Host) -> None:
    """Every pair of files of one accelerator, with operators that differ from pair to pair."""
    before = look(machine)
    operators = itertools.cycle(itertools.product(OPERATORS, OPERATORS))
    pairs = [
        (part, [Spoil(one, first), Spoil(other, second)])
        for part in PARTS
        for (one, other), (first, second) in zip(itertools.combinations(part.paths, 2), operators, strict=False)
    ][::STEP]

    assert [problem for part, pair in pairs for problem in judge(machine, before, {part: pair})] == []
    assert look(machine) == before


@pytest.mark.timeout(600)  # many looks at the whole machine, and coverage counts each line
@pytest.mark.parametrize("seed", range(4))
def test_heaps_of_odd_files_harm_no_sound_device(machine: Host, seed: int) -> None:
    before = look(machine)
    chance = random.Random(seed)
    wrong: list[str] = []
    for _ in range(some(HEAPS // 4)):
        parts = chance.sample(PARTS, chance.randint(1, len(PARTS)))
        spoils = {
            part: [Spoil(path, chance.choice(OPERATORS)) for path in chance.sample(part.paths, chance.randint(1, 4))]
            for part in parts
        }
        wrong += judge(machine, before, spoils)

    assert wrong == []
    assert look(machine) == before
