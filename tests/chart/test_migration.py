"""What `intel-agent migrate` prints is what the chart takes, and Helm brings it to the agent as it was."""

from pathlib import Path

import pytest
import yaml

from intel_agent.config.schema import entries
from intel_agent.migrate import Migration, migrated

from .helm import Helm


def resource(kind: str, spec: str) -> str:
    return f"apiVersion: deviceplugin.intel.com/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n"


CHART_VALUES = "enableMonitoring: true\nallowIDs: '0x56c0'\n"
ALIKE = resource("GpuDevicePlugin", "{sharedDevNum: 2, logLevel: 5, nodeSelector: {pool: 'yes', zone: '0x10'}}")
TOLERANT = resource(
    "SgxDevicePlugin", "{tolerations: [{key: 'on', operator: Equal, value: 'off', effect: NoSchedule}]}"
)
DIFFERENT = [
    resource("GpuDevicePlugin", "{allowIDs: '0x56c0,0x56c1', nodeSelector: {'n': 'no', zone: z, number: '010'}}"),
    resource("GpuDevicePlugin", "{denyIDs: '0x56c0', nodeSelector: {'n': 'y', zone: z}}"),
    resource("DsaDevicePlugin", "{sharedDevNum: 10, nodeSelector: {zone: z}}"),
]
NETWORK = """{"resourceList": [{"resourceName": "a", "selectors": [{"devices": ["15e8", "0890"]}, {}],
 "additionalInfo": {"0000:3b:02.0": {"08": "on"}}}]}"""
CASES = [
    pytest.param([CHART_VALUES], id="values of a chart"),
    pytest.param([ALIKE], id="one selector"),
    pytest.param([TOLERANT, ALIKE], id="tolerations"),
    pytest.param(DIFFERENT, id="several selectors"),
    pytest.param([NETWORK], id="pools of network functions"),
]


def of(texts: list[str]) -> Migration:
    return migrated([(f"f{number}", text) for number, text in enumerate(texts)])


@pytest.mark.parametrize("texts", CASES)
def test_helm_hands_the_values_on_as_they_are(texts: list[str], helm: Helm, tmp_path: Path) -> None:
    migration = of(texts)
    file = tmp_path / "values.yaml"
    file.write_text(migration.text)
    rendered = helm.render("--values", file)
    agents = yaml.safe_load(rendered.file)
    for key in ("log", "devices", "nodeOverrides"):
        assert agents.get(key) == migration.values.get(key), key
    spec = rendered.agent["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux", **entries(migration.values.get("nodeSelector"))}
    assert spec.get("tolerations") == migration.values.get("tolerations")
