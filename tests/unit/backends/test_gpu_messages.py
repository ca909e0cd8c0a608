"""What drivers of graphics cards say in messages (Documentation/gpu/drm-uapi.rst, "Device Wedging")."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.backends.gpu import Gpu
from intel_agent.model import Event, Reason, Verdict

CARD = "/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0"


def said(path: str = f"{CARD}/drm/card0", action: str = "change", subsystem: str = "drm", **keys: str) -> list[Verdict]:
    return list(Gpu().diagnose(Event(action, subsystem, path, keys)))


@pytest.mark.parametrize(
    ("methods", "asks_for", "outlasts_driver"),
    [
        pytest.param("rebind", "bind its driver anew", False, id="rebind"),
        pytest.param("bus-reset", "reset the card", False, id="bus-reset"),
        pytest.param("rebind,bus-reset", "bind its driver anew, or unbind its driver, reset", False, id="i915 and xe"),
        pytest.param("vendor-specific", "flash its firmware", False, id="vendor-specific"),
        pytest.param("cold-reset", "cut its power", True, id="cold-reset"),
        pytest.param("none,rebind", "bind its driver anew", False, id="none and something else"),
        pytest.param("unknown", "bind its driver anew", False, id="the driver has no idea"),
        pytest.param("telepathy", "bind its driver anew", False, id="a method of a later kernel"),
        pytest.param("", "bind its driver anew", False, id="nothing"),
        pytest.param("\x1b[31m,rebind", "bind its driver anew", False, id="garbage is not repeated"),
    ],
)
def test_a_card_that_its_driver_gave_up_is_wedged(methods: str, asks_for: str, *, outlasts_driver: bool) -> None:
    (verdict,) = said(WEDGED=methods)
    assert verdict.fault is not None
    assert (verdict.path, verdict.fault.reason) == (f"/sys{CARD}", Reason.WEDGED)
    assert (verdict.passed, verdict.seconds, verdict.outlasts_driver) == (False, None, outlasts_driver)
    assert asks_for in verdict.fault.detail
    assert verdict.fault.detail.isprintable()


def test_none_asks_nothing_of_anybody() -> None:
    """drm-uapi.rst: the driver has recovered the device; only telemetry is wanted."""
    (verdict,) = said(WEDGED="none")
    assert verdict.fault is not None
    assert (verdict.fault.reason, verdict.passed) == (Reason.HUNG, True)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(said(), id="no key of health"),
        pytest.param(said(HOTPLUG="1", CONNECTOR="42"), id="a display"),
        pytest.param(said(action="add", WEDGED="rebind"), id="another action"),
        pytest.param(said(subsystem="pci", WEDGED="rebind"), id="another subsystem"),
        pytest.param(said(path=f"{CARD}/drm/renderD128", WEDGED="rebind"), id="WEDGED is of the primary node only"),
        pytest.param(said(path=f"{CARD}/drm/card0/card0-DP-1", WEDGED="rebind"), id="a connector"),
        pytest.param(said(path="/devices/virtual/drm", WEDGED="rebind"), id="no card"),
        pytest.param(said(SYNTH_ARG_WEDGED="rebind"), id="forged by way of the file uevent"),
    ],
)
def test_other_messages_say_nothing_of_health(message: list[Verdict]) -> None:
    assert message == []


def test_a_reset_that_ends_is_a_warning() -> None:
    """drivers/gpu/drm/i915/gt/intel_reset.c: ERROR=1, RESET=1, then ERROR=0."""
    begun, end = said(ERROR="1"), said(ERROR="0")
    assert said(RESET="1") == []
    assert [each.fault and each.fault.reason for each in begun] == [Reason.RESETTING]
    assert end == [Verdict(f"/sys{CARD}", over=frozenset({Reason.RESETTING}))]


def test_a_reset_that_does_not_end_has_failed() -> None:
    """Before Linux 6.15 i915 says nothing when it gives a card up: ERROR=0 does not come in its 60 s."""
    (begun,) = said(ERROR="1")
    assert begun.seconds == 70
    assert begun.then is not None
    assert begun.then.reason is Reason.WEDGED


def test_a_wedge_ends_the_reset() -> None:
    (verdict,) = said(WEDGED="rebind,bus-reset")
    assert verdict.over == {Reason.RESETTING}


@given(st.text(), st.dictionaries(st.sampled_from(["WEDGED", "ERROR", "RESET", "PID"]), st.text()))
def test_whatever_a_message_says_is_survived(path: str, keys: dict[str, str]) -> None:
    for verdict in said(f"{path}/drm/card0", **keys):
        assert verdict.path.startswith("/sys/devices/")
