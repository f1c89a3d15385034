"""The way of an InvokeEndpoint request: choice, production's answer to the client, then the rest.

Everything that is not the answer (copies, counts, capture, pairs) comes after production's request
was written, or after the client was answered; `mirror`, `counters` and `records` do it.
"""

from __future__ import annotations

from random import Random

import structlog

from gnomon.aws import runtime_errors
from gnomon.aws.runtime_errors import RuntimeFailure
from gnomon.model import metric
from gnomon.model.clock import Clock
from gnomon.router import replies
from gnomon.router.call import Call, UpstreamAnswer
from gnomon.router.decide import (
    UNSENT,
    Failure,
    pick_by_share,
    pick_least_outstanding,
    pick_random,
)
from gnomon.router.ejection import Ejections
from gnomon.router.exchange import Client, EventIds, Exchange, Outcome
from gnomon.router.instance import LiveInstance, LiveVariant
from gnomon.router.mirror import Mirror
from gnomon.router.open_requests import OpenRequests
from gnomon.router.read_budget import ReadBudget
from gnomon.router.recording import Recording
from gnomon.router.records import Records
from gnomon.router.repeats import Repeats
from gnomon.router.request import Request
from gnomon.router.routes import Entry, LiveEndpoint
from gnomon.router.streams import ProductionStream
from gnomon.settings import AwsSettings, RouterSettings

log = structlog.get_logger(__name__)

_RESET = b"The connection to the model was closed before it had answered."
_MALFORMED = b"The model answered with something that is not HTTP."
_CUT = b"The model's answer is longer than is allowed."
_WORDS: dict[Failure, bytes] = {"reset": _RESET, "malformed": _MALFORMED, "cut": _CUT}


