"""The hand-joined ListAndWatchResponse is the one that the protobuf library makes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent._proto.v1beta1 import Device, ListAndWatchResponse, NumaNode, TopologyInfo
from intel_agent.model import Health
from intel_agent.publish import wire

IDS = st.lists(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=200), max_size=5)
NODES = st.lists(st.integers(min_value=0, max_value=1 << 40), max_size=3).map(tuple)


@given(ids=IDS, health=st.sampled_from(Health), nodes=NODES)
def test_bytes_equal_those_of_the_protobuf_library(ids: list[str], health: Health, nodes: tuple[int, ...]) -> None:
    topology = TopologyInfo(nodes=[NumaNode(id=node) for node in nodes]) if nodes else None
    expected = ListAndWatchResponse(devices=[Device(id=each, health=health.value, topology=topology) for each in ids])

    assert wire.devices(ids, health, nodes) == bytes(expected)


@pytest.mark.parametrize("nodes", [(), (0,), (0, 1)], ids=str)
def test_an_encoded_response_is_read_back_whole(nodes: tuple[int, ...]) -> None:
    message = wire.devices(["card0-0", "card0-1"], Health.HEALTHY, nodes)

    read = ListAndWatchResponse.parse(wire.Encoded(message).SerializeToString())

    assert [(each.id, each.health) for each in read.devices] == [("card0-0", "Healthy"), ("card0-1", "Healthy")]
    assert [[node.id for node in each.topology.nodes] if each.topology else [] for each in read.devices] == [
        list(nodes)
    ] * 2


@pytest.mark.parametrize("length", [1, 63, 100, 114, 115, 127, 128, 300])
def test_ids_of_every_length_are_read_back(length: int) -> None:
    message = wire.devices(["x" * length, "y" * length], Health.UNHEALTHY, (1,))

    assert [each.id for each in ListAndWatchResponse.parse(message).devices] == ["x" * length, "y" * length]
