"""/readyz and the real kubelet: it is never ready while kubelet does not know what is offered."""

import random
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager

from .agent import Agent
from .machine import OFFER
from .node import Node
from .waiting import eventually

SEED = 20260131
RESTARTS = 6
ON_ITS_WAY = 50
"""Looks, each after 20 ms or more, during which a list, or the end of a stream, may be on its way.

Kubelet acknowledges nothing. No time: on a loaded machine both what looks and what is on its way take longer.
"""
LISTENS = re.compile(r'"event":"http.started".*"port":([0-9]+)')


class Watch:
    """Asks agent and kubelet all the time, in a thread of its own, and notes when they disagree for too long."""

    def __init__(self, node: Node, agent: Agent, port: int) -> None:
        self._node = node
        self._agent = agent
        self._url = f"http://127.0.0.1:{port}/readyz"
        self.violations: list[str] = []
        self.answers: set[bool] = set()
        self._end = threading.Event()

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._url, timeout=60) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False

    def told(self) -> bool:
        """Whether kubelet knows exactly what is offered; one that does not answer knows nothing."""
        try:
            return self._agent.offered() == OFFER
        except Exception:  # noqa: BLE001 - whatever a dying kubelet makes of a call
            return False

    def run(self) -> None:
        looks = 0
        while not self._end.is_set():
            self.answers.add(ready := self.ready())
            looks = looks + 1 if ready and not self.told() else 0
            if looks > ON_ITS_WAY:
                self.violations.append(f"ready in {looks} looks without kubelet knowing the lists")
            time.sleep(0.02)

    def end(self) -> None:
        self._end.set()


@contextmanager
def watching(node: Node, agent: Agent, port: int) -> Generator[Watch]:
    watch = Watch(node, agent, port)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.end()
        thread.join()


def test_it_is_never_ready_while_kubelet_lacks_the_present_list(node: Node, start_agent: Callable[..., Agent]) -> None:
    agent = start_agent(top={"http": {"host": "127.0.0.1", "port": 0}}).until_offered()
    port = int(eventually(lambda: LISTENS.search(agent.text()), "port", within=5)[1])
    chance = random.Random(SEED)
    with watching(node, agent, port) as watch:
        eventually(watch.ready, "readiness", within=5)
        for _ in range(RESTARTS):
            chance.choice([node.kubelet.stop, node.kubelet.kill])()
            time.sleep(chance.uniform(0, 2))
            node.kubelet.start()
            if chance.random() < 0.7:  # else it goes away again before it has everything
                agent.until_offered(within=15)
        agent.until_offered(within=15)
        eventually(watch.ready, "readiness after the last restart", within=15)

    assert watch.violations == []
    assert watch.answers == {True, False}
