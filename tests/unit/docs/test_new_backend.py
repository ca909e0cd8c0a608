"""docs/develop/new-backend.md cannot rot: what it quotes is there, what it runs finds what it says."""

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from intel_agent.backends import Backend, dlb
from intel_agent.inventory import Found
from intel_agent.simulation import accelerators
from intel_agent.simulation.disk import materialise
from intel_agent.simulation.machines import at
from intel_agent.simulation.tree import parse
from intel_agent.sysfs import Host

REPOSITORY = Path(__file__).parents[3]
PAGE = REPOSITORY / "docs" / "develop" / "new-backend.md"
FENCED = re.compile(r"^```(.+?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of the page. `role` says what it is, `name` of what (a file, a tree, a step), `on` what it is run on."""

    role: str
    name: str
    on: str
    text: str


def blocks() -> Iterator[Block]:
    for info, text in FENCED.findall(PAGE.read_text(encoding="utf-8")):
        _, what, *on = info.split()
        role, _, name = what.partition("=")
        yield Block(role, name, "".join(on).removeprefix("on="), text.rstrip("\n"))


BLOCKS = tuple(blocks())


def of(role: str) -> list[Block]:
    return [each for each in BLOCKS if each.role == role]


def named(role: str, name: str) -> str:
    (found,) = (each.text for each in of(role) if each.name == name)
    return found


@pytest.fixture
def node(tmp_path: Path, on: str) -> Host:
    """Return the node of that tree of the page."""
    materialise(named("tree", on), tmp_path / "node")
    return Host(str(tmp_path / "node"), "/on/host")


@pytest.fixture
def backend(step: str, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """Return the kind as it is at that step of the page; the last one is the whole file."""
    code = named("file", "intel_agent/backends/dlb.py") if step == "last" else named("step", step)
    module = ModuleType(f"page_{step}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, f"{PAGE.name}:{step}", "exec"), module.__dict__)
    made = module.__dict__["Dlb"]()
    assert isinstance(made, Backend)
    return made


def told(found: Found) -> str:
    """Return what was found in the words of the page."""
    devices = [f"{each.resource} {each.id}" for each in found.devices]
    return "\n".join([*devices, *(f"left out: {each.path}: {each.rule}" for each in found.exclusions)])


def test_every_block_has_a_role_that_is_checked() -> None:
    assert {each.role for each in BLOCKS} == {"tree", "step", "found", "file", "part", "run"}
    assert 2 * len(BLOCKS) == len(re.findall("^ *```", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("block", [pytest.param(each, id=each.name) for each in of("file")])
def test_what_is_a_file_is_that_file(block: Block) -> None:
    assert block.text + "\n" == (REPOSITORY / block.name).read_text(encoding="utf-8")


@pytest.mark.parametrize("block", [pytest.param(each, id=f"{each.name} {n}") for n, each in enumerate(of("part"))])
def test_what_is_part_of_a_file_is_in_it(block: Block) -> None:
    assert f"\n{block.text}\n" in "\n" + (REPOSITORY / block.name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("step", "on", "text"),
    [pytest.param(each.name, each.on, each.text, id=f"{each.name} on {each.on}") for each in of("found")],
)
def test_each_step_finds_what_the_page_says(backend: Backend, node: Host, text: str) -> None:
    assert told(Found.of(backend.discover(node))) == text


@pytest.mark.parametrize("on", ["one", "split"])
@pytest.mark.parametrize("step", ["last"])
def test_the_last_step_is_the_product(backend: Backend, node: Host) -> None:
    assert Found.of(backend.discover(node)) == Found.of(dlb.Dlb().discover(node))


@pytest.mark.parametrize(("step", "on"), [("first", "one")])
def test_the_first_slice_finds_the_products_devices_on_a_sound_tree(backend: Backend, node: Host) -> None:
    product = Found.of(dlb.Dlb().discover(node))

    assert Found.of(backend.discover(node)) == Found(tuple(replace(each, attributes={}) for each in product.devices))


def test_the_tree_of_the_page_is_part_of_what_the_builder_makes() -> None:
    built = parse("\n".join(accelerators.Dlb(0, at("0000:6d:00.0"), numa=1).lines())).entries

    assert parse(named("tree", "one")).entries.items() <= built.items()


@pytest.mark.parametrize("command", [line for each in of("run") for line in each.text.splitlines()])
def test_what_is_run_is_there(command: str) -> None:
    dollar, program, *arguments = shlex.split(command, comments=True)

    assert dollar == "$"
    match program, arguments:
        case "python", ["-m", module]:
            assert find_spec(module) is not None
        case "python", ["-c", code]:
            exec(compile(code.replace("print(", "len("), PAGE.name, "exec"), {})
        case "python", [script, "--write"]:
            assert '"--write"' in (REPOSITORY / script).read_text(encoding="utf-8")
        case "pytest", paths:
            assert [each for each in paths if not (REPOSITORY / each).is_dir()] == []
        case "tox", ["-e", environments]:
            tox = (REPOSITORY / "tox.ini").read_text(encoding="utf-8")
            assert [each for each in environments.split(",") if f"[testenv:{each}]" not in tox] == []
        case _:
            pytest.fail(f"nobody knows how to check {command}")


def test_files_and_links_that_the_prose_names_are_there() -> None:
    prose = FENCED.sub("", PAGE.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)#]+)", prose)
    files = re.findall(r"`((?:docs|tests|charts)/[\w./-]+|intel_agent/[\w./-]+)`", prose)

    assert [each for each in links if not (PAGE.parent / each).exists()] == []
    assert [each for each in files if not (REPOSITORY / each).exists()] == []
