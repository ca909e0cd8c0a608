"""Laws of what a container gets, and of ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.errors import EditsError
from intel_agent.model import (
    NO_EDITS,
    ContainerEdits,
    Device,
    DeviceNode,
    Fault,
    Health,
    Hook,
    Mount,
    Reason,
    merged,
)

_NAMES = st.sampled_from(["/dev/a", "/dev/b", "/dev/c"])
_NODES = st.builds(DeviceNode, _NAMES, _NAMES, st.sampled_from(["rw", "rwm"]))
_MOUNTS = st.builds(
    Mount, _NAMES, _NAMES, st.booleans(), st.sampled_from([(), ("nosuid",)]), st.sampled_from([None, "efivarfs"])
)
_HOOKS = st.builds(Hook, st.sampled_from(["createRuntime", "poststop"]), _NAMES, st.sampled_from([(), ("a", "-b")]))
_TEXTS = st.dictionaries(st.sampled_from("AB"), st.sampled_from("12"))


def _keyed(
    edits: tuple[tuple[DeviceNode, ...], tuple[Mount, ...], dict[str, str], dict[str, str], list[Hook]],
) -> ContainerEdits:
    """Return edits that do not contradict themselves: the first entry of a name counts."""
    nodes, mounts, env, annotations, hooks = edits
    return ContainerEdits(
        tuple({node.path: node for node in reversed(nodes)}.values()),
        tuple({mount.container_path: mount for mount in reversed(mounts)}.values()),
        env,
        annotations,
        tuple(hooks),
    )


_LISTS = st.tuples(
    st.lists(_NODES, max_size=3).map(tuple[DeviceNode, ...]),
    st.lists(_MOUNTS, max_size=2).map(tuple[Mount, ...]),
    _TEXTS,
    _TEXTS,
    st.lists(_HOOKS, max_size=2, unique=True),
)
EDITS = _LISTS.map(_keyed)


def total(*parts: ContainerEdits) -> ContainerEdits | None:
    """Return the sum from left to right, or `None` for a contradiction."""
    try:
        return merged(parts)
    except EditsError:
        return None


def plus(left: ContainerEdits | None, right: ContainerEdits | None) -> ContainerEdits | None:
    return None if left is None or right is None else total(left, right)


@given(EDITS, EDITS, EDITS)
def test_adding_is_associative(left: ContainerEdits, middle: ContainerEdits, right: ContainerEdits) -> None:
    assert plus(total(left, middle), right) == plus(left, total(middle, right)) == total(left, middle, right)


@given(EDITS)
def test_adding_the_same_again_changes_nothing(edits: ContainerEdits) -> None:
    assert edits + edits == edits == edits + NO_EDITS == NO_EDITS + edits


@given(EDITS, EDITS)
def test_a_sum_holds_everything_of_both_in_order_and_nothing_twice(left: ContainerEdits, right: ContainerEdits) -> None:
    both = total(left, right)
    if both is not None:
        assert both.device_nodes == tuple(dict.fromkeys(left.device_nodes + right.device_nodes))
        assert both.mounts == tuple(dict.fromkeys(left.mounts + right.mounts))
        assert both.env == {**left.env, **right.env}
        assert both.annotations == {**left.annotations, **right.annotations}
        assert both.hooks == tuple(dict.fromkeys(left.hooks + right.hooks))


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        (
            ContainerEdits((DeviceNode("/dev/a", "/dev/a"),)),
            ContainerEdits((DeviceNode("/dev/a", "/dev/b"),)),
            "/dev/a would be both",
        ),
        (
            ContainerEdits((), (Mount("/x", "/y"),)),
            ContainerEdits((), (Mount("/x", "/y", read_only=False),)),
            "/x would",
        ),
        (ContainerEdits(env={"A": "1"}), ContainerEdits(env={"A": "2"}), "variable A would be both '1' and '2'"),
        (ContainerEdits(annotations={"A": "1"}), ContainerEdits(annotations={"A": "2"}), "annotation A would be both"),
    ],
)
def test_a_contradiction_is_refused(left: ContainerEdits, right: ContainerEdits, words: str) -> None:
    """In the Go plugins the later device wins, silently."""
    with pytest.raises(EditsError, match=words):
        _ = left + right


PLAIN, TYPED = Mount("/x", "/x"), Mount("/run/efivars", "efivarfs", read_only=False, type="efivarfs")
OPTIONS, HOOK = Mount("/y", "/y", options=("nosuid",)), Hook("createRuntime", "/opt/hook")


@pytest.mark.parametrize(
    ("edits", "needs_cdi"),
    [
        pytest.param(NO_EDITS, False, id="nothing"),
        pytest.param(
            ContainerEdits((DeviceNode("/dev/a", "/dev/a"),), (PLAIN,), {"A": "1"}, {"B": "2"}), False, id="all plain"
        ),
        pytest.param(ContainerEdits((), (PLAIN, TYPED)), True, id="a file system"),
        pytest.param(ContainerEdits((), (OPTIONS, PLAIN)), True, id="mount options"),
        pytest.param(ContainerEdits((), (PLAIN,), {}, {}, (HOOK,)), True, id="a hook"),
    ],
)
def test_what_kubelet_has_no_words_for_is_had_by_a_cdi_name(edits: ContainerEdits, *, needs_cdi: bool) -> None:
    assert edits.needs_cdi is needs_cdi


def device(shares: int | None, *faults: Fault) -> Device:
    return Device("card0", "gpu.intel.com/xe", "/sys/devices/x", NO_EDITS, "card0", shares, faults=frozenset(faults))


@pytest.mark.parametrize(
    ("shares", "ids", "exclusive"),
    [
        (None, ("card0",), True),
        (1, ("card0-0",), True),
        (3, ("card0-0", "card0-1", "card0-2"), False),
    ],
)
def test_kubelet_hears_of_every_share(shares: int | None, ids: tuple[str, ...], *, exclusive: bool) -> None:
    assert device(shares).ids == ids
    assert device(shares).exclusive is exclusive


def test_health_follows_from_faults() -> None:
    assert device(1).health is Health.HEALTHY
    assert device(1, Fault(Reason.HALTED, "sysfs", "it stopped")).health is Health.UNHEALTHY
