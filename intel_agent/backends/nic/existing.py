"""The configuration file of the SR-IOV network device plugin, read as that plugin reads it, made into pools.

It is JSON by Go's rules: names match without regard to case, of two the last one counts, `null` is as good as nothing,
and what is not known is ignored. What means nothing there is left out here, and said: such a selector fits no device.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, get_args

import msgspec

from intel_agent.backends.nic.pools import Pool, clashes, pool_problems
from intel_agent.backends.nic.selectors import DeviceType, Selector, never_fits, without_effect

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Object: TypeAlias = "dict[str, Json]"

_FIELDS = ("resourceName", "resourcePrefix", "deviceType", "excludeTopology", "selectors", "additionalInfo")
_KEYS = {each.encode_name: each.name for each in msgspec.structs.fields(Selector)}
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_POOL = re.compile(r"\bpools\[([0-9]+)\]")
_FITS_NOTHING = "fits no device"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file says. With `problems` it cannot be used; `warnings` say what of it does not mean anything."""

    pools: tuple[Pool, ...] = ()
    places: tuple[int, ...] = ()
    """Which entry of the file each pool is."""
    problems: tuple[tuple[str, str], ...] = ()
    """Key path and what is wrong."""
    warnings: tuple[tuple[str, str], ...] = ()


