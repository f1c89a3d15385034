"""Asks production a share of its requests again, so that its own noise is known.

Only what was answered well is repeated, once its answer is on its way, on connections of its own
and within the mirror's budget: a repeat can delay no answer but by the load that it is to a model,
which is why nothing is repeated unless a test asks for it. A repeat counts as no invocation. It
carries `X-Gnomon-Repeat`, so that a model with side effects can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import ClassVar

from gnomon.model import metric
from gnomon.router.call import Call, UpstreamAnswer
from gnomon.router.decide import Failure, mirror_obstacle, pick_least_outstanding
from gnomon.router.exchange import Exchange, Outcome
from gnomon.router.instance import LiveInstance
from gnomon.router.mirror import Mirror
from gnomon.router.read_budget import ReadBudget
from gnomon.settings import RouterSettings


class Repeats:
    """All repeats of one router. `ended` is called once for each that `offer` took, when it has
    its second answer, or None where there is none.
    """

    def __init__(
        self,
        settings: RouterSettings,
        random: Random,
        mirror: Mirror,
        read_budget: ReadBudget,
        ended: Callable[[Exchange, Outcome, Outcome | None], None],
    ) -> None:
        self._settings = settings
        self._random = random.random
        self._mirror = mirror
        self._read_budget = read_budget
        self._ended = ended

    def offer(self, exchange: Exchange, first: Outcome, now_s: float) -> None:
        """Production answered with `first`: ask it again if draw and budget say so."""
        entry, request = exchange.entry, exchange.request
        if request.opts_out or request.is_streamed or not 200 <= first.status < 300:
            return
        if self._random() >= entry.noise_share:
            return
        instance = self._instance(exchange, first, now_s)
        if instance is None:
            entry.cell(first.variant, first.instance).add(metric.REPEATS_DROPPED)
            return
        exchange.repeat_is_open = True
        self._mirror.enter(exchange)
        if not exchange.held_bytes:
            # Else its copy holds it.
            self._mirror.hold(exchange, len(request.body))
        instance.outstanding += 1
        instance.repeats += 1
        instance.shadow_pool.submit(_Repeat(self, exchange, first, instance, now_s))

    def _instance(self, exchange: Exchange, first: Outcome, now_s: float) -> LiveInstance | None:
        """The one to ask; None where nothing can be compared or the budget is spent."""
        healthy = first.variant.healthy
        if not healthy or len(first.body) > self._settings.pair_body_bytes:
            return None
        instance = pick_least_outstanding(healthy, self._random())
        endpoint = exchange.entry.endpoint
        obstacle = mirror_obstacle(
            self._settings,
            last_connect=instance.shadow_pool.backs_off_for(now_s),
            is_out_of_connections=instance.shadow_pool.is_out_of_connections,
            is_reading_held=self._read_budget.is_spent,
            body_bytes=len(exchange.request.body) + len(first.body),
            endpoint_in_flight=endpoint.mirror_in_flight,
            endpoint_bytes=endpoint.mirror_bytes,
            router_bytes=self._mirror.held_bytes,
        )
        return instance if obstacle is None else None

    def may_hold(self, repeat: _Repeat, body_bytes: int, answer_bytes: int) -> bool:
        obstacle = self._mirror.answer_obstacle(repeat.exchange, body_bytes, answer_bytes)
        return obstacle is None

    def end(self, repeat: _Repeat, answer: UpstreamAnswer | None, at_s: float) -> None:
        exchange, first, instance = repeat.exchange, repeat.first, repeat.instance
        self._mirror.leave(exchange)
        instance.outstanding -= 1
        instance.repeats -= 1
        exchange.repeat_is_open = False
        second = None
        if answer is None:
            exchange.entry.cell(first.variant, first.instance).add(metric.REPEATS_DROPPED)
        else:
            second = Outcome(
                first.variant,
                instance,
                answer.status,
                "",
                at_s - repeat.sent_s,
                answer.content_type,
                answer.body,
            )
        self._ended(exchange, first, second)


class _Repeat(Call):
    __slots__ = ("_answer_bytes", "_repeats", "exchange", "first", "instance")

    LONG_HEAD: ClassVar[Failure] = "cut"

    def __init__(
        self,
        repeats: Repeats,
        exchange: Exchange,
        first: Outcome,
        instance: LiveInstance,
        submitted_s: float,
    ) -> None:
        head = b"%bX-Gnomon-Repeat: 1\r\n\r\n" % instance.head(exchange.model_head)
        super().__init__(head, exchange.request.body, submitted_s)
        self._repeats = repeats
        self._answer_bytes = 0
        self.exchange = exchange
        self.first = first
        self.instance = instance

    def takes(self, body_bytes: int, /) -> bool:
        self._answer_bytes += body_bytes
        return self._repeats.may_hold(self, body_bytes, self._answer_bytes)

    def answered(self, answer: UpstreamAnswer, at_s: float, /) -> None:
        self._repeats.end(self, answer, at_s)

    def failed(self, _failure: Failure, at_s: float, /) -> None:
        self._repeats.end(self, None, at_s)
