"""What `intel-agent demo` shows: the whole story on every packaged machine, for anybody, wherever output goes."""

import functools
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from intel_agent import demo
from intel_agent.demo import stage
from intel_agent.errors import AgentError
from intel_agent.simulation import tree

PASSED = r"[0-9.]+ m?s"
"""A measured time."""
PAGE = r"The node at a glance, for a browser: http://127\.0\.0\.1:[0-9]+/"
LINE = re.compile(r" *[0-9]+\.[0-9]{3} s  (.*)")

GPU_STORY = [
    r"The node, its devices and its kubelet are simulated.*",
    r"A simulated device makes no message of the kernel: the demo hints the agent where a real one would\.",
    r"The agent starts\.",
    rf"18 resources with 247 ids registered and listed at kubelet after {PASSED}\.",
    PAGE,
    r"gpu\.intel\.com/xe: capacity 2, allocatable 2: card0-0 Healthy and card0-1 Healthy",
    r"sgx\.intel\.com/enclave: capacity 110, allocatable 110",
    r"Pod trainer asks for one gpu\.intel\.com/xe\.",
    rf"Admitted after {PASSED}: it gets card0-0, with /dev/dri/card0 and /dev/dri/renderD128 and 2 links to them\.",
    r"Pod learner asks for one habana\.ai/gaudi\.",
    rf"Admitted after {PASSED}: it gets 0000:34:00\.0, with /dev/accel/accel1, /dev/accel/accel_controlD1 .*",
    r"Pod listener asks for one npu\.intel\.com/accel\.",
    rf"Admitted after {PASSED}: it gets accel0-0, with /dev/accel/accel0\.",
    r"Pod mover asks for one dsa\.intel\.com/wq-user-shared\.",
    rf"Admitted after {PASSED}: it gets wq-user-shared-wq0\.0-0, with /dev/dsa/wq0\.0 and /dev/char/238:0\.",
    r"Pod packer asks for one iaa\.intel\.com/wq-user-shared\.",
    r"Pod sorter asks for one dlb\.intel\.com/pf\.",
    rf"Admitted after {PASSED}: it gets /dev/dlb0, with /dev/dlb0\.",
    r"Pod cipher asks for one qat\.intel\.com/cy\.",
    rf"Admitted after {PASSED}: it gets 0000:6b:00\.1, with /dev/vfio/51, /dev/vfio/vfio, .*",
    r"Pod vault asks for one sgx\.intel\.com/enclave\.",
    rf"Admitted after {PASSED}: it gets sgx-enclave-0, with /dev/sgx_enclave\.",
    r"Pod filter asks for one fpga\.intel\.com/af-.*",
    rf"Admitted after {PASSED}: it gets dfl-port\.0, with /dev/dfl-port\.0\.",
    r"Pod router asks for one intel\.com/netdevice\.",
    r"Admitted .*: it gets 0000:18:01\.0, with PCIDEVICE_INTEL_COM_NETDEVICE and PCIDEVICE_INTEL_COM_NETDEVICE_INFO\.",
    r"GPU card0 is pulled, though trainer uses it\.",
    rf"Unhealthy at kubelet {PASSED} after the hint\. Pod trainer keeps running\.",
    r".*allocatable 0: card0-0 Unhealthy \(held by trainer\) and card0-1 Unhealthy",
    r"Pod late asks for one gpu\.intel\.com/xe, too\.",
    r"Refused, in kubelet's words: Allocate failed due to no healthy devices present; .*",
    r"GPU card0 is brought back\.",
    rf"Healthy at kubelet {PASSED} after the hint\.",
    r"GPU card1 is pulled, which nobody uses\.",
    rf"It did not within {PASSED}, and no pod holds it: it is off kubelet's list\.",
    r"gpu\.intel\.com/i915: capacity 0, allocatable 0",
    r"GPU card1 is brought back\.",
    r"Kubelet stops\.",
    r"Kubelet starts: .*",
    rf"18 resources registered and listed again, {PASSED} after .* Pods keep their devices: trainer, learner, .*",
    r"The configuration file changes: sharedDevNum of gpu, npu, dsa and iaa from 2 to 3\.",
    rf"Read again and listed at kubelet after {PASSED}; no pod noticed\.",
    r"The pods end\.",
    r"Their devices are free again\.",
    r"That was the story; this is what the node looks like after it\.",
    r"The agent has stopped; its sockets are gone\.",
]

