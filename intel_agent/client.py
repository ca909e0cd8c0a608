"""One call to somebody's unix socket, with every way in which it can fail turned into ours."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from grpclib.client import Channel
from grpclib.encoding.base import CodecBase
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from intel_agent.errors import AgentError, words


class Raw(ProtoCodec):
    """Answers as bytes: who expects long ones decodes them in a thread."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


@asynccontextmanager
async def calling(path: str, failure: type[AgentError], codec: CodecBase | None = None) -> AsyncGenerator[Channel]:
    """Give a channel to the socket `path` and close it. Calls must have a deadline of their own.

    Raises:
        AgentError: as a `failure`: nobody is there, the answer did not come in time, or it is a refusal, in the peer's
            words.
    """
    channel = Channel(path=path, codec=codec)
    try:
        yield channel
    except AgentError:
        raise
    except GRPCError as error:
        raise failure(error.message or error.status.name) from error
    except TimeoutError as error:
        raise failure("no answer in time") from error
    except OSError as error:
        raise failure(words(error)) from error
    except (ProtocolError, StreamTerminatedError) as error:
        raise failure(str(error)) from error
    except AttributeError as error:
        # grpclib 0.4.9 stumbles over its own closed connection when the peer accepts and closes at once.
        raise failure("the connection was closed at once") from error
    except Exception as error:  # an answer that cannot be read, for one: the border of one call
        raise failure(f"unexpected: {error!r}") from error
    finally:
        channel.close()