class DataPlane:
    """Serves invocations. `date` is the value of the Date header; its owner keeps it current."""

    def __init__(
        self,
        settings: RouterSettings,
        aws: AwsSettings,
        clock: Clock,
        random: Random,
        event_ids: EventIds,
        ejections: Ejections,
        read_budget: ReadBudget,
        records: Records,
    ) -> None:
        self.date = b""
        self.max_answer_bytes = settings.max_answer_bytes
        self.open = OpenRequests()
        self.mirror = Mirror(settings, random, ejections, read_budget, self._copy_ended)
        self._repeats = Repeats(settings, random, self.mirror, read_budget, self._repeat_ended)
        self._settings = settings
        self._aws = aws
        self._now_s = clock.now_s
        self._monotonic_s = clock.monotonic_s
        self._draw = random.random
        self._next_id = event_ids.next
        self._ejections = ejections
        self._records = records

    def serve(self, client: Client, endpoint: LiveEndpoint, request: Request) -> Exchange:
        """Begin the exchange; the client is answered when production has, perhaps at once."""
        began_s = self._monotonic_s()
        at_s = self._now_s()
        entry = endpoint.entry_at(at_s)
        captures = entry.captures
        if entry.draws_captures:
            captures = tuple(c for c in captures if c.share >= 1 or self._draw() < c.share)
        exchange = Exchange(entry, client, request, self._next_id(), at_s, began_s, captures)
        entry.open += 1
        if entry.experiment_id:
            self.open.begin(at_s)
        variant = self._variant(entry, request)
        if isinstance(variant, RuntimeFailure):
            self._refuse(exchange, client, variant)
            return exchange
        instance = self._instance(entry, variant.healthy)
        if instance is None:
            entry.cell(variant, None).unanswered(len(variant.instances), "no_healthy_instance")
            self._refuse(exchange, client, _no_instance(endpoint.name))
            return exchange
        self._send(exchange, variant, instance, began_s, attempt=1)
        return exchange

    # --- Choice -------------------------------------------------------------------------------

    def _variant(self, entry: Entry, request: Request) -> LiveVariant | RuntimeFailure:
        name = entry.endpoint.name
        if request.repeated is not None:
            # Models, captures and this router might each take another one.
            return runtime_errors.validation_error(
                f"The header {request.repeated} is given more than once."
            )
        target = request.target_variant
        if target is not None:
            return entry.variant_named(target) or runtime_errors.variant_not_found(
                target.decode("latin-1"), name, self._aws.account_id
            )
        if not entry.cumulative:
            return runtime_errors.service_unavailable(
                f"Endpoint {name} has no production variant with a weight above 0."
            )
        if len(entry.variants) == 1:
            return entry.variants[0]
        return entry.variants[pick_by_share(entry.cumulative, self._draw())]

    def _instance(self, entry: Entry, healthy: list[LiveInstance]) -> LiveInstance | None:
        if len(healthy) > 1:
            pick = pick_random if entry.is_random else pick_least_outstanding
            return pick(healthy, self._draw())
        return healthy[0] if healthy else None

    # --- Production's side --------------------------------------------------------------------

    def _send(
        self,
        exchange: Exchange,
        variant: LiveVariant,
        instance: LiveInstance,
        now_s: float,
        *,
        attempt: int,
    ) -> None:
        instance.outstanding += 1
        instance.pool.submit(_Production(self, exchange, variant, instance, now_s, attempt))

    def _is_retried(self, call: _Production) -> bool:
        """Whether the call goes to another instance, of the variant as the endpoint has it now.

        Nothing of it was sent. Once, or as long as instances refuse: a router that has just begun
        may know several that are dead, and each that refuses is ejected.
        """
        exchange = call.exchange
        entry = exchange.entry.endpoint.entry
        variant = entry.variant_named(call.variant.name_bytes)
        if variant is None:
            return False
        others = [instance for instance in variant.healthy if instance is not call.instance]
        instance = self._instance(entry, others)
        if instance is None or call.attempt > len(variant.instances):
            return False
        self._send(exchange, variant, instance, self._monotonic_s(), attempt=call.attempt + 1)
        return True

    def sent(self, call: _Production) -> None:
        exchange = call.exchange
        try:
            self.mirror.offer(exchange, call.sent_s)
        except Exception:
            log.exception("a copy failed", request_id=exchange.event_id.decode())

    def answered(self, call: _Production, answer: UpstreamAnswer, at_s: float) -> None:
        exchange = call.exchange
        instance = call.instance
        instance.outstanding -= 1
        instance.time_limits_in_a_row = 0
        stream = call.begun_stream
        client = exchange.client
        if stream is not None:
            stream.end()
        elif client is not None:
            exchange.client = None
            if 200 <= answer.status < 300:
                head = replies.invoked(
                    answer,
                    date=self.date,
                    variant=call.variant.name_bytes,
                    instance=instance.id_bytes,
                    event_id=exchange.event_id,
                )
                client.answer(head, answer.body)
            else:
                self._answer(
                    client,
                    exchange,
                    runtime_errors.model_error(answer.status, answer.body, **self._about(exchange)),
                    instance,
                )
        try:
            latency_s = at_s - call.sent_s
            cell = exchange.entry.cell(call.variant, instance)
            if stream is not None:
                # While the client was the slower one, the model was not.
                latency_s -= stream.held_s(at_s)
            if exchange.client_has_stalled:
                cell.add(metric.CLIENTS_STALLED)
            cell.answered(
                answer.status,
                len(call.variant.instances),
                latency_s,
                self._monotonic_s() - exchange.began_s - latency_s,
            )
            outcome = None
            if (
                exchange.copy_is_open
                or exchange.shadow is not None
                or exchange.captures
                or exchange.entry.noise_share
            ):
                outcome = Outcome(
                    call.variant,
                    instance,
                    answer.status,
                    "",
                    latency_s,
                    answer.content_type,
                    answer.body,
                )
                if stream is not None:
                    outcome.remember(stream.recording, call.sent_s)
            if stream is not None and stream.recording.first_at_s is not None:
                cell.first_chunk(stream.recording.first_at_s - call.sent_s)
            self._production_ended(exchange, outcome)
        except Exception:
            # The request has ended; only its record has not.
            log.exception("an exchange was not recorded", request_id=exchange.event_id.decode())

    def failed(self, call: _Production, failure: Failure, at_s: float) -> None:
        exchange = call.exchange
        instance = call.instance
        instance.outstanding -= 1
        cell = exchange.entry.cell(call.variant, instance)
        stream = call.begun_stream
        if stream is None:
            # What began well may end badly for one request's sake.
            self._ejections.failed(instance, failure, cell)
        may_retry = failure == "refused" or (failure in UNSENT and call.attempt == 1)
        if may_retry and self._is_retried(call):
            return
        client = exchange.client
        if stream is not None:
            stream.break_off(failure)
        elif client is not None:
            exchange.client = None
            self._answer(client, exchange, self._words(exchange, failure), instance)
        latency_s = at_s - call.submitted_s
        if stream is not None:
            latency_s -= stream.held_s(at_s)
        if exchange.client_has_stalled:
            cell.add(metric.CLIENTS_STALLED)
        waited_s = None
        if failure == "deadline":
            if stream is None:
                latency_s = self._settings.model_time_limit_s
            waited_s = latency_s
        cell.unanswered(len(call.variant.instances), failure, waited_s)
        outcome = Outcome(call.variant, instance, 0, failure, latency_s, None, b"")
        if stream is not None:
            outcome.remember(stream.recording, call.sent_s)
        self._production_ended(exchange, outcome)

    def stream_of(
        self, exchange: Exchange, variant: LiveVariant, instance: LiveInstance
    ) -> ProductionStream:
        """For a call whose answer is wanted as it comes."""
        settings = self._settings
        kept_bytes = settings.max_answer_bytes if exchange.captures else 0
        recording = Recording(kept_bytes, settings.pair_body_bytes)
        return ProductionStream(
            exchange, variant, instance, recording, self._monotonic_s, self.date
        )

    # --- Both sides ---------------------------------------------------------------------------

    def _production_ended(self, exchange: Exchange, outcome: Outcome | None) -> None:
        exchange.production = outcome
        if outcome is not None:
            if exchange.captures:
                self._records.capture(exchange, outcome)
            if exchange.entry.noise_share:
                self._repeat(exchange, outcome)
        exchange.is_answered = True
        if outcome is not None and (exchange.copy_is_open or exchange.repeat_is_open):
            self.mirror.hold(exchange, len(outcome.body))
        if not exchange.copy_is_open:
            self._close(exchange)

    def _repeat(self, exchange: Exchange, outcome: Outcome) -> None:
        try:
            self._repeats.offer(exchange, outcome, self._monotonic_s())
        except Exception:
            exchange.repeat_is_open = False
            log.exception("a repeat failed", request_id=exchange.event_id.decode())

    def _repeat_ended(self, exchange: Exchange, first: Outcome, second: Outcome | None) -> None:
        if second is not None:
            self._records.noise(exchange, first, second)
        if exchange.is_recorded:
            self._forget(exchange)

    def _copy_ended(self, exchange: Exchange) -> None:
        if exchange.shadow is not None and exchange.captures:
            self._records.capture(exchange, exchange.shadow)
        if exchange.is_answered:
            self._close(exchange)

    def _close(self, exchange: Exchange) -> None:
        if exchange.shadow is not None:
            self._records.pair(exchange, self._forget)
        else:
            self._forget(exchange)

    def _forget(self, exchange: Exchange) -> None:
        """Its pair is written, if it has one; while production is asked again, that needs it."""
        if exchange.repeat_is_open:
            exchange.is_recorded = True
            return
        self.mirror.release(exchange)
        self._leave(exchange)

    # --- Errors -------------------------------------------------------------------------------

    def _words(self, exchange: Exchange, failure: Failure) -> RuntimeFailure:
        if failure in UNSENT:
            return _no_instance(exchange.entry.endpoint.name)
        if failure == "deadline":
            return runtime_errors.model_timed_out(**self._about(exchange))
        return runtime_errors.model_error(0, _WORDS[failure], **self._about(exchange))

    def _about(self, exchange: Exchange) -> dict[str, str]:
        return {
            "endpoint_name": exchange.entry.endpoint.name,
            "region": self._aws.region,
            "account_id": self._aws.account_id,
        }

    def _answer(
        self,
        client: Client,
        exchange: Exchange,
        failure: RuntimeFailure,
        instance: LiveInstance | None,
    ) -> None:
        more = b"X-Gnomon-Event-Id: %b\r\n" % exchange.event_id
        if instance is not None:
            more += b"X-Gnomon-Instance: %b\r\n" % instance.id_bytes
        head = replies.failed(failure, date=self.date, request_id=exchange.event_id, more=more)
        client.answer(head, failure.body)

    def _refuse(self, exchange: Exchange, client: Client, failure: RuntimeFailure) -> None:
        """End an exchange that reaches no instance."""
        exchange.client = None
        self._leave(exchange)
        self._answer(client, exchange, failure, None)

    def _leave(self, exchange: Exchange) -> None:
        if exchange.entry.experiment_id:
            self.open.end(exchange.at_s)
        exchange.entry.left()


