"""What kubelet's sockets and those of device plugins answer to somebody who wants nothing but to know."""

import os
import socket
import stat
from dataclasses import dataclass

import anyio
from anyio import to_thread
from grpclib.client import UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from intel_agent._proto import v1beta1
from intel_agent.accepting import peer
from intel_agent.client import calling
from intel_agent.errors import KubeletError, words
from intel_agent.publish.kubelet import served_by_another

DEADLINE = 1.0
"""How long a socket may take to answer, in seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a socket answers to a call of a service: `there` is whether its file is, `problem` why nobody answers.

    `unknown` says that somebody answers who does not know the service, or not the method.
    """

    there: bool
    problem: str | None = None
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """What was found in the device-plugins directory and behind the socket of pod-resources.

    `directory` is what is wrong with the directory as such, or `None`.
    """

    registration: Answer
    pod_resources: Answer
    directory: str | None = None
    old: bool = False
    """Whether pod-resources lacks what kubelet has since 1.27 (`Get`)."""
    served: frozenset[str] = frozenset()
    """Names of the sockets on which a device plugin answers that is not the agent which runs here."""
    agent: bool = False
    """Whether an agent runs on this node."""


async def probe(directory: str, pod_resources: str, control: str) -> Answers:
    """Return what answers in kubelet's device-plugins directory, and on the socket of pod-resources.

    `control` is the socket of the agent that runs here, if one does: what its process serves is no other's.

    No call changes anything: the first asks for a method that no version has.
    """
    problem = await to_thread.run_sync(unusable, directory)
    agent = await to_thread.run_sync(_listener, control)
    sockets = await to_thread.run_sync(_sockets, directory, agent)
    answers: dict[str, Answer] = {}
    served: set[str] = set()

    async def ask(path: str, method: str) -> None:
        answers[method] = await _answer(path, method)

    async def identify(name: str) -> None:
        if await served_by_another(f"{directory}/{name}"):
            served.add(name)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, f"{directory}/kubelet.sock", "/v1beta1.Registration/Probe")
        group.start_soon(ask, pod_resources, "/v1.PodResourcesLister/Probe")
        group.start_soon(ask, pod_resources, "/v1.PodResourcesLister/Get")
        for name in sockets:
            group.start_soon(identify, name)
    listing, get = answers["/v1.PodResourcesLister/Probe"], answers["/v1.PodResourcesLister/Get"]
    return Answers(
        answers["/v1beta1.Registration/Probe"],
        listing,
        problem,
        old=listing.problem is None and not listing.unknown and get.unknown,
        served=frozenset(served),
        agent=agent is not None,
    )


def unusable(path: str, *, made_later: bool = False) -> str | None:
    """Return why files cannot be made in a directory, or `None` if they can; `made_later`: it need not be there yet."""
    try:
        status = os.stat(path)
    except OSError as error:
        return None if made_later and isinstance(error, FileNotFoundError) else words(error)
    if not stat.S_ISDIR(status.st_mode):
        return "is not a directory"
    if not status.st_nlink:
        return "was removed on the host, and this mount of it is dead"
    return None if os.access(path, os.W_OK | os.X_OK) else "cannot be written"


def _sockets(directory: str, agent: int | None) -> list[str]:
    """Return the names of sockets but kubelet's, without those on which the process `agent` listens."""
    try:
        with os.scandir(directory) as entries:
            names = [each.name for each in entries if stat.S_ISSOCK(each.stat(follow_symlinks=False).st_mode)]
    except OSError:
        return []
    others = [each for each in names if each != "kubelet.sock"]
    return [each for each in others if (listener := _listener(f"{directory}/{each}")) is not None and listener != agent]


def _listener(path: str) -> int | None:
    """Return the process that listens on a socket (SO_PEERCRED, man 7 unix), or `None` when nobody does.

    It is 0 for one that this one cannot see (another pid namespace), which is how no two are told apart.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(DEADLINE)
        try:
            caller.connect(path)
            return peer(caller).process
        except OSError:
            return None


async def _answer(path: str, method: str) -> Answer:
    if not await to_thread.run_sync(os.path.exists, path):
        return Answer(there=False, problem="is not there")
    try:
        async with calling(path, KubeletError) as channel:
            call = UnaryUnaryMethod(channel, method, v1beta1.Empty, v1beta1.Empty)
            try:
                await call(v1beta1.Empty(), timeout=DEADLINE)
            except GRPCError as error:
                return Answer(there=True, unknown=_unknown(error, method))
    except KubeletError as error:
        return Answer(there=True, problem=str(error))
    return Answer(there=True)


def _unknown(error: GRPCError, method: str) -> bool:
    """Return whether the service is not known, or the method where it is one that a version has."""
    if error.status is not Status.UNIMPLEMENTED:
        return False
    return not method.endswith("/Probe") or "unknown service" in (error.message or "")
