"""The ping of the container contract: is the server of an instance well?

How often to ask, and what follows from the answers, is control's.
"""

import asyncio
import errno
from collections.abc import Sequence

from gnomon.model.request_head import header_lines

# A status line longer than this is no HTTP server's, in bytes.
_MAX_STATUS_LINE_BYTES = 1024
# Why this process cannot ask, which says nothing of the instance: it has no descriptor, or the
# machine no memory or no port left.
_CANNOT_ASK = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL)


async def ping(
    host: str,
    port: int,
    path: str,
    time_limit_s: float,
    headers: Sequence[tuple[str, str]] = (),
) -> bool:
    """Whether `path` answers 200 within the time limit. Never raises for the network's sake.

    Raises OSError if it cannot be asked, for want of a descriptor or the like.
    """
    try:
        async with asyncio.timeout(time_limit_s):
            head = b"GET %b HTTP/1.1\r\n%bConnection: close\r\n\r\n" % (
                path.encode(),
                header_lines(host, port, headers),
            )
            return await _status(host, port, head) == b"200"
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return False
    except OSError as error:
        # A passed time limit is a TimeoutError, which is one without a number.
        if error.errno in _CANNOT_ASK:
            raise
        return False


async def _status(host: str, port: int, head: bytes) -> bytes:
    """The status of the answer, empty if it is not HTTP."""
    reader, writer = await asyncio.open_connection(host, port, limit=_MAX_STATUS_LINE_BYTES)
    try:
        writer.write(head)
        line = await reader.readuntil(b"\r\n")
    finally:
        # Nothing of the answer is needed any more: no lingering close for a server that is stuck.
        writer.transport.abort()
    parts = line.split(None, 2)
    return parts[1] if len(parts) >= 2 and parts[0].startswith(b"HTTP/1.") else b""