class _UnfitError(Exception):
    """Expected error: this part of the file cannot be used, and why."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(problem)
        self.path = path
        self.problem = problem


def read(content: bytes, prefix: str) -> Reading:
    """Return what a file means; `prefix` is that of resources without one of their own."""
    try:
        return meaning(_parsed(content), prefix)
    except _UnfitError as error:
        return Reading(problems=((error.path, error.problem),))


def _parsed(content: bytes) -> Json:
    try:
        data: Json = json.loads(content.decode("utf-8", "replace"), object_pairs_hook=_last, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        text = f"found no JSON ({error.msg[:1].lower()}{error.msg[1:]})"
        raise _UnfitError(f"line {error.lineno}", text) from error
    except RecursionError as error:
        raise _UnfitError("", "found too many objects inside each other") from error
    return data


def _last(pairs: list[tuple[str, Json]]) -> Object:
    data: Object = {}
    for key, value in pairs:
        data.pop(key, None)
        data[key] = value
    return data


def _refuse(constant: str) -> None:
    raise _UnfitError("", f"found {constant}, which is no JSON")


def meaning(data: Json, prefix: str) -> Reading:
    """Return what the data of a file mean; `prefix` is that of resources without one of their own."""
    reader = _Reader()
    try:
        found = list(reader.pools(data))
    except _UnfitError as error:
        return Reading(problems=((error.path, error.problem),), warnings=tuple(reader.warnings))
    pools = [pool for _, pool in found]
    places = [place for place, _ in found]

    def placed(found: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        for path, text in found:
            place, _, key = path.removeprefix("pools[").partition("].")
            yield (
                f"resourceList[{places[int(place)]}].{key}",
                _POOL.sub(lambda one: f"resourceList[{places[int(one[1])]}]", text),
            )

    warnings = (*reader.warnings, *placed(clashes(pools, prefix)))
    return Reading(tuple(pools), tuple(places), tuple(placed(pool_problems(pools, prefix))), warnings)


@dataclass(frozen=True, slots=True)
class _Reader:
    warnings: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def pools(self, data: Json) -> Iterator[tuple[int, Pool]]:
        """Yield the pools that mean something, and which entry each one is.

        Raises:
            _UnfitError: nothing of the file can be used.
        """
        whole = _object(data, "")
        self._warn_of_unknown(whole, ("resourceList",), "")
        entries = _list(_named(whole, "resourceList"), "resourceList")
        for place, each in enumerate(entries):
            path = f"resourceList[{place}]"
            entry = _object(each, path)
            self._warn_of_unknown(entry, _FIELDS, f"{path}.")
            if (pool := self._pool(entry, path)) is not None:
                yield place, pool
        if not entries:
            self.warnings.append(("resourceList", "found no resource"))

    def _pool(self, entry: Object, path: str) -> Pool | None:
        device_type = _text(entry, "deviceType", path) or "netDevice"
        known = {each: each for each in get_args(DeviceType)}
        if device_type not in known:
            allowed = ", ".join(known)
            raise _UnfitError(f"{path}.deviceType", f'found "{device_type}"; allowed one of {allowed}')
        pool = Pool(
            resource_name=_text(entry, "resourceName", path),
            resource_prefix=_text(entry, "resourcePrefix", path),
            device_type=known[device_type],
            exclude_topology=_switch(entry, "excludeTopology", path),
            selectors=(),
            additional_info={
                key: {name: _string(text, f"{path}.additionalInfo.{key}.{name}") for name, text in values.items()}
                for key, value in _object(_named(entry, "additionalInfo"), f"{path}.additionalInfo").items()
                for values in [_object(value, f"{path}.additionalInfo.{key}")]
            },
        )
        try:
            selectors = list(self._selectors(entry, pool.device_type, f"{path}.selectors"))
        except _UnfitError as error:
            self.warnings.append((error.path, f"{error.problem}; the resource is left out"))
            return None
        if not selectors:
            self.warnings.append((f"{path}.selectors", "no selector fits any device; the resource is left out"))
            return None
        return msgspec.structs.replace(pool, selectors=tuple(selectors))

    def _selectors(self, entry: Object, device_type: DeviceType, path: str) -> Iterator[Selector]:
        match _named(entry, "selectors"):
            case None:
                raise _UnfitError(path, "found none; allowed one or more ({} selects every device of the type)")
            case []:
                raise _UnfitError(path, "found an empty list; allowed one or more")
            case list() as several:
                placed = [(_object(each, f"{path}[{place}]"), f"{path}[{place}]") for place, each in enumerate(several)]
            case one:
                placed = [(_object(one, path), path)]
        # All of them are read before any is judged, as one that cannot be read takes the others with it.
        read = [(self._selector(each, where), where) for each, where in placed]
        for selector, where in read:
            if (kept := self._meaning(selector, device_type, where)) is not None:
                yield kept

    def _selector(self, given: Object, path: str) -> Object:
        """Return the keys of a selector by the names that `Selector` has."""
        self._warn_of_unknown(given, tuple(_KEYS), f"{path}.")
        values: Object = {}
        for key, name in _KEYS.items():
            match getattr(Selector(), name):
                case bool():
                    values[name] = _switch(given, key, path)
                case str():
                    values[name] = _text(given, key, path)
                case _:
                    items = _list(_named(given, key), f"{path}.{key}")
                    values[name] = [_string(each, f"{path}.{key}[{place}]") for place, each in enumerate(items)]
        return values

    def _meaning(self, values: Object, device_type: DeviceType, path: str) -> Selector | None:
        """Return the selector without what means nothing, or `None` when it fits no device."""
        vdpa = values["vdpa_type"]
        if vdpa not in {"", "vhost", "virtio"}:
            self.warnings.append(
                (f"{path}.vdpaType", f'found "{vdpa}", which {_FITS_NOTHING}; allowed vhost or virtio')
            )
            return None
        kept: Object = {}
        for key, name in _KEYS.items():
            value = values[name]
            if isinstance(value, list) and value and name != "aux_types":
                texts = [each for each in value if isinstance(each, str)]
                kept[name] = [*self._fitting(name, texts, f"{path}.{key}")]
                if not kept[name] and key not in _ignored(device_type):
                    return None
            else:
                kept[name] = value
        selector = msgspec.convert({key: kept[name] for key, name in _KEYS.items()}, Selector)
        for key in list(without_effect(selector, device_type)):
            self.warnings.append((f"{path}.{key}", f"has no effect on deviceType {device_type}"))
            selector = msgspec.structs.replace(selector, **{_KEYS[key]: getattr(Selector(), _KEYS[key])})
        return selector

    def _fitting(self, name: str, texts: Sequence[str], path: str) -> Iterator[str]:
        """Yield the items of a list that can fit a device."""
        if name in {"pf_names", "root_devices"}:
            yield from self._functions(texts, path)
            return
        for place, text in enumerate(texts):
            if never_fits(name, text):
                self.warnings.append((f"{path}[{place}]", f'found "{text}", which {_FITS_NOTHING}'))
            else:
                yield text

    def _functions(self, texts: Sequence[str], path: str) -> Iterator[str]:
        """Yield those items that decide about a physical function, and of their numbers those that count."""
        decided: set[str] = set()
        for place, text in enumerate(texts):
            parent, mark, numbers = text.partition("#")
            where = f"{path}[{place}]"
            if parent.casefold() in decided:
                self.warnings.append((where, f'found "{text}"; an item before it decides about {parent}'))
                continue
            decided.add(parent.casefold())
            counted = [*_counted(numbers)] if mark else []
            meant = f"{parent}#{','.join(counted)}" if counted else parent
            if not parent or (mark and not counted):
                self.warnings.append((where, f'found "{text}", which {_FITS_NOTHING}'))
                continue
            if meant != text:
                self.warnings.append((where, f'found "{text}", which means "{meant}"'))
            yield meant

    def _warn_of_unknown(self, given: Object, known: Sequence[str], path: str) -> None:
        folded = {each.casefold() for each in known}
        for key in given:
            if key.casefold() not in folded:
                near = difflib.get_close_matches(key, known, 1)
                meant = f"; did you mean {near[0]}?" if near else ""
                self.warnings.append((f"{path}{key}", f"found an unknown key, which is ignored{meant}"))


def _ignored(device_type: DeviceType) -> frozenset[str]:
    """Return the keys whose lists say nothing about devices of the type."""
    every = msgspec.convert({key: ["x"] for key, name in _KEYS.items() if getattr(Selector(), name) == ()}, Selector)
    return frozenset(without_effect(every, device_type))


def _counted(numbers: str) -> Iterator[str]:
    """Yield numbers and ranges up to the first one that is malformed: there the existing plugin ends."""
    for part in numbers.split(","):
        if (found := _RANGE.fullmatch(part)) is None:
            return
        first, last = int(found[1]), int(found[2] or found[1])
        if first <= last < _MOST:
            yield str(first) if first == last else f"{first}-{last}"


_MOST = 10**9


def _named(given: Mapping[str, Json], name: str) -> Json:
    """Return the value of a key, whatever its case; of several the last one."""
    return next((given[key] for key in reversed([*given]) if key.casefold() == name.casefold()), None)


def _object(value: Json, path: str) -> Object:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _UnfitError(path, f"found {_brief(value)}; allowed an object")
    return value


def _list(value: Json, path: str) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _UnfitError(path, f"found {_brief(value)}; allowed a list")
    return value


def _text(given: Mapping[str, Json], name: str, path: str) -> str:
    return _string(_named(given, name), f"{path}.{name}")


def _string(value: Json, path: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _UnfitError(path, f"found {_brief(value)}; allowed a text")
    return value


def _switch(given: Mapping[str, Json], name: str, path: str) -> bool:
    value = _named(given, name)
    if not isinstance(value, bool | None):
        raise _UnfitError(f"{path}.{name}", f"found {_brief(value)}; allowed true or false")
    return bool(value)


def _brief(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


_LONG = 60
