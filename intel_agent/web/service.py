"""The agent's pages: /metrics for Prometheus, /livez and /readyz for kubelet, / for people."""

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import anyio
import structlog
from anyio import to_thread

from intel_agent.backoff import BackOff
from intel_agent.config import Config
from intel_agent.errors import words
from intel_agent.latest import Latest
from intel_agent.liveness import Liveness
from intel_agent.publish.holders import Holders
from intel_agent.publish.holdings import Holdings
from intel_agent.web.page import Page, Pages, plain
from intel_agent.web.snapshot import Snapshot

if TYPE_CHECKING:
    from intel_agent.web.server import Server

log = structlog.get_logger()

HOLDERS_AGE = 10.0
"""Kubelet is asked who holds what at most that often, in seconds."""
POD = "pod"
"""The host name that means: the address that the environment variable POD_IP says."""


class Web:
    """Serves the pages for as long as the configuration gives a host."""

    def __init__(
        self,
        config: Latest[Config],
        environment: Mapping[str, str],
        observe: Callable[[Holdings], Snapshot],
        liveness: Liveness,
        holders: Holders,
    ) -> None:
        """`observe` gives the agent at this moment, with what kubelet told of who holds what."""
        self._config = config
        self._environment = environment
        self._observe = observe
        self._liveness = liveness
        self._exposition: Callable[[Snapshot], bytes] | None = None
        self._rendering = anyio.Lock()
        self._holders = holders
        self._problem = ""
        self.port = 0
        """Where it listens now; 0 while it does not."""

    async def run(self) -> None:
        """Serve, for ever; an address that cannot be used is tried again."""
        back_off = BackOff()
        while True:
            revision, section = self._config.revision, self._config.value.http
            try:
                if section.host:
                    host = address(section.host, self._environment)
                    serve = await to_thread.run_sync(_server)
                    async with serve(self._pages, self._unavailable).listening(host, section.port) as self.port:
                        log.info("http.started", address=host, port=self.port)
                        self._problem = ""
                        while self._config.value.http == section:
                            _, revision = await self._config.newer(revision)
                else:
                    await self._config.newer(revision)
            except OSError as error:
                self._unavailable(error)
                with anyio.move_on_after(back_off.pause()):
                    await self._config.newer(revision)
            finally:
                self.port = 0

    def _unavailable(self, error: OSError) -> None:
        """Say why nobody can be answered, once for each change."""
        section = self._config.value.http
        problem = f"{section.host}, port {section.port}: {words(error)}"
        if problem != self._problem:
            log.error("http.unavailable", problem=problem)
        self._problem = problem

    @property
    def _pages(self) -> Pages:
        pages: dict[str, Callable[[frozenset[str]], Awaitable[Page]]] = {
            "/metrics": self._metrics,
            "/livez": self._livez,
            "/readyz": self._readyz,
        }
        return {**pages, "/": self._glance} if self._config.value.http.status_page else pages

    async def _livez(self, query: frozenset[str]) -> Page:
        if stuck := self._liveness.stuck:
            return plain(503, "\n".join(stuck))
        return plain(200, "the loop answers, and nothing takes longer than it should" if "verbose" in query else "ok")

    async def _readyz(self, query: frozenset[str]) -> Page:
        snapshot = self._observe(self._holders.last)
        if snapshot.missing:
            return plain(503, "\n".join(snapshot.missing))
        ready = [f"{each.name}: registered, and kubelet has the present list" for each in snapshot.resources]
        looked = [f"{kind}: looked at" for kind in snapshot.inventory.found]
        return plain(200, "\n".join([*looked, *ready, "ready"]) if "verbose" in query else "ok")

    async def _metrics(self, query: frozenset[str]) -> Page:
        holdings = await self._holders.holdings(HOLDERS_AGE)
        if self._exposition is None:
            self._exposition = await to_thread.run_sync(_exposition)
        async with self._rendering:
            text = await to_thread.run_sync(self._exposition, self._observe(holdings))
        return Page(text, CONTENT_TYPE)

    async def _glance(self, query: frozenset[str]) -> Page:
        from intel_agent.web import glance

        holdings = await self._holders.holdings(HOLDERS_AGE)
        node = self._environment.get("NODE_NAME") or socket.gethostname()
        html = await to_thread.run_sync(glance.page, self._observe(holdings), node)
        return Page(html, glance.CONTENT_TYPE)


def _server() -> "type[Server]":
    """Return what serves pages; the library behind it is imported when there is something to serve."""
    from intel_agent.web.server import Server

    return Server


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def _exposition() -> Callable[[Snapshot], bytes]:
    """Return what makes the text; the library behind it is imported when somebody asks for the first time."""
    from intel_agent.web.metrics import Exposition

    return Exposition().text


def address(host: str, environment: Mapping[str, str]) -> str:
    """Return what `host` means: `pod` is the pod's own address, or loopback outside a pod."""
    return (environment.get("POD_IP") or "127.0.0.1") if host == POD else host
