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
from collections.abc import Iterator
from pathlib import Path

import pytest

from intel_agent import demo
from intel_agent.errors import AgentError
from intel_agent.simulation import tree

PASSED = r"[0-9.]+ m?s"
"""A measured time."""
LINE = re.compile(r" *[0-9]+\.[0-9]{3} s  (.*)")

GPU_STORY = [
    r"The node, its devices and its kubelet are simulated.*",
    r"A simulated device makes no message of the kernel: the demo hints the agent where a real one would\.",
    r"The agent starts\.",
    rf"9 resources with 233 ids registered and listed at kubelet after {PASSED}\.",
    r"gpu\.intel\.com/xe: capacity 2, allocatable 2: card0-0 Healthy and card0-1 Healthy",
    r"sgx\.intel\.com/enclave: capacity 110, allocatable 110",
    r"Pod trainer asks for one gpu\.intel\.com/xe\.",
    rf"Admitted after {PASSED}: it gets card0-0, with /dev/dri/card0 and /dev/dri/renderD128 and 2 links to them\.",
    r"Pod mover asks for one dsa\.intel\.com/wq-user-shared\.",
    rf"Admitted after {PASSED}: it gets wq-user-shared-wq0\.0-0, with /dev/dsa/wq0\.0 and /dev/char/238:0\.",
    r"Pod packer asks for one iaa\.intel\.com/wq-user-shared\.",
    r"Pod vault asks for one sgx\.intel\.com/enclave\.",
    rf"Admitted after {PASSED}: it gets sgx-enclave-0, with /dev/sgx_enclave\.",
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
    rf"9 resources registered and listed again, {PASSED} after .* Pods keep their devices: trainer, mover, .*",
    r"The configuration file changes: sharedDevNum of gpu, dsa and iaa from 2 to 3\.",
    rf"Read again and listed at kubelet after {PASSED}; no pod noticed\.",
    r"The pods end\.",
    r"Their devices are free again\.",
    r"That was the story; this is what the node looks like after it\.",
    rf"The agent has stopped after {PASSED}; its sockets are gone\.",
]

STORIES = {
    "bench": [r"8 resources with 285 ids.*", r"GPU card1 is pulled, which nobody uses\."],
    "empty": [r"Nothing is there: .*"],
    "everything": [r"9 resources with 233 ids.*", r"GPU card1 is pulled.*"],
    "gpu-server": [r"Left out: .* 2 virtual functions are enabled\.", r"Admitted .*: it gets card2-0.*"],
    "laptop": [r"GPU card0 is pulled.*", r"Refused.*", r"Healthy at kubelet.*"],
    "xeon": [r"Work queue wq-user-shared-wq0\.0 is pulled, though mover uses it\."],
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


def started(temporary: Path, *arguments: str, output: int = subprocess.PIPE, term: str = "") -> subprocess.Popen[str]:
    """Start the demo, as a user without any right where that can be done."""
    return subprocess.Popen(
        [*unprivileged(), sys.executable, "-m", "intel_agent", "demo", *arguments],
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


def test_nobody_sees_the_whole_story_as_plain_lines(temporary: Path) -> None:
    with started(temporary, "--seconds", "10") as process:
        output, errors = process.communicate(timeout=18)

    lines = texts(output)
    assert [line for line in lines if line.startswith("A rule of kubelet was broken")] == []
    assert (errors, process.returncode) == ("", 0)
    assert missing(GPU_STORY, lines) == []
    assert "\x1b" not in output
    assert list(temporary.iterdir()) == []


def test_an_interrupt_ends_it_and_leaves_nothing_behind(temporary: Path) -> None:
    with started(temporary) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "registered and listed" in line:
                break
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10)

    assert (errors, process.returncode) == ("", 0)
    assert texts(output)[-1] == "The agent has stopped; its sockets are gone."
    assert list(temporary.iterdir()) == []


def test_a_reader_that_goes_away_ends_it_quietly(temporary: Path) -> None:
    with started(temporary) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(10), process.stderr and process.stderr.read()) == (141, "")

    assert list(temporary.iterdir()) == []


def test_a_terminal_sees_a_table(temporary: Path) -> None:
    terminal, program = pty.openpty()
    with started(temporary, "--seconds", "3", output=program, term="xterm-256color") as process:
        os.close(program)
        shown = _all_of(terminal)
        assert process.wait(10) == 0

    picture = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.rpartition("\x1b[?1049l")[2])
    head, *table = [line.rstrip() for line in picture.splitlines()]
    assert head.startswith("intel-agent demo  node everything")
    assert table[1].split() == ["RESOURCE", "CAP", "ALLOC", "DEVICES"]
    assert [line.split()[0] for line in table[2:11]] == [
        "dsa.intel.com/wq-user-dedicated",
        "dsa.intel.com/wq-user-shared",
        "gpu.intel.com/i915",
        "gpu.intel.com/monitoring",
        "gpu.intel.com/xe",
        "iaa.intel.com/wq-user-dedicated",
        "iaa.intel.com/wq-user-shared",
        "sgx.intel.com/enclave",
        "sgx.intel.com/provision",
    ]
    assert shown.count("\x1b[?1049h") == shown.count("\x1b[?1049l") == 1
    assert list(temporary.iterdir()) == []


def _all_of(terminal: int) -> str:
    """Return what is written to a terminal until nobody holds it any more."""
    pieces: list[bytes] = []
    while select.select([terminal], [], [], 10)[0]:
        try:
            pieces.append(os.read(terminal, 1 << 16))
        except OSError:
            break
    os.close(terminal)
    return b"".join(pieces).decode()


@pytest.mark.anyio
@pytest.mark.parametrize(("node", "lines"), STORIES.items(), ids=STORIES)
async def test_every_machine_has_a_story(node: str, lines: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    code = await demo.run(node, 3.0)

    shown = texts(capfd.readouterr().out)
    end = rf"The agent has stopped after {PASSED}; its sockets are gone\."
    assert (code, missing([*lines, end], shown)) == (0, [])


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
