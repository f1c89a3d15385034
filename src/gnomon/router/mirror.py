"""Sends copies of production requests to the shadow, within a budget, and ends each copy.

It is told of an exchange only after production's request was written, has connections of its own
and no way to a client: whatever happens here, production's answer is as it would have been.
A copy that is not made, or not read to its end, is counted under a reason: each sampled request is
counted once as mirrored or as dropped, when that is known.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import ClassVar

from gnomon.model import metric
from gnomon.model.metric import DropReason
from gnomon.router.call import Call, Source, UpstreamAnswer
from gnomon.router.counters import Cell
from gnomon.router.decide import Failure, mirror_obstacle, pick_least_outstanding
from gnomon.router.ejection import Ejections
from gnomon.router.exchange import Exchange, Outcome
from gnomon.router.instance import LiveInstance, LiveVariant
from gnomon.router.read_budget import ReadBudget
from gnomon.router.recording import Recording
from gnomon.settings import RouterSettings

# Besides the reasons of `gnomon.model.metric`: the router ended before the copy did.
DRAINED = "drained"


class Mirror:
    """All copies of one router. `held_bytes` are bodies that copies keep in memory."""

    def __init__(
        self,
        settings: RouterSettings,
        random: Random,
        ejections: Ejections,
        read_budget: ReadBudget,
        copy_ended: Callable[[Exchange], None],
    ) -> None:
        self.in_flight = 0
        self.held_bytes = 0
        self._settings = settings
        self._random = random.random
        self._ejections = ejections
        self._read_budget = read_budget
        self._copy_ended = copy_ended
        self._breaks_off = False

    def offer(self, exchange: Exchange, now_s: float) -> None:
        """Production's request was written at `now_s`: copy it if draw and budget say so."""
        entry = exchange.entry
        shadow, cell = entry.shadow, entry.shadow_cell
        if shadow is None or cell is None:
            return
        cell.candidate()
        if exchange.request.opts_out:
            cell.add(metric.OPTED_OUT)
            return
        if self._random() >= entry.share:
            return
        healthy = shadow.healthy
        if not healthy:
            cell.dropped("no_healthy_instance")
            return
        instance = healthy[0]
        if len(healthy) > 1:
            instance = pick_least_outstanding(healthy, self._random())
        endpoint = entry.endpoint
        obstacle = mirror_obstacle(
            self._settings,
            last_connect=instance.shadow_pool.backs_off_for(now_s),
            is_out_of_connections=instance.shadow_pool.is_out_of_connections,
            is_reading_held=self._read_budget.is_spent,
            body_bytes=len(exchange.request.body),
            endpoint_in_flight=endpoint.mirror_in_flight,
            endpoint_bytes=endpoint.mirror_bytes,
            router_bytes=self.held_bytes,
        )
        if obstacle is not None:
            cell.dropped(obstacle)
            return
        copy = _Copy(self, exchange, shadow, instance, cell, now_s)
        exchange.copy_is_open = True
        self.enter(exchange)
        self.hold(exchange, len(exchange.request.body))
        instance.outstanding += 1
        try:
            instance.shadow_pool.submit(copy)
        except Exception:
            # It ends here, whatever is wrong with it; production's answer comes.
            self._end(copy, None, "not_connected")
            raise

    def enter(self, exchange: Exchange) -> None:
        """Count one more in flight that no client waits for, until `leave`."""
        self.in_flight += 1
        exchange.entry.endpoint.mirror_in_flight += 1

    def leave(self, exchange: Exchange) -> None:
        self.in_flight -= 1
        exchange.entry.endpoint.mirror_in_flight -= 1

    def hold(self, exchange: Exchange, body_bytes: int) -> None:
        """Count body bytes that stay in memory for the exchange's copy until `release`."""
        exchange.held_bytes += body_bytes
        exchange.entry.endpoint.mirror_bytes += body_bytes
        self.held_bytes += body_bytes

    def release(self, exchange: Exchange) -> None:
        exchange.entry.endpoint.mirror_bytes -= exchange.held_bytes
        self.held_bytes -= exchange.held_bytes
        exchange.held_bytes = 0

    def answer_obstacle(
        self, exchange: Exchange, body_bytes: int, answer_bytes: int
    ) -> DropReason | None:
        """Why `body_bytes` more of a copy's answer cannot be held; None if they are."""
        settings = self._settings
        if answer_bytes > settings.mirror_max_answer_bytes:
            return "too_large"
        if (
            exchange.entry.endpoint.mirror_bytes + body_bytes > settings.mirror_endpoint_bytes
            or self.held_bytes + body_bytes > settings.mirror_router_bytes
        ):
            return "over_budget"
        self.hold(exchange, body_bytes)
        return None

    def recording(self, exchange: Exchange) -> Recording:
        """For a streamed answer: all of it is kept for a capture, else what a pair takes."""
        settings = self._settings
        kept_bytes = settings.mirror_max_answer_bytes if exchange.captures else 0
        return Recording(kept_bytes, settings.pair_body_bytes)

    def break_off(self) -> None:
        """From here on copies that fail were broken off by this router's end."""
        self._breaks_off = True

    def answered(self, copy: _Copy, answer: UpstreamAnswer, at_s: float) -> None:
        instance = copy.instance
        outcome = Outcome(
            copy.variant,
            instance,
            answer.status,
            "",
            at_s - copy.sent_s,
            answer.content_type,
            answer.body,
        )
        instance.time_limits_in_a_row = 0
        cell = copy.exchange.entry.cell(copy.variant, instance)
        if copy.recording is not None and copy.has_begun:
            outcome.remember(copy.recording, copy.sent_s)
            if outcome.first_chunk_s is not None:
                cell.first_chunk(outcome.first_chunk_s)
        cell.answered(
            answer.status,
            len(copy.variant.instances),
            outcome.latency_s,
            copy.sent_s - copy.submitted_s,
        )
        self._end(copy, outcome, None)

    def failed(self, copy: _Copy, failure: Failure, at_s: float) -> None:
        instance = copy.instance
        cell = copy.exchange.entry.cell(copy.variant, instance)
        if failure == "not_connected":
            self._end(copy, None, "not_connected")
            return
        if failure == "cut" or self._breaks_off:
            # No fault of the shadow's: neither an error of the model nor half of a pair.
            cell.broken_off(len(copy.variant.instances))
            self._end(copy, None, copy.cut_for if failure == "cut" else DRAINED)
            return
        latency_s = at_s - copy.submitted_s
        waited_s = None
        if failure == "deadline":
            if not copy.has_begun:
                latency_s = self._settings.model_time_limit_s
            waited_s = latency_s
        cell.unanswered(len(copy.variant.instances), failure, waited_s)
        if not copy.has_begun:
            # What began well may end badly for one request's sake.
            self._ejections.failed(instance, failure, cell)
        outcome = Outcome(copy.variant, instance, 0, failure, latency_s, None, b"")
        if copy.recording is not None and copy.has_begun:
            outcome.remember(copy.recording, copy.sent_s)
        self._end(copy, outcome, None)

    def _end(self, copy: _Copy, outcome: Outcome | None, dropped_for: str | None) -> None:
        if copy.has_ended:
            return
        copy.has_ended = True
        exchange = copy.exchange
        if dropped_for is None:
            copy.cell.mirrored()
        else:
            copy.cell.dropped(dropped_for)
        self.leave(exchange)
        copy.instance.outstanding -= 1
        exchange.shadow = outcome
        exchange.copy_is_open = False
        self._copy_ended(exchange)


