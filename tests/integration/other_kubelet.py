"""The plugin-facing part of a kubelet, made with another gRPC library: judges Register from inside its handler."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from intel_agent._proto import v1beta1

from .client import Client
from .served import once, served


class _Context(Protocol):
    def time_remaining(self) -> float: ...


@dataclass(frozen=True)
class Seen:
    """One call of Register, and what the plugin did while it was outstanding."""

    request: v1beta1.RegisterRequest
    seconds: float
    """How long the caller waits for the answer."""
    listening: bool
    """Whether the endpoint took a connection at once."""
    options: v1beta1.DevicePluginOptions


@dataclass
class OtherKubelet:
    """Answers Register only after it has called the plugin."""

    directory: Path
    seen: list[Seen] = field(default_factory=list[Seen])

    def register(self, message: bytes, context: _Context) -> bytes:
        request = v1beta1.RegisterRequest.parse(message)
        seconds = context.time_remaining()
        endpoint = self.directory / request.endpoint
        with socket.socket(socket.AF_UNIX) as probe:
            listening = probe.connect_ex(str(endpoint)) == 0
        with Client(endpoint) as client:
            options = v1beta1.DevicePluginOptions.parse(
                client.answer("/v1beta1.DevicePlugin/GetDevicePluginOptions", b"")
            )
        self.seen.append(Seen(request, seconds, listening, options))
        return b""


@contextmanager
def other_kubelet(directory: Path) -> Generator[OtherKubelet]:
    """Serve kubelet.sock in the directory until the block ends."""
    kubelet = OtherKubelet(directory)
    with served(directory / "kubelet.sock", "v1beta1.Registration", Register=once(kubelet.register)):
        yield kubelet
