"""Where the pages are served."""

import pytest

from intel_agent.config import parse
from intel_agent.errors import ConfigError
from intel_agent.web.service import address


@pytest.mark.parametrize(
    ("host", "environment", "where"),
    [
        ("127.0.0.1", {}, "127.0.0.1"),
        ("pod", {"POD_IP": "10.0.0.7"}, "10.0.0.7"),
        ("pod", {"POD_IP": "fd00::7"}, "fd00::7"),
        ("pod", {}, "127.0.0.1"),
        ("pod", {"POD_IP": ""}, "127.0.0.1"),
    ],
)
def test_the_pods_own_address_comes_from_its_environment(host: str, environment: dict[str, str], where: str) -> None:
    assert address(host, environment) == where


@pytest.mark.parametrize(
    "http", ["{host: a b}", "{host: '127.0.0.1/8'}", "{port: 65536}", "{port: -1}", "{port: http}"]
)
def test_what_is_no_address_is_refused_with_its_place(http: str) -> None:
    with pytest.raises(ConfigError, match=r"file:1: http\.(host|port): found"):
        parse(f"http: {http}", "file")