class _Copy(Call):
    """`recording` is there where the answer is taken as it comes, `has_begun` once it does."""

    __slots__ = (
        "_answer_bytes",
        "_mirror",
        "cell",
        "cut_for",
        "exchange",
        "has_begun",
        "has_ended",
        "instance",
        "recording",
        "variant",
    )

    LONG_HEAD: ClassVar[Failure] = "cut"

    def __init__(
        self,
        mirror: Mirror,
        exchange: Exchange,
        variant: LiveVariant,
        instance: LiveInstance,
        cell: Cell,
        submitted_s: float,
    ) -> None:
        head = b"%bX-Gnomon-Shadow: %b\r\n\r\n" % (
            instance.head(exchange.model_head),
            variant.name_bytes,
        )
        super().__init__(head, exchange.request.body, submitted_s)
        self._mirror = mirror
        self._answer_bytes = 0
        self.exchange = exchange
        self.variant = variant
        self.instance = instance
        self.cell = cell
        self.cut_for: DropReason = "too_large"
        self.has_begun = False
        self.has_ended = False
        self.recording: Recording | None = None
        if exchange.request.is_streamed:
            self.recording = mirror.recording(exchange)
            self.stream = self

    def began(self, _source: Source, _answer: UpstreamAnswer) -> None:
        self.has_begun = True

    def came(self, parts: list[bytes], at_s: float) -> bool:
        recording = self.recording
        if recording is None:
            raise ValueError("only a streamed answer comes in parts")
        before = recording.kept_bytes
        recording.add(parts, at_s)
        return self._may_hold(recording.kept_bytes - before, recording.body_bytes)

    def held_s(self, _now_s: float) -> float:
        return 0.0

    def takes(self, body_bytes: int, /) -> bool:
        self._answer_bytes += body_bytes
        return self._may_hold(body_bytes, self._answer_bytes)

    def _may_hold(self, body_bytes: int, answer_bytes: int) -> bool:
        obstacle = self._mirror.answer_obstacle(self.exchange, body_bytes, answer_bytes)
        if obstacle is not None:
            self.cut_for = obstacle
        return obstacle is None

    def answered(self, answer: UpstreamAnswer, at_s: float, /) -> None:
        self._mirror.answered(self, answer, at_s)

    def failed(self, failure: Failure, at_s: float, /) -> None:
        self._mirror.failed(self, failure, at_s)
