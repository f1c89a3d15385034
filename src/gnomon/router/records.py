"""Turns exchanges into the frames that capture and comparison live on.

Bodies in pairs are cut; the hash of one that was cut is computed in a thread, since it may be many
megabytes. What the spool does not take is lost and counted: no request waits for it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from gnomon.model import metric
from gnomon.router.counters import Spool
from gnomon.router.exchange import Exchange, Outcome
from gnomon.router.routes import Entry
from gnomon.spool import frames

_US = 1_000_000


class Records:
    """Appends frames about exchanges to the spool."""

    def __init__(self, spool: Spool, pair_body_bytes: int) -> None:
        self._spool = spool
        self._pair_body_bytes = pair_body_bytes
        self._hashing: set[asyncio.Task[None]] = set()

    def capture(self, exchange: Exchange, outcome: Outcome) -> None:
        """One side of the exchange, for each destination that wants it."""
        request = exchange.request
        answered = outcome.status != 0
        if outcome.recording is not None and not outcome.recording.is_whole:
            # A beginning would pass for the whole.
            answered = False
            exchange.entry.cell(outcome.variant, outcome.instance).add(metric.CAPTURES_CUT)
        for capture in exchange.captures:
            kept = self._keep(
                exchange.entry,
                frames.Exchange(
                    capture_id=capture.id,
                    endpoint_name=exchange.entry.endpoint.name,
                    variant_name=outcome.variant.name,
                    event_id=exchange.event_id.decode(),
                    inference_id=_text(request.inference_id),
                    at_s=exchange.at_s,
                    status=outcome.status,
                    request_content_type=_text(request.content_type),
                    request_body=request.body if capture.request else None,
                    response_content_type=_text(outcome.content_type),
                    response_body=outcome.body if capture.response and answered else None,
                ),
            )
            if not kept:
                exchange.entry.cell(outcome.variant, outcome.instance).add(metric.CAPTURES_LOST)

    def pair(self, exchange: Exchange, done: Callable[[Exchange], None]) -> None:
        """Both sides of the exchange, which are there; `done` is called when it is written."""
        production, shadow = exchange.production, exchange.shadow
        if production is None or shadow is None:
            raise ValueError("a pair has two sides")
        if self._is_to_hash(production) or self._is_to_hash(shadow):
            task = asyncio.get_running_loop().create_task(
                self._hash_and_append(exchange, production, shadow, done)
            )
            self._hashing.add(task)
            task.add_done_callback(self._hashing.discard)
            return
        self._append(exchange, self._side(production, None), self._side(shadow, None))
        done(exchange)

    def noise(self, exchange: Exchange, first: Outcome, second: Outcome) -> None:
        """Two answers of production; what is over the size of a pair's bodies is cut."""
        cell = exchange.entry.cell(first.variant, first.instance)
        kept = self._keep(
            exchange.entry,
            frames.Noise(
                experiment_id=exchange.entry.experiment_id,
                event_id=exchange.event_id.decode(),
                at_s=exchange.at_s,
                first=self._side(first, None),
                second=self._side(second, None),
            ),
        )
        cell.add(metric.REPEATED if kept else metric.REPEATS_DROPPED)

    async def end(self) -> None:
        """Wait for the hashes that are being computed."""
        await asyncio.gather(*self._hashing)

    async def _hash_and_append(
        self,
        exchange: Exchange,
        production: Outcome,
        shadow: Outcome,
        done: Callable[[Exchange], None],
    ) -> None:
        try:
            sides = [
                self._side(side, await asyncio.to_thread(_sha256, side.body))
                if self._is_to_hash(side)
                else self._side(side, None)
                for side in (production, shadow)
            ]
            self._append(exchange, *sides)
        finally:
            done(exchange)

    def _append(self, exchange: Exchange, production: frames.Answer, shadow: frames.Answer) -> None:
        entry = exchange.entry
        if exchange.production is None or exchange.shadow is None:
            return
        kept = self._keep(
            entry,
            frames.Pair(
                experiment_id=entry.experiment_id,
                endpoint_id=entry.endpoint.id,
                production_variant_id=exchange.production.variant.id,
                shadow_variant_id=exchange.shadow.variant.id,
                event_id=exchange.event_id.decode(),
                at_s=exchange.at_s,
                production=production,
                shadow=shadow,
            ),
        )
        if not kept:
            entry.cell(exchange.shadow.variant, exchange.shadow.instance).add(metric.PAIRS_LOST)

    def _keep(self, entry: Entry, frame: frames.Frame) -> bool:
        return entry.may_record and self._spool.append(frame, entry.seal)

    def _is_to_hash(self, outcome: Outcome) -> bool:
        # A recording was hashed as it came.
        return len(outcome.body) > self._pair_body_bytes and outcome.recording is None

    def _side(self, outcome: Outcome, sha256: bytes | None) -> frames.Answer:
        body = outcome.body
        body_bytes = len(body)
        first_chunk_us = None
        recording = outcome.recording
        if recording is not None:
            body_bytes = recording.body_bytes
            sha256 = recording.sha256
            if outcome.first_chunk_s is not None:
                first_chunk_us = int(outcome.first_chunk_s * _US)
        return frames.Answer(
            instance_id=outcome.instance.id,
            status=outcome.status,
            failure=outcome.failure,
            latency_us=int(outcome.latency_s * _US),
            content_type=_text(outcome.content_type),
            body=body[: self._pair_body_bytes],
            body_bytes=body_bytes,
            sha256=sha256,
            first_chunk_us=first_chunk_us,
        )


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _text(value: bytes | None) -> str | None:
    # Header values are bytes without a stated encoding; every byte is a character of Latin-1.
    return None if value is None else value.decode("latin-1")
