"""What is remembered is what was in force with the same configuration on the same node, or nothing."""

import os
from pathlib import Path

import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.cluster.memory import Memory
from intel_agent.config import Config, Devices, Health, NodeOverride, Selector

OVERRIDE = NodeOverride(selector=Selector(match_labels={"a": "b"}), devices={"gpu": {"sharedDevNum": 3}})
CONFIG = Config(node_overrides=(OVERRIDE,))
DEVICES = Devices(gpu=Gpu(shared_dev_num=3, allow_ids=("0x56c0",)))


def again(memory: Memory, node: str = "n") -> Memory:
    """Return the memory of the next process."""
    return Memory(str(Path(memory.path).parent), node)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    memory = Memory(str(tmp_path / "var" / "lib"), "n")
    assert memory.recalled(CONFIG) is None
    memory.keep(CONFIG, DEVICES)
    return memory


def test_sections_are_remembered_over_restarts(memory: Memory) -> None:
    assert memory.recalled(CONFIG) == DEVICES
    assert again(memory).recalled(CONFIG) == DEVICES


def test_other_settings_do_not_matter(memory: Memory) -> None:
    assert again(memory).recalled(Config(health=Health(rescan_seconds=5), node_overrides=(OVERRIDE,))) == DEVICES


@pytest.mark.parametrize(
    "config",
    [
        Config(node_overrides=(OVERRIDE, OVERRIDE)),
        Config(node_overrides=(NodeOverride(selector=Selector(), devices=OVERRIDE.devices),)),
        Config(node_overrides=(OVERRIDE,), devices=DEVICES),
    ],
    ids=["one more", "another selector", "other sections"],
)
def test_a_changed_configuration_is_not_answered_from_old_state(memory: Memory, config: Config) -> None:
    assert memory.recalled(config) is None
    assert again(memory).recalled(config) is None


def test_another_node_is_not_answered_from_the_state_of_this_one(memory: Memory) -> None:
    assert again(memory, "copied").recalled(CONFIG) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[1]", b'{"key": "x"}', b'{"key": "x", "devices": {"gqu": {}}}', b" " * (2 << 20)],
    ids=["empty", "half", "no text", "a list", "no sections", "unknown sections", "too large"],
)
def test_an_odd_file_is_no_memory(memory: Memory, content: bytes) -> None:
    Path(memory.path).write_bytes(content)
    other = again(memory)
    assert other.recalled(CONFIG) is None
    other.keep(CONFIG, DEVICES)
    assert again(memory).recalled(CONFIG) == DEVICES


def test_a_file_is_replaced_at_one_stroke_and_only_when_it_changes(memory: Memory) -> None:
    path = Path(memory.path)
    before = path.stat().st_ino
    memory.keep(CONFIG, DEVICES)
    assert path.stat().st_ino == before
    with path.open("rb") as old:
        memory.keep(CONFIG, Devices())
        assert b'"sharedDevNum":3' in old.read()
    assert again(memory).recalled(CONFIG) == Devices()
    assert os.listdir(path.parent) == [path.name]


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    memory = Memory(str(tmp_path / "file" / "state"), "n")
    assert memory.recalled(CONFIG) is None
    with pytest.raises(NotADirectoryError):
        memory.keep(CONFIG, DEVICES)
