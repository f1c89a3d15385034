"""That a process has run out of file descriptors, said when it begins and when it is over.

Whoever meets it waits and tries again; here it gets its one sentence. Every process has this.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from typing import Any

import structlog

from gnomon.errors import exhaustion

# How often it is looked at, in seconds.
_LOOK_S = 1.0

_LOG = structlog.get_logger(__name__)


def are_spent() -> bool:
    """Whether the process could not open one more."""
    try:
        os.close(os.dup(0))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False


async def watch() -> None:
    """Says it, until it is cancelled."""
    was = False
    while True:
        await asyncio.sleep(_LOOK_S)
        now = are_spent()
        if now and not was:
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            _LOG.error("no file descriptor is left: raise `ulimit -n` for `gnomon up`", limit=soft)
        elif was and not now:
            _LOG.info("file descriptors are free again")
        was = now


def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The loop's handler of what no task can catch, such as a failed accept, which it repeats."""
    error = context.get("exception")
    exhausted = exhaustion(error) if error is not None else None
    if exhausted is None:
        loop.default_exception_handler(context)
    else:
        # Each second anew; `watch` says it once.
        _LOG.debug("something has to wait", of=context.get("message"), reason=str(exhausted))