class _Production(Call):
    __slots__ = (
        "_answer_bytes",
        "_outgoing",
        "_plane",
        "attempt",
        "exchange",
        "instance",
        "variant",
    )

    def __init__(
        self,
        plane: DataPlane,
        exchange: Exchange,
        variant: LiveVariant,
        instance: LiveInstance,
        submitted_s: float,
        attempt: int,
    ) -> None:
        head = instance.head(exchange.model_head) + b"\r\n"
        super().__init__(head, exchange.request.body, submitted_s)
        self._plane = plane
        self._answer_bytes = 0
        self.exchange = exchange
        self.variant = variant
        self.instance = instance
        self.attempt = attempt
        self._outgoing: ProductionStream | None = None
        if exchange.request.is_streamed:
            self.stream = self._outgoing = plane.stream_of(exchange, variant, instance)

    @property
    def begun_stream(self) -> ProductionStream | None:
        """Where the answer went, if it came piece by piece."""
        outgoing = self._outgoing
        return outgoing if outgoing is not None and outgoing.has_begun else None

    def sent(self) -> None:
        self._plane.sent(self)

    def takes(self, body_bytes: int, /) -> bool:
        self._answer_bytes += body_bytes
        return self._answer_bytes <= self._plane.max_answer_bytes

    def answered(self, answer: UpstreamAnswer, at_s: float, /) -> None:
        self._plane.answered(self, answer, at_s)

    def failed(self, failure: Failure, at_s: float, /) -> None:
        self._plane.failed(self, failure, at_s)


def _no_instance(endpoint_name: str) -> RuntimeFailure:
    return runtime_errors.service_unavailable(
        f"No instance of endpoint {endpoint_name} could be reached. Try again."
    )
