"""The links of a simulated node, which has no netlink, as files below /netlink of its root.

    /netlink/interfaces/ens1f0 = {"index": 2, "type": "ether", "up": true, "operstate": "up", ...}
    /netlink/uplinks = [2]
    /netlink/eswitch_modes = {"pci/0000:3b:00.0": "switchdev"}

Keys and names are those of `intel_agent.links`. What is not there is as if nothing of it had been said.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import TypeVar

import msgspec

from intel_agent.errors import SysfsError, words
from intel_agent.links import Interface, Links

T = TypeVar("T")

DIRECTORY = "/netlink"
_INTERFACES = f"{DIRECTORY}/interfaces"
_KEYS = frozenset(each.name for each in fields(Interface)) - {"name"}
_PARTS = frozenset(each.name for each in fields(Links)) - {"interfaces"}


def files(links: Links) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file. What is empty or unknown is left out."""
    for each in links.interfaces:
        said = {key: getattr(each, key) for key in sorted(_KEYS)}
        yield f"{_INTERFACES}/{each.name}", _text({key: value for key, value in said.items() if value not in _UNSAID})
    for name in sorted(_PARTS):
        if value := getattr(links, name):
            yield f"{DIRECTORY}/{name}", _text(value if name == "uplinks" else dict(value))


_UNSAID: tuple[object, ...] = (None, (), frozenset[int]())


def _text(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def read(root: str) -> Links:
    """Return the links of the simulated node at `root`, its interfaces in the order of their indices.

    Raises:
        SysfsError: a file does not hold what it should.
    """
    interfaces = [_interface(root, name) for name in _names(root, _INTERFACES)]
    links = Links(interfaces=tuple(sorted(interfaces, key=lambda each: each.index)))
    for name in _names(root, DIRECTORY):
        if (path := f"{DIRECTORY}/{name}") != _INTERFACES:
            _refuse_others(path, {name}, _PARTS)
            part = _converted(path, {name: _data(root, path)}, Links)
            links = replace(links, **{name: getattr(part, name)})
    return links


def device(content: bytes) -> str | None:
    """Return the device that an interface's file names, if it names one."""
    try:
        return msgspec.json.decode(content, type=_Device).device
    except msgspec.DecodeError:
        return None


class _Device(msgspec.Struct):
    device: str | None = None


def _interface(root: str, name: str) -> Interface:
    path = f"{_INTERFACES}/{name}"
    said = _converted(path, _data(root, path), dict[str, object])
    _refuse_others(path, said, _KEYS)
    return _converted(path, {**said, "name": name}, Interface)


def _refuse_others(path: str, found: Iterable[str], allowed: frozenset[str]) -> None:
    if others := sorted(set(found) - allowed):
        raise SysfsError(path, f"found {others[0]!r}; allowed are {', '.join(sorted(allowed))}")


def _names(root: str, directory: str) -> list[str]:
    try:
        return sorted(os.listdir(root + directory))
    except FileNotFoundError:
        return []


def _data(root: str, path: str) -> object:
    try:
        with open(root + path, "rb") as file:
            return msgspec.json.decode(file.read())
    except OSError as error:
        raise SysfsError(path, words(error)) from error
    except msgspec.DecodeError as error:
        raise SysfsError(path, str(error)) from error


def _converted(path: str, said: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        raise SysfsError(path, str(error)) from error
