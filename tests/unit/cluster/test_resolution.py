"""Which sections are in force while the node's labels are known, unknown, or too long unknown."""

from hypothesis import given
from hypothesis import strategies as st

from intel_agent.backends.gpu import Gpu
from intel_agent.cluster.resolution import PATIENCE, Basis, Known, Resolution, nothing, resolved
from intel_agent.config import Config, Devices, Labels, NodeOverride, Selector


def shares(number: int) -> Devices:
    return Devices(gpu=Gpu(shared_dev_num=number))


FLEX = NodeOverride(
    selector=Selector(match_labels={"type": "flex"}), devices={"gpu": {"sharedDevNum": 5}, "sgx": {"enabled": False}}
)
CONFIG = Config(devices=shares(2), node_overrides=(FLEX,))
REFUSED = Config(
    devices=shares(2),
    node_overrides=tuple(
        NodeOverride(selector=Selector(), devices={"gpu": {key: ("0x0001",)}}) for key in ("allowIDs", "denyIDs")
    ),
)

LABELS = st.none() | st.sampled_from([{}, {"type": "flex"}])
SECTIONS = st.none() | st.integers(1, 9).map(shares)
WAITED = st.floats(0, 3600)


@given(LABELS, SECTIONS, SECTIONS, WAITED)
def test_without_overrides_the_file_says_it_all(
    labels: Labels | None, remembered: Devices | None, offered: Devices | None, waited: float
) -> None:
    known = Known(labels, remembered, offered, waited)
    assert resolved(Config(devices=shares(2)), known) == Resolution(shares(2), Basis.FILE)


@given(SECTIONS, SECTIONS, WAITED)
def test_known_labels_decide_alone(remembered: Devices | None, offered: Devices | None, waited: float) -> None:
    flex = resolved(CONFIG, Known({"type": "flex"}, remembered, offered, waited))
    assert (flex.basis, flex.overrides, flex.devices.gpu.shared_dev_num) == (Basis.LABELS, (0,), 5)
    assert not flex.devices.sgx.enabled
    other = resolved(CONFIG, Known({}, remembered, offered, waited))
    assert other == Resolution(shares(2), Basis.LABELS)


@given(st.integers(1, 9), SECTIONS, WAITED)
def test_unknown_labels_leave_what_was_in_force_last(remembered: int, offered: Devices | None, waited: float) -> None:
    known = Known(None, shares(remembered), offered, waited)
    assert resolved(CONFIG, known) == Resolution(shares(remembered), Basis.REMEMBERED)


@given(WAITED)
def test_with_nothing_remembered_nothing_is_offered_for_a_while_then_the_base(waited: float) -> None:
    resolution = resolved(CONFIG, Known(waited=waited))
    if waited < PATIENCE:
        assert resolution == Resolution(nothing(), Basis.WAITING)
        assert resolution.devices.backends == ()
    else:
        assert resolution == Resolution(shares(2), Basis.BASE)


@given(st.integers(1, 9), st.floats(0, 10 * PATIENCE))
def test_what_is_offered_already_is_not_taken_away_while_waiting(offered: int, waited: float) -> None:
    known = Known(offered=shares(offered), waited=waited)
    assert resolved(CONFIG, known) == Resolution(shares(offered), Basis.WAITING)


def test_overrides_that_cannot_be_used_together_leave_what_was() -> None:
    both = "devices.gpu.denyIDs: cannot be given together with allowIDs: keep one of them"
    problems = (f"{both} (with nodeOverrides[0], nodeOverrides[1] on this node)",)
    for known, stays in (
        (Known({}, shares(3), shares(4)), shares(3)),
        (Known({}, None, shares(4)), shares(4)),
        (Known({}), shares(2)),
    ):
        assert resolved(REFUSED, known) == Resolution(stays, Basis.REFUSED, problems=problems)
