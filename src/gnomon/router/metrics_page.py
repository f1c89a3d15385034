"""One router's own `/metrics`, on a port of its own: routers share the port that clients use.

Imported only where `server.metrics_port` is set, since it needs prometheus-client. A scrape is
written in a thread: with hundreds of variants it takes longer than a request may wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import structlog

from gnomon.router.totals import Totals
from gnomon.stats.exposition import CONTENT_TYPE, VariantTotals, exposition
from gnomon.stats.histogram import Histogram

# Bytes of a request's head, and seconds from its connection to the end of its answer.
_MAX_HEAD_BYTES = 8192
_TIME_LIMIT_S = 10.0
# How long a router waits before it tries for its port again, in seconds: one of a former life may
# have it yet.
_RETRY_S = 1.0

_LOG = structlog.get_logger(__name__)


class MetricsPage:
    """Serves `totals` until it is closed; owned by the router's process."""

    def __init__(
        self, totals: Totals, cover: Callable[[asyncio.Protocol], asyncio.Protocol] | None
    ) -> None:
        self._totals = totals
        self._cover = cover
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")

    async def serve(self, host: str, port: int) -> None:
        """Listen until cancelled. A port that cannot be had is tried for again and again: requests
        are served without.
        """
        loop = asyncio.get_running_loop()
        said = ""
        try:
            while True:
                try:
                    server = await loop.create_server(self._connect, host, port)
                except (OSError, OverflowError) as error:
                    reason = str(error)
                    if reason != said:
                        said = reason
                        _LOG.warning("/metrics is not served now", port=port, reason=reason)
                    await asyncio.sleep(_RETRY_S)
                    continue
                async with server:
                    await server.serve_forever()
        finally:
            self._pool.shutdown(wait=False)

    def _connect(self) -> asyncio.Protocol:
        scrape = _Scrape(self._text)
        return scrape if self._cover is None else self._cover(scrape)

    async def _text(self) -> bytes:
        # Copied on the loop, which goes on counting.
        variants = [
            VariantTotals(
                *names,
                dict(total.counts),
                {name: Histogram(counts) for name, counts in total.histograms.items()},
            )
            for names, total in self._totals.by_name.items()
        ]
        return await asyncio.get_running_loop().run_in_executor(self._pool, exposition, variants)


class _Scrape(asyncio.Protocol):
    """One request and its answer, and the connection closes."""

    def __init__(self, text: Callable[[], Awaitable[bytes]]) -> None:
        self._text = text
        self._head = b""
        self._transport: asyncio.Transport | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._limit = asyncio.get_running_loop().call_later(_TIME_LIMIT_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._answering is not None or self._transport is None:
            return
        self._head += data
        if len(self._head) > _MAX_HEAD_BYTES:
            self._transport.abort()
        elif b"\r\n\r\n" in self._head:
            self._answering = asyncio.ensure_future(self._answer(self._transport))

    def connection_lost(self, _error: Exception | None) -> None:
        if self._limit is not None:
            self._limit.cancel()

    async def _answer(self, transport: asyncio.Transport) -> None:
        method, _, rest = self._head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        status, body = b"404 Not Found", b"The page is /metrics.\n"
        if path == b"/metrics":
            status, body = b"405 Method Not Allowed", b"It can only be read, by GET.\n"
            if method == b"GET":
                status, body = b"200 OK", await self._text()
        transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            % (status, CONTENT_TYPE.encode(), len(body), body)
        )
        transport.close()
