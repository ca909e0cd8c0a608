"""Sections that a file of their own continues."""

from pathlib import Path

import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.backends.nic import Nic
from intel_agent.config import Devices, whole
from intel_agent.config.further import expanded

POOL = '{"resourceList": [{"resourceName": "a", "selectors": {"drivers": ["iavf"]}}]}'
OTHER = POOL.replace('"a"', '"b"')


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "node-1"
    path.write_text(POOL)
    return path


def sections(file: Path) -> Devices:
    return Devices(gpu=Gpu(shared_dev_num=2), nic=Nic(config_file=f"{file.parent}/$(NODE_NAME)"))


ENVIRONMENT = {"NODE_NAME": "node-1"}


def names(devices: Devices) -> list[str]:
    return [each.resource_name for each in devices.nic.pools]


def test_the_file_of_the_node_is_part_of_the_section(file: Path) -> None:
    made = whole(sections(file), ENVIRONMENT)

    assert names(made.devices) == ["a"]
    assert (made.devices.gpu, made.given, made.files) == (Gpu(shared_dev_num=2), sections(file), (str(file),))
    assert made.devices.nic.configured
    assert made.devices.nic.problems() == {}
    assert (made.problems, made.remarks) == ((), ())


def test_without_files_sections_are_as_they_are() -> None:
    devices = Devices(nic=Nic(enabled=False, config_file="/no/such/file"))

    assert whole(devices, {}).devices == devices
    assert whole(devices, {}).files == ()


def test_a_new_content_replaces_the_old_one(file: Path) -> None:
    before = whole(sections(file), ENVIRONMENT)
    file.write_text(OTHER)

    assert names(whole(sections(file), ENVIRONMENT, before).devices) == ["b"]


def test_of_a_file_that_cannot_be_used_the_last_good_content_counts(file: Path) -> None:
    made = whole(sections(file), ENVIRONMENT)
    for _ in range(2):
        file.write_text("{")
        made = whole(sections(file), ENVIRONMENT, made)

        assert names(made.devices) == ["a"]
        assert [each.partition(" (")[0] for each in made.problems] == [f"{file}: line 1: found no JSON"]


def test_another_section_has_no_last_good_content(file: Path) -> None:
    before = whole(sections(file), ENVIRONMENT)
    file.write_text("{")
    devices = Devices(nic=Nic(config_file=str(file)))

    assert not whole(devices, ENVIRONMENT, before).devices.nic.enabled
    assert not whole(devices, ENVIRONMENT).devices.nic.enabled


def test_where_there_is_no_file_nothing_is_offered(file: Path) -> None:
    """Nodes without network functions have no key in a ConfigMap with a key for each node."""
    before = whole(sections(file), ENVIRONMENT)
    file.unlink()
    made = whole(sections(file), ENVIRONMENT, before)

    assert not made.devices.nic.enabled
    assert made.problems == ()
    assert made.remarks == ((str(file), "no such file, so nic offers nothing"),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "is a directory", id="directory"),
        pytest.param(b" " * ((1 << 20) + 1), "found more than 1048576 bytes; allowed 1048576", id="too large"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(file: Path, content: bytes | None, said: str) -> None:
    file.unlink()
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)

    assert whole(sections(file), ENVIRONMENT).problems == (f"{file}: {said}",)


def test_what_means_nothing_is_said(file: Path) -> None:
    file.write_text(POOL.replace("iavf", ""))

    assert whole(sections(file), ENVIRONMENT).remarks == (
        (str(file), 'resourceList[0].selectors.drivers[0]: found "", which fits no device'),
        (str(file), "resourceList[0].selectors: no selector fits any device; the resource is left out"),
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/pcidp/$(NODE_NAME)", "/etc/pcidp/node-1"),
        ("/etc/$(NODE_NAME)/$(NODE_NAME).json", "/etc/node-1/node-1.json"),
        ("/etc/$(HOME)/$NODE_NAME", "/etc/$(HOME)/$NODE_NAME"),
    ],
)
def test_the_name_of_the_node_can_be_part_of_the_path(path: str, expected: str) -> None:
    assert expanded(path, {"NODE_NAME": "node-1", "HOME": "/root"}) == expected
    assert expanded("/x/$(NODE_NAME)", {}) == "/x/$(NODE_NAME)"
