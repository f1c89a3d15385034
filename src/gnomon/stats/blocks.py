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


class Settled(msgspec.Struct):
    """Blocks that are complete: moments of their means, and their fractions, counted by bucket.

    Each block weighs the same, however many pairs it has. `log_ratio` and its square are sums over
    the `ratios` blocks that have a log ratio, in LOG_UNIT.
    """

    ratios: int = 0
    log_ratio: int = 0
    log_ratio_squared: int = 0
    # Bucket (`histogram.bucket_of`) of the fraction in FRACTION_UNIT, to the number of blocks.
    only_production_failed: dict[int, int] = {}
    only_shadow_failed: dict[int, int] = {}
    differ: dict[int, int] = {}

    def add(self, block: Block) -> None:
        """Count one complete block."""
        if block.ratios:
            mean = round(block.log_ratio / block.ratios)
            self.ratios += 1
            self.log_ratio += mean
            self.log_ratio_squared += mean * mean
        _count(self.only_production_failed, block.only_production_failed, block.pairs)
        _count(self.only_shadow_failed, block.only_shadow_failed, block.pairs)
        _count(self.differ, block.differ, block.compared)

    def merge(self, other: Settled) -> None:
        self.ratios += other.ratios
        self.log_ratio += other.log_ratio
        self.log_ratio_squared += other.log_ratio_squared
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
