"""What `intel-agent status` prints of a report."""

import msgspec
import pytest

from intel_agent import control
from intel_agent.cli import status
from intel_agent.errors import AgentError
from intel_agent.status.form import (
    Configuration,
    Device,
    Events,
    Exclusion,
    Fault,
    Holder,
    Id,
    Kind,
    Kubelet,
    Report,
    Resource,
)

XE = "gpu.intel.com/xe"
HOT = Fault("hot", "hwmon", "it has 100 degrees", "Look after the cooling.")
REPORT = Report(
    revision="1",
    version="1.2.3",
    node="node-1",
    ready=False,
    missing=("gpu: not looked at yet",),
    kubelet=Kubelet(1767225600.0, tells_holders=True),
    configuration=Configuration("/etc/agent.yaml", 3, ("agent.yaml:1: no",)),
    resources=(Resource(XE, "gpu", True, False, 1, 2, 2, None, 1),),
    devices=(
        Device(
            kind="gpu",
            resource=XE,
            id="card0",
            health="Healthy",
            faults=(),
            warnings=(HOT,),
            since=1767225600.5,
            shares=2,
            numa_nodes=(0, 1),
            sysfs_path="/sys/a",
            attributes={},
            decided_by=None,
            ids=(
                Id("card0-0", "Healthy", True, Holder("default", "train", "main")),
                Id("card0-1", "Healthy", True, None),
            ),
        ),
    ),
    excluded=(Exclusion("gpu", "/sys/b", "driver", "none is bound", "bind one"),),
    kinds=(Kind("gpu", 1, 1, 7, 0, 0.01, None, None),),
    events=Events({"drm": 3}, {"device.added": 1}, 0),
)
TABLE = f"""\
node-1, intel-agent 1.2.3: not ready
  missing: gpu: not looked at yet
kubelet: since 2026-01-01T00:00:00Z, tells who holds what
configuration: /etc/agent.yaml, generation 3
  refused: agent.yaml:1: no

RESOURCE          REGISTERED  LISTED  DEVICES  IDS  HEALTHY  ALLOCATABLE  HELD
{XE}  yes         no      1        2    2        -            1

DEVICE  RESOURCE          SHARES  NUMA  SINCE                 HEALTH                            HELD BY
card0   {XE}  2       0,1   2026-01-01T00:00:00Z  Healthy, hot: it has 100 degrees  default/train/main (card0-0)

NOT OFFERED  RULE    EVIDENCE       REMEDY
/sys/b       driver  none is bound  bind one

KIND  DEVICES  NOT OFFERED  LOOKS  FAILED  LAST LOOK  PROBLEM
gpu   1        1            7      0       -          -

EVENT         COUNT
kernel: drm   3
device.added  1
"""


def test_the_table_says_everything(capsys: pytest.CaptureFixture[str]) -> None:
    status.show(REPORT, "table", again=False)
    assert capsys.readouterr().out == TABLE


def test_one_of_several_is_set_apart(capsys: pytest.CaptureFixture[str]) -> None:
    status.show(REPORT, "table", again=True)
    assert capsys.readouterr().out == f"\n{TABLE}"
    status.show(REPORT, "json", again=True)
    assert capsys.readouterr().out.count("\n") == 1
    status.show(REPORT, "yaml", again=True)
    assert capsys.readouterr().out.startswith("---\nrevision: '1'\n")
    status.show(None, "table", again=True)
    assert capsys.readouterr().out == ""


def test_an_agent_of_another_version_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command and the agent are of one image, but for the moment of an upgrade."""

    def ask(*_: object) -> control.Answer:
        return control.Answer(report=msgspec.Raw(b"{}"))

    monkeypatch.setattr(control, "ask", ask)
    with pytest.raises(AgentError, match="of another version"):
        status.asked("/nowhere", "")
