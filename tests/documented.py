"""The commands of the documentation: each is run by one of the suites below, or NOT_RUN says why not."""

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from textwrap import dedent

REPOSITORY = Path(__file__).parents[1]
PAGES = tuple(
    sorted(
        page
        for pattern in ("*.md", "docs/**/*.md", "charts/*/*.md", "protos/*.md", "tests/**/*.md")
        for page in REPOSITORY.glob(pattern)
    )
)

SHELL = frozenset({"sh", "console"})
"""Languages of blocks that are commands: as one types them, or after a prompt and with what they print."""
OTHERS = frozenset({"ini", "jq", "json", "logql", "markdown", "python", "text", "yaml"})
"""Languages of blocks that are none. Every block has a language, so that none is overlooked."""

SECONDS = 60.0
"""How long a command may take."""


class Place(StrEnum):
    """The suite that runs a command."""

    HERE = "tests/unit/docs/test_commands.py"
    AGENT = "tests/integration/test_docs.py"
    IMAGE = "tests/image/test_docs.py"
    CLUSTER = "tests/one_node/test_docs.py"


PLACES: Mapping[str, Place] = {
    r"^rm -rf /run/intel-agent ": Place.CLUSTER,
    r"^intel-agent migrate before\.yaml": Place.CLUSTER,
    r"^(kubectl|helm|oc) ": Place.CLUSTER,
    r"^(sudo )?intel-agent (devices|doctor|explain|mark|status)\b": Place.AGENT,
    r"^python3 -m venv /tmp/intel-agent ": Place.IMAGE,
}
"""Who runs what; the first that fits decides, and what fits none is run on any machine."""

NOT_RUN: Mapping[str, str] = {
    r"^(sudo |pipx run )?tox\b|\.venv/bin/tox$|^pytest ": "it runs the tests, this one among them",
    r"^podman ": "it needs an image registry; the image's tests build the same Containerfile with buildah",
    r"^sudo image/build\.sh ": "tests/image/conftest.py and tests/one_node/product.py do, with another --output",
    r"^sudo ctr ": "tests/one_node/conftest.py does, with a containerd of its own",
    r"^accel-config ": "it is another project's, and needs the hardware",
    r"^modprobe ": "it loads a module into the kernel of this machine",
    r"^chcon ": "it needs a node with SELinux",
}
"""What is not run as it stands, and why."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command with what the page says that it prints. `prompt` is `#` for root on the node, where there is one."""

    text: str
    output: str = ""
    prompt: str = ""

    @property
    def reason(self) -> str | None:
        """Why it is not run, if it is not."""
        return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, self.text)), None)

    @property
    def place(self) -> Place:
        return next((place for pattern, place in PLACES.items() if re.search(pattern, self.text)), Place.HERE)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of commands. What is run of it is run in its order."""

    page: str
    line: int
    commands: tuple[Command, ...]

    def of(self, place: Place) -> tuple[Command, ...]:
        return tuple(each for each in self.commands if each.reason is None and each.place is place)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Fenced:
    """Anything between fences."""

    page: str
    line: int
    language: str
    text: str


def fenced(page: Path) -> Iterator[Fenced]:
    opened: tuple[int, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if not line.lstrip().startswith("```"):
            lines.append(line)
        elif opened is None:
            opened, lines = (number, line.strip().removeprefix("```")), []
        else:
            start, info = opened
            yield Fenced(str(page.relative_to(REPOSITORY)), start, info.partition(" ")[0], dedent("\n".join(lines)))
            opened = None
    assert opened is None, f"{page}: a block has no end"


def blocks(pages: Iterable[Path] = PAGES) -> Iterator[Block]:
    """Yield all blocks of commands."""
    for page in pages:
        for each in fenced(page):
            if each.language in SHELL:
                yield Block(each.page, each.line, tuple(_commands(each.text, typed=each.language == "sh")))


def _commands(text: str, *, typed: bool) -> Iterator[Command]:
    command: Command | None = None
    for line in text.splitlines():
        if command is not None and not _whole(command.text):
            command = Command(f"{command.text}\n{line}", "", command.prompt)
        elif typed and line.strip():
            if command is not None:
                yield command
            command = Command(line)
        elif line[:2] in {"$ ", "# "}:
            if command is not None:
                yield command
            command = Command(line[2:], "", line[0])
        elif line.strip():
            assert command is not None, f"{line!r} is printed by no command"
            command = Command(command.text, f"{command.output}{line}\n", command.prompt)
    if command is not None:
        yield command


def _whole(text: str) -> bool:
    """Return whether a shell waits for no further line."""
    if text.endswith("\\"):
        return False
    return subprocess.run(["bash", "-n", "-c", text], capture_output=True, timeout=SECONDS, check=False).returncode == 0


def yaml_of(page: str, begin: str) -> str:
    """Return the only block of a page in YAML that begins so."""
    (found,) = (
        each.text
        for each in fenced(REPOSITORY / page)
        if each.language == "yaml" and each.text.lstrip().startswith(begin)
    )
    return found


def prints(output: str, expected: str) -> bool:
    """Return whether a command printed what the page says, where `...` stands for anything."""
    pattern = ".*".join(map(re.escape, expected.rstrip("\n").split("...")))
    return re.search(f"(^|\n){pattern}(\n|$)", output, re.DOTALL) is not None


def runs(place: Place) -> tuple[Block, ...]:
    """Return the blocks that a suite runs something of, each text once."""
    once: dict[tuple[str, ...], Block] = {}
    for block in blocks():
        if texts := tuple(each.text for each in block.of(place)):
            once.setdefault(texts, block)
    return tuple(once.values())
