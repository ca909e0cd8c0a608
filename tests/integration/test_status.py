"""`intel-agent status`, asked of a running agent over its own socket."""

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time

import pytest
from anyio import to_thread

from intel_agent import control
from intel_agent import log as logs
from intel_agent.cli import main
from intel_agent.cli import status as command
from intel_agent.publish import holdings
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.status import service
from intel_agent.status.form import Device, Holder, Report

from .log import Log
from .node import EVERYTHING, I915_CARD, XE, Node
from .running import Running, running
from .waiting import PATIENCE, until, until_async

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def fresh_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have kubelet asked every time."""
    monkeypatch.setattr(service, "AGE", 0.0)


@pytest.fixture
async def served(node: Node, kubelet: SimulatedKubelet, log: Log) -> AsyncIterator[Running]:
    """Give an agent that is ready, and whose socket is there."""
    del kubelet
    async with running(node) as it:
        await it.until_registered()
        await until((node.runtime / control.NAME).exists, "the socket")
        await until(lambda: not it.agent.unready, "readiness")
        await log.until_logged("device.added", times=len(it.agent.inventory.value.devices))
        yield it


async def asked(node: Node, revision: str = "") -> Report | None:
    return await to_thread.run_sync(command.asked, str(node.runtime), revision)


async def report(node: Node) -> Report:
    told = await asked(node)
    assert told is not None
    return told


def device(report: Report, name: str) -> Device:
    (found,) = [each for each in report.devices if each.id == name]
    return found


async def test_it_tells_what_is_held_and_by_whom(node: Node, kubelet: SimulatedKubelet, served: Running) -> None:
    del served
    before = time()
    await kubelet.admit("pod", {XE: 1})
    told = await report(node)

    assert told.ready
    assert told.missing == ()
    assert {each.name for each in told.resources} == EVERYTHING
    assert all(each.registered and each.listed for each in told.resources)
    assert all(each.allocatable == each.healthy == each.ids for each in told.resources)
    assert {each.name: each.held for each in told.resources if each.held} == {XE: 1}
    card = device(told, "card0")
    assert [(each.id, each.health, each.allocatable, each.holder) for each in card.ids] == [
        ("card0-0", "Healthy", True, Holder("default", "pod", "c"))
    ]
    assert (card.kind, card.health, card.faults, card.attributes["driver"]) == ("gpu", "Healthy", (), "xe")
    assert card.since is not None
    assert card.since <= time()
    assert told.kubelet.tells_holders
    assert told.kubelet.since is not None
    assert told.kubelet.since < before
    assert told.configuration.file == str(node.config)
    kinds = {each.name: each for each in told.kinds}
    assert kinds["gpu"].looks >= 1
    assert kinds["gpu"].last_look is not None
    assert told.events.log["resource.registered"] >= len(EVERYTHING)


async def test_a_fault_is_told_with_its_time_and_its_remedy(node: Node, served: Running) -> None:
    sound = device(await report(node), "card1")
    broken = time()
    await node.change(f"{I915_CARD}/vendor", "nothing\n")
    served.hint(["gpu"])

    async def unhealthy() -> Device | None:
        card = device(await report(node), "card1")
        # since when is known once it was said in the log, which nobody waits for, nor does kubelet's list
        told = card.health == "Unhealthy" and {each.health for each in card.ids} == {"Unhealthy"}
        return card if told and card.since != sound.since else None

    card = await until_async(unhealthy, "the fault, and since when")
    assert [each.reason for each in card.faults] == ["unreadable"]
    assert card.faults[0].remedy == "Look at the kernel log for the device."
    assert sound.since is not None
    assert card.since is not None
    assert sound.since < broken <= card.since


async def test_who_knows_the_present_report_is_not_told_it_again(node: Node, served: Running) -> None:
    async def settled() -> Report | None:
        told = await report(node)
        return told if await asked(node, told.revision) is None else None

    told = await until_async(settled, "a report that stays")
    served.hint()  # looks alone are no change
    await until(lambda: served.agent.scanner.looks["gpu"].count > _looks(told, "gpu"), "another look")
    assert await asked(node, told.revision) is None
    await node.unplug(I915_CARD)
    served.hint(["gpu"])

    async def other() -> Report | None:
        return await asked(node, told.revision)

    newer = await until_async(other, "another report")
    assert newer.revision != told.revision


async def test_a_report_that_was_made_before_the_log_knew_is_followed_by_another(node: Node, served: Running) -> None:
    async def settled() -> Report | None:
        told = await report(node)
        return told if await asked(node, told.revision) is None else None

    told = await until_async(settled, "a report that stays")
    keys = {"device": "card0", "resource": XE, "path": "/sys/a", "health": "Healthy"}
    logs.history().note("info", "device.added", keys)
    newer = await asked(node, told.revision)
    assert newer is not None
    assert (device(newer, "card0").since or 0) > (device(told, "card0").since or 0)
    del served


def _looks(report: Report, kind: str) -> int:
    return next(each.looks for each in report.kinds if each.name == kind)


async def test_without_kubelets_word_holders_are_unknown_and_not_nobody(node: Node, served: Running) -> None:
    del served
    node.pod_resources.unlink()
    told = await report(node)
    assert not told.kubelet.tells_holders
    assert {each.held for each in told.resources} == {None}
    assert {each.allocatable for each in told.resources} == {None}


async def test_a_kubelet_that_does_not_answer_is_waited_for_once(
    node: Node, served: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second question is asked while the first one waits for its answer."""
    del served
    monkeypatch.setattr(holdings, "DEADLINE", PATIENCE / 3)  # the one who asks the agent waits longer
    node.pod_resources.unlink()
    with socket.socket(socket.AF_UNIX) as silent, ThreadPoolExecutor(1) as thread:
        silent.settimeout(PATIENCE)
        silent.bind(str(node.pod_resources))
        silent.listen()

        def both_wait() -> bool:
            with silent.accept()[0] as one, silent.accept()[0]:
                one.setblocking(False)
                with suppress(BlockingIOError):
                    while one.recv(1000):
                        pass
                    return False
                return True

        asked = thread.submit(both_wait)
        told = await report(node)
        assert asked.result()
    assert not told.kubelet.tells_holders
    assert {each.allocatable for each in told.resources} == {None}


