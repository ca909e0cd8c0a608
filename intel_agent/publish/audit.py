"""Compares kubelet's opinion with ours: kubelet can lose a resource without ending our stream.

That happens when another plugin registers the same resource and goes away: kubelet marks its devices unhealthy and
keeps our connection, unused. Only the pod-resources API shows it.
"""

from collections.abc import Callable, Mapping

import anyio
import structlog

from intel_agent.errors import KubeletError
from intel_agent.publish import holdings
from intel_agent.publish.deviceplugin import DevicePlugin
from intel_agent.publish.registration import Registration

log = structlog.get_logger()

TICK = 60.0
"""Seconds between comparisons that nothing asked for."""
SETTLE = 1.0
"""How long a difference must last, in seconds: a list may be on its way."""

Members = Mapping[str, tuple[DevicePlugin, Registration]]


class Audit:
    """Has a resource registered again that kubelet sees otherwise than it was told."""

    def __init__(self, socket: Callable[[], str], members: Callable[[], Members]) -> None:
        self._socket = socket
        self._members = members
        self._hinted = anyio.Event()

    def hint(self) -> None:
        """Compare soon: sockets came or went in kubelet's directory."""
        self._hinted.set()

    async def run(self) -> None:
        while True:
            with anyio.move_on_after(TICK):
                await self._hinted.wait()
            self._hinted = anyio.Event()
            suspects = await self._differing()
            if not suspects:
                continue
            await anyio.sleep(SETTLE)
            still = await self._differing()
            for resource in {name for name, revision in suspects.items() if still.get(name) == revision}:
                log.warning("resource.disowned", resource=resource)
                self._members()[resource][1].renew()

    async def _differing(self) -> dict[str, int]:
        """Return the resources that kubelet sees otherwise than it was told, each with the revision of that listing."""
        told = {
            name: (plugin.revision, plugin.healthy)
            for name, (plugin, registration) in self._members().items()
            if (listener := registration.listener) is not None and listener.sent == plugin.revision
        }
        if not told:
            return {}
        try:
            allocatable = await holdings.allocatable(self._socket())
        except KubeletError:
            return {}  # older kubelets and unmounted sockets: there is nothing to compare with
        return {name: sent for name, (sent, healthy) in told.items() if allocatable.get(name, frozenset()) != healthy}
