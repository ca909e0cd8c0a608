"""Devices that no pool selects: said in few lines, as there may be thousands, each with what comes nearest."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from intel_agent.backends.nic.candidates import Candidate
from intel_agent.backends.nic.pools import Pool
from intel_agent.backends.nic.selectors import DeviceType, nearness
from intel_agent.model import Exclusion

_Kind = tuple[str, str, str, str]
"""Physical function or none, driver, ids, and what comes nearest."""


class Unselected:
    """Gathers what no pool selects during one look."""

    def __init__(self, pools: Sequence[Pool], prefix: str) -> None:
        self._pools = pools
        self._prefix = prefix
        self._kinds: dict[_Kind, list[Candidate]] = {}

    def add(self, candidate: Candidate, device_type: DeviceType) -> None:
        """Note a device that no pool of its type selects.

        Raises:
            SysfsError: it cannot be told why.
        """
        ids = f"{candidate.vendor}:{candidate.device}"
        physical = candidate.pf_address if candidate.index is not None else ""
        kind = (physical or candidate.address, candidate.driver, ids, self._nearest(candidate, device_type))
        self._kinds.setdefault(kind, []).append(candidate)

    def _nearest(self, candidate: Candidate, device_type: DeviceType) -> str:
        """Return in words which pool comes nearest, and which key of its selector the device does not fit."""
        misfits = [
            (fitting, f"{pool.name(self._prefix)} comes nearest, whose {key} it does not fit")
            for pool in self._pools
            if pool.device_type == device_type
            for selector in pool.all_selectors
            for fitting, key in [nearness(selector, device_type, candidate)]
        ]
        # Pools of the existing plugin's file may have no selector that can fit.
        return max(misfits, key=lambda each: each[0])[1] if misfits else "no pool of its type has a selector"

    def exclusions(self) -> Iterator[Exclusion]:
        """Yield one exclusion for all devices that are alike: functions of one physical one, with one driver."""
        for (physical, driver, ids, nearest), members in self._kinds.items():
            first = members[0]
            what = f"{ids} on {driver or 'no driver'}"
            if first.index is None:
                where, path = physical, first.path
            else:
                numbers = _numbers(sorted(each.index for each in members if each.index is not None))
                where = f"functions {numbers} of {first.pf_name or physical}"
                path = first.path.rpartition("/")[0] + f"/{physical}" if first.kind == "pci" else first.path
            yield Exclusion(
                path=path,
                rule="not-selected",
                evidence=f"{where} ({what}): no pool selects it; {nearest}",
                remedy="if it should be offered: let a pool in devices.nic.pools select it",
            )


def _numbers(numbers: Sequence[int]) -> str:
    """Return numbers as the configuration has them: 0-3,7."""
    runs = [list(run) for _, run in groupby(enumerate(numbers), lambda each: each[1] - each[0])]
    return ",".join(str(run[0][1]) if len(run) == 1 else f"{run[0][1]}-{run[-1][1]}" for run in runs)
