"""Blocks of time: what pairs of one block have in common is kept within it.

Latencies come in runs, so that neighbouring pairs are not independent; blocks that are longer than
the runs nearly are (`sequences` says what that is worth). A block's length is fixed when the test
starts. Blocks are kept open until `settle`, since their pairs come from several routers; settled,
only what is needed of them all is left.
"""

from __future__ import annotations

import msgspec

from gnomon.stats.histogram import bucket_of

# Log ratios are whole multiples of 1 / LOG_UNIT, so that sums are exact: 0.006 % of a latency. The
# sum of squares stays within 64 bits (MessagePack's integers) for 10**8 pairs that all differ by
# a factor of 60,000,000 (a microsecond and a minute), and for any number that is likely.
LOG_UNIT = 1 << 14
# Fractions of a block are counted in millionths.
FRACTION_UNIT = 1_000_000
_LOW_BITS = 40
_LOW = (1 << _LOW_BITS) - 1


class Block(msgspec.Struct, array_like=True):
    """Sums of one block: `ratios` pairs that have a log ratio, and the sum of these.

    Of `pairs` pairs only the one or the other variant failed; of `compared` some differ.
    """

    ratios: int = 0
    log_ratio: int = 0
    pairs: int = 0
    only_production_failed: int = 0
    only_shadow_failed: int = 0
    compared: int = 0
    differ: int = 0

    def merge(self, other: Block) -> None:
        self.ratios += other.ratios
        self.log_ratio += other.log_ratio
        self.pairs += other.pairs
        self.only_production_failed += other.only_production_failed
        self.only_shadow_failed += other.only_shadow_failed
        self.compared += other.compared
        self.differ += other.differ


class Wide(msgspec.Struct, array_like=True):
    """A sum of whole numbers that may exceed 64 bits: `high` is in units of 2**_LOW_BITS."""

    high: int = 0
    low: int = 0

    @property
    def value(self) -> int:
        return (self.high << _LOW_BITS) + self.low

    def add(self, number: int) -> None:
        self.high += number >> _LOW_BITS
        self.low += number & _LOW

    def merge(self, other: Wide) -> None:
        self.high += other.high
        self.low += other.low


class Moments(msgspec.Struct):
    """Of the blocks that have log ratios: the sums, over blocks, of how many ratios they have, of
    their sums of ratios, and of squares and products of both. Blocks of many pairs weigh more: what
    is slow when there is much to do may not hide behind quiet times.
    """

    blocks: int = 0
    ratios: int = 0
    log_ratio: int = 0
    ratios_squared: Wide = msgspec.field(default_factory=Wide)
    product: Wide = msgspec.field(default_factory=Wide)
    log_ratio_squared: Wide = msgspec.field(default_factory=Wide)

    def add(self, ratios: int, log_ratio: int) -> None:
        """Count one block with so many ratios, of this sum."""
        self.blocks += 1
        self.ratios += ratios
        self.log_ratio += log_ratio
        self.ratios_squared.add(ratios * ratios)
        self.product.add(ratios * log_ratio)
        self.log_ratio_squared.add(log_ratio * log_ratio)

    def merge(self, other: Moments) -> None:
        self.blocks += other.blocks
        self.ratios += other.ratios
        self.log_ratio += other.log_ratio
        self.ratios_squared.merge(other.ratios_squared)
        self.product.merge(other.product)
        self.log_ratio_squared.merge(other.log_ratio_squared)


class Settled(msgspec.Struct):
    """Blocks that are complete: moments of their log ratios, and their fractions, counted by
    bucket. In these each block weighs the same.

    What earlier versions kept instead of `ratios_by_block` is passed over: it cannot be had from
    that, and the blocks of a test that ran then begin anew.
    """

    ratios_by_block: Moments = msgspec.field(default_factory=Moments)
    # Bucket (`histogram.bucket_of`) of the fraction in FRACTION_UNIT, to the number of blocks.
    only_production_failed: dict[int, int] = {}
    only_shadow_failed: dict[int, int] = {}
    differ: dict[int, int] = {}

    def add(self, block: Block) -> None:
        """Count one complete block."""
        if block.ratios:
            self.ratios_by_block.add(block.ratios, block.log_ratio)
        _count(self.only_production_failed, block.only_production_failed, block.pairs)
        _count(self.only_shadow_failed, block.only_shadow_failed, block.pairs)
        _count(self.differ, block.differ, block.compared)

    def merge(self, other: Settled) -> None:
        self.ratios_by_block.merge(other.ratios_by_block)
        for mine, theirs in (
            (self.only_production_failed, other.only_production_failed),
            (self.only_shadow_failed, other.only_shadow_failed),
            (self.differ, other.differ),
        ):
            for bucket, blocks in theirs.items():
                mine[bucket] = mine.get(bucket, 0) + blocks


def _count(fractions: dict[int, int], some: int, of: int) -> None:
    if of:
        bucket = bucket_of(round(FRACTION_UNIT * some / of))
        fractions[bucket] = fractions.get(bucket, 0) + 1