STORIES = {
    "bench": [r"8 resources with 285 ids.*", r"GPU card2 is pulled, which nobody uses\."],
    "empty": [r"Nothing is there: .*"],
    "everything": [r"18 resources with 247 ids.*", r"GPU card1 is pulled.*"],
    "fpga": [
        r"3 resources with 4 ids.*",
        rf"Admitted after {PASSED}: it gets dfl-port\.0, with /dev/dfl-port\.0\.",
        r"FPGA port dfl-port\.0 is pulled, though filter uses it\.",
    ],
    "gaudi": [r"Admitted .*: it gets 0000:.*", r"Gaudi 0000:.* is pulled.*", r"Healthy at kubelet.*"],
    "gpu-server": [r"Left out: .* 2 virtual functions are enabled\.", r"Admitted .*: it gets card2-0.*"],
    "laptop": [r"GPU card0 is pulled.*", r"Refused.*", r"Healthy at kubelet.*"],
    "nic-host": [
        r"2 resources with 128 ids.*",
        r"Network function 0000:18:01\.0 is pulled, though router uses it\.",
        r"Network function 0000:18:01\.2 is pulled, which nobody uses\.",
        r".* it is off kubelet's list\.",
    ],
    "qat": [r"Admitted .*: it gets 0000:6b:00\.1, with /dev/vfio/51.*", r"Virtual function 0000:6b:00\.1 is pulled.*"],
    "xeon": [
        r"Admitted .*: it gets 0000:6b:00\.1, with /dev/vfio/51.*",
        r"Work queue wq-user-shared-wq0\.0 is pulled, though mover uses it\.",
    ],
}
"""What must be told of each machine, in short."""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Return a directory for temporary files with a short path, that everybody may write to."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="d") as directory:
        os.chmod(directory, 0o777)
        yield Path(directory)


@functools.cache
def unprivileged() -> tuple[str, ...]:
    """Return what to write before a command so that root is not needed; nothing when nobody else could run Python."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        return ()
    command = (setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all")
    probe = [*command, sys.executable, "-c", "import intel_agent"]
    test = subprocess.run(probe, check=False, cwd="/", capture_output=True)
    return command if test.returncode == 0 else ()


HURRIED = """
from intel_agent import __main__, demo
from intel_agent.demo import stage
demo.STORY_SECONDS, demo.LINGER_SECONDS, stage.DEADLINE = 1e9, 100.0, 60.0
__main__.main()
"""
"""The program, but that no story pauses for its readers, however much time there is for it."""


def started(temporary: Path, *arguments: str, output: int = subprocess.PIPE, term: str = "") -> subprocess.Popen[str]:
    """Start the demo in a hurry, as a user without any right where that can be done."""
    return subprocess.Popen(
        [*unprivileged(), sys.executable, "-c", HURRIED, "demo", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(temporary), "TERM": term},
        cwd="/",
    )


def texts(output: str) -> list[str]:
    """Return what the lines say, without their times; every line must have one."""
    matches = [(line, LINE.fullmatch(line)) for line in output.splitlines()]
    assert [line for line, match in matches if match is None] == []
    return [match[1] for _, match in matches if match is not None]


def missing(story: list[str], lines: list[str]) -> list[str]:
    """Return the patterns of `story` that no line fits, looking at the lines in order."""
    rest = iter(lines)
    return [pattern for pattern in story if not any(re.fullmatch(pattern, line) for line in rest)]


def told(process: subprocess.Popen[str], words: str) -> str:
    """Return what the demo says until one of its lines has these words; then interrupt it."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            break
    process.send_signal(signal.SIGINT)
    return "".join(lines)


def test_nobody_sees_the_whole_story_as_plain_lines(temporary: Path) -> None:
    with started(temporary, "--seconds", "600") as process:
        story = told(process, "That was the story")
        rest, errors = process.communicate(timeout=60)

    lines = texts(story + rest)
    assert [line for line in lines if line.startswith("A rule of kubelet was broken")] == []
    assert (errors, process.returncode) == ("", 0)
    assert missing(GPU_STORY, lines) == []
    assert "\x1b" not in story + rest
    assert list(temporary.iterdir()) == []