async def test_what_kubelet_still_hears_of_is_told(node: Node, served: Running) -> None:
    await node.unplug(I915_CARD)
    served.hint(["gpu"])

    async def gone() -> Device | None:
        found = [each for each in (await report(node)).devices if each.id == "card1"]
        return next((each for each in found if each.faults), None)

    card = await until_async(gone, "the device that left")
    assert [each.reason for each in card.faults] == ["gone"]


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
async def test_every_form_is_printed(
    node: Node, served: Running, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    del served
    arguments = ["status", "-o", output, "--runtime-directory", str(node.runtime)]
    assert await to_thread.run_sync(main, arguments) == 0
    out = capsys.readouterr().out
    assert XE in out
    if output == "json":
        assert json.loads(out)["ready"] is True


def test_without_an_agent_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--runtime-directory", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "does it run, and are you root?" in err


@contextmanager
def watching(node: Node) -> Generator[Path]:
    """Run `intel-agent status --watch` and give the file with what it prints, a line for each report."""
    output = node.base / "watch"
    arguments = [sys.executable, "-m", "intel_agent", "status", "--watch", "-o", "json"]
    with output.open("wb") as file:
        process = subprocess.Popen([*arguments, "--runtime-directory", str(node.runtime)], stdout=file, stderr=file)
        try:
            yield output
            assert process.poll() is None
        finally:
            process.kill()
            process.wait()


async def test_a_watch_prints_again_what_changed_also_of_the_next_agent(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    del kubelet, log

    def health() -> list[str]:
        """Return the health of card1 in each report."""
        whole = output.read_text().rpartition("\n")[0].splitlines()
        reports = [json.loads(line) for line in whole if line.startswith("{")]
        return [each["health"] for told in reports for each in told["devices"] if each["id"] == "card1"]

    async with running(node) as first:
        await first.until_registered()
        await until((node.runtime / control.NAME).exists, "the socket")
        with watching(node) as output:
            await until(lambda: health()[-1:] == ["Healthy"], "the first report")
            vendor = await to_thread.run_sync((node.root / f"{I915_CARD[1:]}/vendor").read_text)
            await node.change(f"{I915_CARD}/vendor", "nothing\n")
            first.hint(["gpu"])
            await until(lambda: health()[-1:] == ["Unhealthy"], "the fault")
            first.stop()
            await until(lambda: "does it run" in output.read_text(), "word of the end")
            await node.change(f"{I915_CARD}/vendor", vendor)
            async with running(node) as second:
                await second.until_registered()
                await until(lambda: health()[-1:] == ["Healthy"], "the report of the next agent")
