"""The life of one resource at kubelet: serve, register, stay, and again."""

from collections.abc import Awaitable, Callable

import anyio
import structlog

from intel_agent.backoff import BackOff
from intel_agent.errors import DirectoryGoneError, KubeletError, words
from intel_agent.publish.deviceplugin import DevicePlugin, Listener
from intel_agent.publish.kubelet import Incarnation, Kubelet, served_by_another
from intel_agent.publish.lock import NodeLock
from intel_agent.publish.server import SocketServer

log = structlog.get_logger()

LIST_DEADLINE = 10.0
"""How long kubelet may take from its answer to Register until it asks for the list, in seconds."""
STEADY = 10.0
"""A stream that lived this long, in seconds, ended for a reason of its own: the next try comes at once."""
STOP_DEADLINE = 0.8
"""How long ending streams and calls may take, in seconds."""


class Registration:
    """Keeps one resource registered with whichever kubelet is there."""

    def __init__(
        self,
        plugin: DevicePlugin,
        kubelet: Kubelet,
        lock: NodeLock,
        succeed: Callable[[str], Awaitable[None]],
        endpoint: str,
    ) -> None:
        """Register `plugin`, served on the socket file `endpoint` in kubelet's directory.

        `succeed` is awaited before it is served after another device plugin: what that handed out counts.
        """
        self._plugin = plugin
        self._kubelet = kubelet
        self._lock = lock
        self._succeed = succeed
        self._endpoint = endpoint
        self._back_off = BackOff()
        self._problem: str | None = None
        self._renewed = anyio.Event()
        self._asks = False
        """Whether kubelet was told that it may ask what to prefer."""
        self.registered: Incarnation | None = None
        """The kubelet that took us and still listens."""
        self.listener: Listener | None = None
        """Its stream: the one that began when it had taken us."""

    def renew(self) -> None:
        """Register anew although the stream is open: kubelet does not heed it any more, or should know more."""
        self._renewed.set()

    def renew_if_outdated(self) -> None:
        """Register anew if kubelet, which hears of options only then, does not ask what to prefer and should now."""
        if self._plugin.options.get_preferred_allocation_available and not self._asks:
            self.renew()

    async def run(self) -> None:
        """Serve and register, for ever; whatever fails is tried again."""
        while True:
            try:
                await self._live()
            except DirectoryGoneError:
                await anyio.sleep_forever()  # it ends the agent: whoever watches kubelet says so, once for all
            except Exception as error:
                log.exception("registration.failed", resource=self._plugin.resource, problem=repr(error))
                await anyio.sleep(self._back_off.pause())

    async def _live(self) -> None:
        """Serve and register with one kubelet, until it lets go of us or another one is there."""
        with self._kubelet.missing():
            server = await self._serving()
        try:
            with self._kubelet.missing():
                taken = await self._registered(server)
            if taken is None:
                return
            incarnation, listener = taken
            await self._stay(incarnation, listener)
        finally:
            self.registered = self.listener = None
            await self._end(server)
        await self._pause(incarnation)

    async def _serving(self) -> SocketServer:
        """Return a server on our socket, as soon as there is a kubelet, the lock is ours and nobody else serves it."""
        after_another = False
        while True:
            await self._kubelet.present()
            server = SocketServer(self._plugin, f"{self._kubelet.directory}/{self._endpoint}")
            try:
                await self._lock.hold()
                if not await served_by_another(server.path):
                    if after_another:
                        await self._succeed(self._plugin.resource)
                    await server.listen()
                    return server
                after_another = True
                self._refused(f"{server.path} is served by another device plugin: stop it first")
            except OSError as error:
                self._refused(f"{server.path}: {words(error)}")
            await anyio.sleep(self._back_off.pause())

    async def _registered(self, server: SocketServer) -> tuple[Incarnation, Listener] | None:
        """Register until kubelet takes us and asks for the list; `None` when its clean-up swept our socket away."""
        while True:
            incarnation = await self._kubelet.present()
            if not await server.is_ours():
                return None
            if (listener := await self._tried(server, incarnation)) is not None:
                self._problem = None
                self.listener = listener
                # A kubelet may have come and taken us before it was seen here.
                self.registered = await self._kubelet.seen() or incarnation
                log.info("resource.registered", resource=self._plugin.resource)
                return self.registered, listener
            with anyio.move_on_after(self._back_off.pause()):
                await self._kubelet.other_than(incarnation)

    async def _tried(self, server: SocketServer, incarnation: Incarnation) -> Listener | None:
        """Try once to register. The try ends when a new kubelet has swept our socket away: it would wait in vain."""
        taken: Listener | None = None
        async with anyio.create_task_group() as group:

            async def register() -> None:
                nonlocal taken
                taken = await self._taken()
                group.cancel_scope.cancel()

            group.start_soon(register)
            await self._kubelet.other_than(incarnation)
            if not await server.is_ours():
                group.cancel_scope.cancel()
        return taken

    async def _taken(self) -> Listener | None:
        """Register and wait until kubelet asks for the list; return its stream, if it did."""
        before = self._plugin.newest.revision
        try:
            options = self._plugin.options
            self._asks = options.get_preferred_allocation_available
            await self._kubelet.register(self._endpoint, self._plugin.resource, options)
            with anyio.fail_after(LIST_DEADLINE):
                listener, _ = await self._plugin.newest.newer(before)
                return listener
        except KubeletError as error:
            self._refused(str(error))
        except TimeoutError:
            self._refused(f"kubelet did not ask for the list within {LIST_DEADLINE:.0f} s")
        return None

    async def _stay(self, incarnation: Incarnation, listener: Listener) -> None:
        """Wait until kubelet's stream ends, another kubelet is there, or we must register anew."""
        since = anyio.current_time()
        self._renewed = anyio.Event()
        self.renew_if_outdated()
        async with anyio.create_task_group() as group:

            async def stream_ended() -> None:
                await listener.ended.wait()
                group.cancel_scope.cancel()

            async def renewed() -> None:
                await self._renewed.wait()
                group.cancel_scope.cancel()

            group.start_soon(stream_ended)
            group.start_soon(renewed)
            await self._kubelet.other_than(incarnation)
            group.cancel_scope.cancel()
        log.info("resource.lost", resource=self._plugin.resource)
        if anyio.current_time() - since >= STEADY:
            self._back_off.reset()

    async def _pause(self, lost: Incarnation) -> None:
        """After a lost stream: wait for another kubelet, or a moment, as the same one may want us back."""
        with self._kubelet.missing(), anyio.move_on_after(self._back_off.pause()):
            await self._kubelet.other_than(lost)
        if self._kubelet.incarnation.value not in {None, lost}:
            self._back_off.reset()

    def _refused(self, problem: str) -> None:
        """Log what keeps us from being registered, once for each change."""
        if problem != self._problem:
            self._problem = problem
            log.warning("resource.refused", resource=self._plugin.resource, problem=problem)

    async def _end(self, server: SocketServer) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_DEADLINE):
            self._plugin.end_streams()
            await server.drain()
