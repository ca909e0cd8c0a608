"""`intel-agent explain`: the life of one thing, by every name that it has."""

import json
from dataclasses import replace

import pytest
from anyio import to_thread

from intel_agent import control
from intel_agent.cli import main
from intel_agent.errors import AgentError
from intel_agent.inventory import Found, Inventory
from intel_agent.model import Fault, Reason
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.status import service
from intel_agent.status.form import Explanation, Report

from .log import Log
from .node import I915, I915_CARD, XE, XE_CARD, Node
from .running import Running, running
from .test_status import device, report, served
from .waiting import until, until_async

pytestmark = pytest.mark.anyio
__all__ = ["served"]


@pytest.fixture(autouse=True)
def fresh_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have kubelet asked every time."""
    monkeypatch.setattr(service, "AGE", 0.0)


async def explained(node: Node, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    arguments = ["explain", name, "--runtime-directory", str(node.runtime)]
    assert await to_thread.run_sync(main, arguments) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["card0", "card0-0", f"{XE}/card0-1", "0000:3b:00.0", XE_CARD])
async def test_a_device_is_found_by_all_its_names(
    node: Node, kubelet: SimulatedKubelet, log: Log, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    node.configure(devices={"gpu": {"rules": [{"match": {"pciAddress": "0000:3b:00.0"}, "shares": 2}]}})
    async with running(node) as agent:
        await agent.until_registered()
        await until((node.runtime / control.NAME).exists, "the socket")

        async def told() -> bool:
            return any(each.device == "card0" for each in await log.lines("device.added"))

        await until_async(told, "line about the card, which comes after the list")
        await kubelet.admit("pod", {XE: 1})
        text = await explained(node, name, capsys)

    lines = [" ".join(each.split()) for each in text.splitlines()]
    assert f"card0 of {XE}" in lines
    assert any(each.startswith(f"seen {XE_CARD}, gpu was last looked at 20") for each in lines)
    assert any(each.startswith("judged Healthy since 20") for each in lines)
    assert "decided by devices.gpu.rules[0]" in lines
    assert "offered card0-0 (Healthy), card0-1 (Healthy)" in lines
    assert "allocated card0-0: default/pod/c" in lines
    events = [each.split()[2] for each in lines[lines.index("last events") + 1 :]]
    # Other agents of this process said something, too. A resource may be registered before its devices are told of.
    assert events[-1] == "allocation.granted"
    assert sorted(events[-3:-1]) == ["device.added", "resource.registered"]


async def test_a_fault_is_explained_with_its_remedy(
    node: Node, served: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    await node.change(f"{I915_CARD}/vendor", "nothing\n")
    served.hint(["gpu"])
    await until(lambda: served.health(I915) == {"card1-0": "Unhealthy"}, "the fault")

    async def judged() -> str:
        text = await explained(node, "card1", capsys)
        return text if "judged      Unhealthy since 20" in text else ""

    text = await until_async(judged, "since when, which is known once the log says so")
    assert "unreadable: " in text
    assert "remedy    Look at the kernel log for the device." in text
    assert "decided by  the section devices.gpu: no rule means it" in text


async def test_text_that_is_no_utf_8_is_spelled(
    node: Node, served: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    (card,) = [each for each in served.agent.inventory.value.found["gpu"].devices if each.resource == XE]
    fault = Fault(Reason.HALTED, "sysfs", "the file \udcff is not there")
    attributes = {**card.attributes, "\udcfe": "\udcfd"}
    broken = replace(card, faults=frozenset({fault}), attributes=attributes)
    served.agent.inventory.set(Inventory.of({"gpu": Found((broken,))}))
    await until(lambda: served.health(XE) == {"card0-0": "Unhealthy"}, "the fault")
    told = device(await report(node), "card0")
    assert [each.detail for each in told.faults] == [r"the file \udcff is not there"]
    assert told.attributes[r"\udcfe"] == r"\udcfd"
    assert r"the file \udcff is not there" in await explained(node, "card0", capsys)


async def test_what_is_not_offered_is_explained(
    node: Node, served: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    node.configure(devices={"gpu": {"allowIDs": ["0xffff"]}})

    async def excluded() -> Report | None:
        told = await report(node)
        return told if any(each.path == XE_CARD for each in told.excluded) else None

    served.agent.scanner.hint()
    await served.agent.reload()
    told = await until_async(excluded, "exclusion")
    (why,) = [each for each in told.excluded if each.path == XE_CARD]
    lines = [" ".join(each.split()) for each in (await explained(node, "0000:3b:00.0", capsys)).splitlines()]
    assert "judged not offered" in lines
    assert f"decided by the rule {why.rule} of gpu" in lines
    assert f"evidence {why.evidence}" in lines
    assert f"remedy {why.remedy}" in lines

    async def logged() -> bool:
        return " device.excluded " in " ".join((await explained(node, "0000:3b:00.0", capsys)).split())

    await until_async(logged, "line in the log, which comes after the inventory")


async def test_a_resource_is_explained(node: Node, served: Running, capsys: pytest.CaptureFixture[str]) -> None:
    del served
    arguments = ["explain", XE, "-o", "json", "--runtime-directory", str(node.runtime)]
    assert await to_thread.run_sync(main, arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in told["resources"]] == [XE]
    assert [each["id"] for each in told["devices"]] == ["card0"]
    assert [each["name"] for each in told["kinds"]] == ["gpu"]
    assert "resource.registered" in [each["event"] for each in told["events"]]
    lines = [" ".join(each.split()) for each in (await explained(node, XE, capsys)).splitlines()]
    assert "kubelet has taken it" in lines
    assert "list kubelet has the present one" in lines
    assert "offered 1 ids of 1 devices, 1 of them healthy" in lines
    assert "kubelet takes 1 for healthy" in lines
    assert await to_thread.run_sync(main, [*arguments[:3], "yaml", *arguments[4:]]) == 0
    assert capsys.readouterr().out.startswith(f"name: {XE}\n")


async def test_what_is_gone_is_still_known(node: Node, served: Running, capsys: pytest.CaptureFixture[str]) -> None:
    node.configure(health={"lingerSeconds": 0.1})
    await served.agent.reload()
    await node.unplug(I915_CARD)
    served.hint(["gpu"])

    async def dropped() -> bool:
        return all(each.id != "card1" for each in (await report(node)).devices)

    await until_async(dropped, "the end of the device")

    async def logged() -> bool:
        return "device.removed" in await explained(node, I915_CARD, capsys)

    await until_async(logged, "line in the log, which comes after the inventory")


async def test_what_nobody_knows_is_said(node: Node, served: Running) -> None:
    del served
    with pytest.raises(AgentError, match=r"'card7' is nothing here: .*; offered is .*gpu\.intel\.com/xe"):
        await to_thread.run_sync(control.ask, str(node.runtime), "explain", {"name": "card7"})


def test_kubelet_seeing_otherwise_is_said() -> None:
    from intel_agent.cli import explain
    from intel_agent.status.form import Device, Id

    ids = (Id("card0-0", "Unhealthy", True, None), Id("card0-1", "Unhealthy", False, None))
    device = Device("gpu", XE, "card0", "Unhealthy", (), (), None, 2, (), "/sys/a", {}, None, ids)
    text = "\n".join(explain.lines(Explanation("card0", (), (device,), (), (), ())))
    assert "kubelet sees these otherwise: card0-0\n" in text
    assert "none since the agent began" in text
    assert "its kind is not looked at any more" in text
