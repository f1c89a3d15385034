"""What is kept of an experiment's pairs: counts and exact sums, merged in any order alike.

A pair is added in constant time, and the size of a state is bounded but for its open blocks
(`blocks`), which its owner settles. The collector adds pairs and stores states; what they say is
worked out of them, when somebody asks, by `gnomon.stats.analysis`. No payload is kept: paths,
labels and event ids only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from gnomon.stats.blocks import LOG_UNIT, Block, Settled
from gnomon.stats.comparators import Comparison
from gnomon.stats.exact_sum import ExactSum
from gnomon.stats.histogram import bucket_of
from gnomon.stats.tallies import Tally, Worst
from gnomon.stats.task_state import TaskState

_DEADLINE = "deadline"


class Answer(Protocol):
    """One side of a pair; `failure` is empty where there was an answer (`spool.frames.Answer`)."""

    @property
    def status(self) -> int: ...
    @property
    def failure(self) -> str: ...
    @property
    def latency_us(self) -> int: ...
    @property
    def body_bytes(self) -> int: ...


class Pair(Protocol):
    """Both answers to one request; a passed deadline has the deadline as its latency."""

    @property
    def event_id(self) -> str: ...
    @property
    def at_s(self) -> float: ...
    @property
    def production(self) -> Answer: ...
    @property
    def shadow(self) -> Answer: ...


class Latencies(msgspec.Struct):
    """Of pairs whose production answer is 2xx, and whose shadow's is, or passed its deadline.

    `deadlines` of the `pairs` are not in the shadow's histogram: all that is known of them is that
    they took at least `deadline_us`, the shortest deadline passed. Sums of logarithms are in
    LOG_UNIT.
    """

    pairs: int = 0
    production: dict[int, int] = {}
    shadow: dict[int, int] = {}
    deadlines: int = 0
    deadline_us: int | None = None
    log_production: int = 0
    log_ratio: int = 0
    log_ratio_squared: int = 0

    def merge(self, other: Latencies) -> None:
        self.pairs += other.pairs
        _merge_counts(self.production, other.production)
        _merge_counts(self.shadow, other.shadow)
        self.deadlines += other.deadlines
        known = [us for us in (self.deadline_us, other.deadline_us) if us is not None]
        self.deadline_us = min(known, default=None)
        self.log_production += other.log_production
        self.log_ratio += other.log_ratio
        self.log_ratio_squared += other.log_ratio_squared


class Sizes(msgspec.Struct):
    """Bytes of answers, by bucket, of pairs of which both are 2xx."""

    production: dict[int, int] = {}
    shadow: dict[int, int] = {}

    def add(self, production: Answer, shadow: Answer) -> None:
        _count(self.production, bucket_of(production.body_bytes))
        _count(self.shadow, bucket_of(shadow.body_bytes))

    def merge(self, other: Sizes) -> None:
        _merge_counts(self.production, other.production)
        _merge_counts(self.shadow, other.shadow)


class Answers(msgspec.Struct):
    """How the answers of pairs compare: `same`, and `differing` by path; others are unknown."""

    same: int = 0
    differ: int = 0
    unknown: dict[str, int] = {}
    differing: Tally = msgspec.field(default_factory=Tally)

    @property
    def compared(self) -> int:
        return self.same + self.differ

    def add(self, comparison: Comparison, event_id: str) -> None:
        if comparison.same is None:
            self.unknown[comparison.reason] = self.unknown.get(comparison.reason, 0) + 1
        elif comparison.same:
            self.same += 1
        else:
            self.differ += 1
            self.differing.add(comparison.paths or (comparison.reason,), event_id)

    def merge(self, other: Answers) -> None:
        self.same += other.same
        self.differ += other.differ
        _merge_counts(self.unknown, other.unknown)
        self.differing.merge(other.differing)


class PairState(msgspec.Struct):
    """Everything that is kept of some pairs. Owned by whoever adds; merging leaves the other alone.

    `noise` is about answers that production gave twice to one request; `answers` about pairs.
    `block_us` is the length of a block in microseconds, the same in all states of an experiment.
    """

    block_us: int
    pairs: int = 0
    only_production_failed: int = 0
    only_shadow_failed: int = 0
    both_failed: int = 0
    # Status classes (2xx) and failures (deadline) to pairs.
    production_outcomes: dict[str, int] = {}
    shadow_outcomes: dict[str, int] = {}
    latencies: Latencies = msgspec.field(default_factory=Latencies)
    answers: Answers = msgspec.field(default_factory=Answers)
    noise: Answers = msgspec.field(default_factory=Answers)
    task: TaskState = msgspec.field(default_factory=TaskState)
    most_different: Worst = msgspec.field(default_factory=Worst)
    most_slowed: Worst = msgspec.field(default_factory=Worst)
    blocks: dict[int, Block] = {}
    settled: Settled = msgspec.field(default_factory=Settled)
    # What a user's comparator raised last, and with a pair of when (epoch seconds).
    raised: tuple[float, str] = (0.0, "")
    sizes: Sizes = msgspec.field(default_factory=Sizes)
    # Up to when blocks were settled, in epoch microseconds.
    complete_us: int = 0

    def add(
        self, pair: Pair, comparison: Comparison, hashed: Callable[[str], str] | None = None
    ) -> None:
        """Count one pair, which was compared so. Labels are kept as `hashed` gives, if it is there;
        then it has to be with all pairs.
        """
        production, shadow = pair.production, pair.shadow
        index = int(pair.at_s * 1e6) // self.block_us
        block = self.blocks.get(index)
        if block is None:
            block = self.blocks[index] = Block()
        outcome, shadow_outcome = _outcome(production), _outcome(shadow)
        _count(self.production_outcomes, outcome)
        _count(self.shadow_outcomes, shadow_outcome)
        is_good, is_shadow_good = outcome == "2xx", shadow_outcome == "2xx"
        self.pairs += 1
        block.pairs += 1
        if is_good and is_shadow_good:
            self.sizes.add(production, shadow)
        if is_good:
            if not is_shadow_good:
                self.only_shadow_failed += 1
                block.only_shadow_failed += 1
            if is_shadow_good or shadow_outcome == _DEADLINE:
                self._add_latencies(pair, block, is_late=not is_shadow_good)
        elif is_shadow_good:
            self.only_production_failed += 1
            block.only_production_failed += 1
        else:
            self.both_failed += 1
        self.answers.add(comparison, pair.event_id)
        if comparison.same is not None:
            block.compared += 1
            if not comparison.same:
                block.differ += 1
                self.most_different.add(comparison.distance, pair.event_id)
        if comparison.why:
            self.raised = max(self.raised, (pair.at_s, comparison.why))
        if comparison.predictions:
            self.task.add(comparison.predictions, hashed)

    def add_noise(self, event_id: str, comparison: Comparison) -> None:
        """Count one request that production answered twice, which were compared so."""
        self.noise.add(comparison, event_id)

    def merge(self, other: PairState) -> None:
        """Add another state; ValueError if its blocks have another length."""
        if self.block_us != other.block_us:
            raise ValueError("states with blocks of different lengths do not merge")
        self.pairs += other.pairs
        self.only_production_failed += other.only_production_failed
        self.only_shadow_failed += other.only_shadow_failed
        self.both_failed += other.both_failed
        _merge_counts(self.production_outcomes, other.production_outcomes)
        _merge_counts(self.shadow_outcomes, other.shadow_outcomes)
        self.latencies.merge(other.latencies)
        self.answers.merge(other.answers)
        self.noise.merge(other.noise)
        self.task.merge(other.task)
        self.most_different.merge(other.most_different)
        self.most_slowed.merge(other.most_slowed)
        for index, block in other.blocks.items():
            self.blocks.setdefault(index, Block()).merge(block)
        self.settled.merge(other.settled)
        self.raised = max(self.raised, other.raised)
        self.sizes.merge(other.sizes)
        self.complete_us = max(self.complete_us, other.complete_us)

    def settle(self, before_us: int) -> None:
        """Settle the blocks that end by `before_us` (epoch microseconds).

        Whoever calls knows that no state that is still to be merged has a pair of theirs: else the
        rest of a block would count as another block.
        """
        last = before_us // self.block_us
        for index in sorted(index for index in self.blocks if index < last):
            self.settled.add(self.blocks.pop(index))
        self.complete_us = max(self.complete_us, last * self.block_us)

    def settled_with_open(self) -> Settled:
        """What is settled, and the open blocks as if they were, but for the newest: it may grow."""
        whole = Settled()
        whole.merge(self.settled)
        newest = max(self.blocks, default=0)
        for index, block in self.blocks.items():
            if index < newest:
                whole.add(block)
        return whole

    def _add_latencies(self, pair: Pair, block: Block, *, is_late: bool) -> None:
        production_us, shadow_us = pair.production.latency_us, pair.shadow.latency_us
        latencies = self.latencies
        latencies.pairs += 1
        _count(latencies.production, bucket_of(production_us))
        if is_late:
            latencies.deadlines += 1
            if latencies.deadline_us is None or shadow_us < latencies.deadline_us:
                latencies.deadline_us = shadow_us
        else:
            _count(latencies.shadow, bucket_of(shadow_us))
        # A latency below a microsecond is one: its logarithm has to be finite.
        log_production = round(math.log(max(production_us, 1)) * LOG_UNIT)
        ratio = round(math.log(max(shadow_us, 1)) * LOG_UNIT) - log_production
        latencies.log_production += log_production
        latencies.log_ratio += ratio
        latencies.log_ratio_squared += ratio * ratio
        block.ratios += 1
        block.log_ratio += ratio
        self.most_slowed.add(ratio / LOG_UNIT, pair.event_id)


def encode(state: PairState) -> bytes:
    """A state as MessagePack, for a row."""
    return _encoder.encode(state)


def decode(stored: bytes) -> PairState:
    """The state of a row; msgspec.ValidationError."""
    return _decoder.decode(stored)


def _encode_sum(value: Any) -> bytes:
    if isinstance(value, ExactSum):
        return value.to_bytes()
    raise NotImplementedError


def _decode_sum(kind: type, stored: Any) -> Any:
    if kind is ExactSum:
        return ExactSum.from_bytes(stored)
    raise NotImplementedError


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_sum)
_decoder = msgspec.msgpack.Decoder(PairState, dec_hook=_decode_sum)


def _outcome(answer: Answer) -> str:
    return answer.failure or f"{answer.status // 100}xx"


def _count(counts: dict[Any, int], key: str | int) -> None:
    counts[key] = counts.get(key, 0) + 1


def _merge_counts(counts: dict[Any, int], added: dict[Any, int]) -> None:
    for key, count in added.items():
        counts[key] = counts.get(key, 0) + count