def test_an_interrupt_ends_it_and_leaves_nothing_behind(temporary: Path) -> None:
    with started(temporary) as process:
        told(process, "registered and listed")
        output, errors = process.communicate(timeout=60)

    assert (errors, process.returncode) == ("", 0)
    assert texts(output)[-1] == "The agent has stopped; its sockets are gone."
    assert list(temporary.iterdir()) == []


def test_a_reader_that_goes_away_ends_it_quietly(temporary: Path) -> None:
    with started(temporary) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(60), process.stderr and process.stderr.read()) == (141, "")

    assert list(temporary.iterdir()) == []


def test_a_terminal_sees_a_table(temporary: Path) -> None:
    terminal, program = pty.openpty()
    with started(temporary, "--seconds", "600", output=program, term="xterm-256color") as process:
        os.close(program)
        shown = _all_of(terminal, process)
        assert process.wait(60) == 0

    picture = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.rpartition("\x1b[?1049l")[2])
    head, *table = [line.rstrip() for line in picture.splitlines()]
    assert head.startswith("intel-agent demo  node everything")
    assert table[1].split() == ["RESOURCE", "CAP", "ALLOC", "DEVICES"]
    # Which of the 18 there is room for depends on how far the story came: what pods hold goes first.
    names = re.findall(r"^[a-z]+(?:\.intel)?\.(?:com|ai)/\S+", picture, re.MULTILINE)
    assert len(names) == 9
    assert names == sorted(names)
    assert "and 9 more resources" in table
    assert shown.count("\x1b[?1049h") == shown.count("\x1b[?1049l") == 1
    assert list(temporary.iterdir()) == []


def _all_of(terminal: int, process: subprocess.Popen[str]) -> str:
    """Return what is written to a terminal until nobody holds it any more; end the demo when the story is told."""
    pieces: list[bytes] = []
    interrupted = False
    while select.select([terminal], [], [], 60)[0]:
        try:
            pieces.append(os.read(terminal, 1 << 16))
        except OSError:
            break
        if not interrupted and b"That was the story" in b"".join(pieces):
            process.send_signal(signal.SIGINT)
            interrupted = True
    os.close(terminal)
    return b"".join(pieces).decode()


@pytest.mark.anyio
@pytest.mark.parametrize(("node", "lines"), STORIES.items(), ids=STORIES)
async def test_every_machine_has_a_story(
    node: str, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "STORY_SECONDS", 1e9)  # no pause is longer than it must be
    monkeypatch.setattr(stage, "DEADLINE", 60.0)
    codes: list[int] = []

    async def shown() -> None:
        codes.append(await demo.run(node, 600.0))

    output = tmp_path / "output"  # capfd empties its own when it is read, while the log goes on writing to it
    with standard_output(output):
        async with anyio.create_task_group() as group:
            group.start_soon(shown)
            while not re.search(r"That was the story|Nothing is there", output.read_text()):
                await anyio.sleep(0.05)
            os.kill(os.getpid(), signal.SIGINT)

    end = r"The agent has stopped; its sockets are gone\."
    assert (codes, missing([*lines, end], texts(output.read_text()))) == ([0], [])


@contextmanager
def standard_output(file: Path) -> Generator[None]:
    """Have everything that this process prints go to the file until the block ends."""
    before = os.dup(1)
    with file.open("ab") as output:
        os.dup2(output.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


def test_no_machine_is_forgotten() -> None:
    assert tuple(STORIES) == tree.names()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("node", "seconds", "problem"),
    [
        pytest.param("nodule", 1.0, f"no machine is called 'nodule'; there are {', '.join(tree.names())}", id="name"),
        pytest.param("empty", 0.0, "found 0 seconds; allowed a number above 0", id="no time"),
        pytest.param("empty", float("nan"), "found nan seconds; allowed a number above 0", id="no number"),
    ],
)
async def test_what_cannot_be_shown_is_said(node: str, seconds: float, problem: str) -> None:
    with pytest.raises(AgentError, match=re.escape(problem)):
        await demo.run(node, seconds)
