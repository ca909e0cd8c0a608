"""A server made with another gRPC library than the agent's, on a unix socket."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .client import GRPC

once: Callable[..., object] = GRPC.unary_unary_rpc_method_handler
"""Makes a method of a function that returns the answer to a message, both as bytes."""
stream: Callable[..., object] = GRPC.unary_stream_rpc_method_handler
"""Makes a method of a function that yields answers to a message, all as bytes."""


@contextmanager
def served(path: Path, service: str, **methods: object) -> Generator[None]:
    """Serve methods of a service at `path` until the block ends; then all calls are cut off."""
    server: Any = GRPC.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((GRPC.method_handlers_generic_handler(service, methods),))
    server.add_insecure_port(f"unix:{path}")
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait(60)
