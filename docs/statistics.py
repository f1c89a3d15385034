"""Writes statistics.md: what the statistics rest on, and how often they were wrong in simulation.

`python docs/statistics.py` simulates anew (some minutes) and rewrites the document; a test sees
that all of it but the simulated figures is what it would write.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gnomon.model.analysis import AnalysisSettings
from gnomon.stats import measures, sequences, simulate
from gnomon.stats.simulate import Calibration, Power

_Figure = Callable[[Calibration], float]

_DOCUMENT = Path(__file__).with_name("statistics.md")
_RUNS = 2_000
_PAIRS = 20_000
_SEED = 20_251
_POWER_RUNS = 500

_INDEPENDENT = "pairs are independent"
# Measure, method, and when it holds.
_METHODS = (
    (
        "typical slow-down: the mean of log(shadow / production) over pairs, as a factor",
        (
            "asymptotic confidence sequence over blocks of {block_s:g} s (Waudby-Smith, Arbour, "
            "Sinha, Kennedy, Ramdas) for a ratio of sums over them, from {least_ratios:,} pairs on "
            "and where they are as even as {least_blocks} equal blocks"
        ),
        "blocks are longer than runs of slow answers, and there are enough of them",
    ),
    (
        "p50, p90, p99, as a factor",
        (
            "exact sequences for ranks by a beta-binomial mixture (Howard, Ramdas 2022), one for "
            "each variant; values are read from the histogram, widened by its bucket"
        ),
        _INDEPENDENT,
    ),
    (
        "error rate, as a difference",
        (
            "of the pairs in which only one variant fails: their share, and the shadow's part of "
            "them, each by the Bernoulli mixture (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon "
            "2021)"
        ),
        _INDEPENDENT,
    ),
    ("disagreement, and agreement of labels", "Bernoulli mixture", _INDEPENDENT),
    (
        "regression: the median of shadow minus production",
        "exact sequence for ranks",
        _INDEPENDENT,
    ),
    (
        'with `dependence = "blocks"`: errors and disagreements',
        (
            "betting on fractions of blocks (Waudby-Smith, Ramdas), a fixed mixture of bets; every "
            "block weighs the same"
        ),
        "blocks are longer than runs of errors",
    ),
)
_HEAD = """# Statistics

Written by `python docs/statistics.py`, which simulates what it says.

A running test is watched, and stopped when it looks good or bad. An interval of the usual kind is
wrong then: looked at after each of {pairs:,} pairs, a 95 % t-test finds a difference where there is
none in about half of all experiments. Gnomon's intervals are *confidence sequences*: with
probability 95 % they hold at all times at once, however often one looks and whenever one stops.

## What is measured, and how

| measure | method | holds if |
|---|---|---|
{methods}

The mean in milliseconds has no interval: that of a skewed mean cannot be trusted. Neither have the
mean difference, the mean absolute difference and the correlation of numeric answers. A quantile's
factor, and a rate's difference, come from two sequences at half of alpha each. Sequences are
narrowest near {tuned_pairs:,} pairs or {tuned_blocks:,} blocks, and true everywhere.

- **Blocks.** Slow answers come in runs: pairing removes what both variants share, blocks of time
  answer the rest. Their length is fixed when the test starts; one that is chosen by looking at the
  data makes the intervals wrong. The typical slow-down weighs each pair the same, so that a shadow
  that is slow when there is much to do does not hide behind quiet times; fractions of errors weigh
  each block the same, and are inconclusive where that contradicts what all pairs say.
- **What is still open.** A pair is there when both answers are, so that the slow ones come last:
  figures of what came so far would be too good. Each router says every second up to when all its
  requests are through, and what is judged is of pairs from before that, at the schedule's end too.
  The report says up to when; counts of pairs are of all. Once a test is over, all of it is judged.
- **What is missing** is missing because the shadow was slow. A passed deadline is an error, and
  enters the typical slow-down at the deadline; a quantile that falls among those that passed it has
  no upper bound. Latencies are of pairs whose production answer is 2xx; other errors of the shadow
  enter the error rate only. Above {most_dropped:.0%} of copies dropped there is no verdict.
- **Noise.** Where a share of requests is answered by production twice, disagreement is that of the
  shadow less that of production with itself. A path at which production differs from itself more
  often than not is noise: it is left out of both, and listed. That is right at alpha
  {noise_alpha:g} for each path by itself, beside the alpha of the rules.
- **What cannot be known** is `inconclusive`, with the reason: no pairs, too few blocks, ratios that
  are all the same. Numbers that are NaN or infinite are counted, and widen the median's interval as
  if they were the least and the greatest.

## The verdict

| rule | default margin |
|---|---|
| typical slow-down | at most {slow_down:g} |
| error rate | at most {error_rate:.1%} of answers worse |
| disagreement, above noise | at most {disagreement:.0%} |
| p99 | at most {p99:g}; may stay open, since its interval is wide for tens of thousands of pairs |

A rule is *met* when its whole interval is within the margin, *broken* when all of it is beyond, and
*open* otherwise. Alpha ({alpha:g}) is split evenly among the rules, so that with probability
{confidence:.0%} none is ever wrongly met or broken, as long as what its measure assumes holds:
independent pairs, or blocks that are longer than runs. Settings that change in mid-test begin with
a fresh alpha: over all of them together it is spent as often.

`not_ready`: a rule is broken. `ready`: every rule that must be is met, and at least one is.
`undecided` otherwise, and always with fewer than {least_pairs:,} pairs,
above {most_dropped:.0%} of copies dropped, or where a busy machine held the shadow back and no
other rule is broken. For an open rule the report estimates how many more pairs settle it: what is
measured now is taken for the truth, so that it is a guess, and none is made from fewer than 100
pairs, from fewer than 30 blocks where a rule rests on blocks, or for an estimate that is too near
its margin.
"""

_CALIBRATION = """
## Calibration

{runs:,} experiments of {pairs:,} pairs each, without a true difference, looked at after every pair
(from the first on; the t-test from the 100th) or after every block of {per_block} pairs. The share
of experiments in which the truth was ever excluded is to be at most 5 %; a simulation passes up to
three standard errors above ({bound:.2%}). What is in brackets is outside of the method's
conditions: it is shown, and not held to the bound. Rows of two sequences count if either excludes
its own truth. A quantile's sequence depends on ranks only, so that the first three processes are
one to it. Uneven blocks: one in ten has a hundred pairs, and a shadow that takes 1.5 times as long;
the others have one pair. Blocks of one pair: one shadow in a hundred is at a deadline of 1,000
times what is usual. Looked at from 100 such blocks on, the truth was excluded in 18 % of
experiments; so it takes {least_ratios:,} pairs. At the alpha of one rule in four (1.25 %) it was
in 2.4 % of 800, which is above: where as many shadows time out and blocks hold one pair or two, an
early interval is somewhat too narrow.
"""

_PROCESSES = "\nThe processes, by the log ratios (or by what decides on an error):\n"

_POWER = """
## What watching costs

Pairs until the interval excludes that there is no difference (independent pairs, alpha 5 %,
{per_block} pairs a block), beside a test of fixed size that knew the sample size beforehand and is
looked at once.

| true difference | half of all experiments | four in five | fixed size, four in five |
|---|---|---|---|
"""


def drawn(calibrations: list[Calibration], powers: list[Power]) -> str:
    """The whole document with these figures."""
    settings = AnalysisSettings()
    rules = settings.rules
    assert rules.error_rate is not None
    methods = "\n".join(f"| {' | '.join(row)} |" for row in _METHODS)
    parts = [
        _HEAD.format(
            pairs=_PAIRS,
            methods=methods.format(
                block_s=settings.block_s,
                least_blocks=measures.LEAST_BLOCKS,
                least_ratios=measures.LEAST_RATIOS,
            ),
            tuned_pairs=sequences.TUNED_FOR_PAIRS,
            tuned_blocks=sequences.TUNED_FOR_BLOCKS,
            most_dropped=rules.most_dropped,
            noise_alpha=measures.NOISE_ALPHA,
            slow_down=rules.slow_down,
            error_rate=rules.error_rate,
            disagreement=rules.disagreement,
            p99=rules.p99,
            alpha=settings.alpha,
            confidence=1 - settings.alpha,
            least_pairs=rules.least_pairs,
        ),
        _CALIBRATION.format(
            runs=_RUNS,
            pairs=_PAIRS,
            per_block=simulate.PAIRS_PER_BLOCK,
            bound=simulate.bound(_RUNS),
            least_ratios=measures.LEAST_RATIOS,
        ),
        _table("The sequences:", calibrations, lambda found: found.false_exclusions),
        _table("A t-test with the same looks:", calibrations, lambda found: found.t_test),
        _PROCESSES,
        *(f"\n- *{name}*: {said}" for name, said in simulate.PROCESSES.items()),
        "\n",
        _POWER.format(per_block=simulate.PAIRS_PER_BLOCK),
        *(
            f"| {power.what} | {power.half:,} | {power.four_fifths:,} | {power.fixed_size:,} |\n"
            for power in powers
        ),
    ]
    return "".join(parts)


def _table(title: str, calibrations: list[Calibration], figure: _Figure) -> str:
    rows: dict[str, list[str]] = {}
    for found in calibrations:
        share = f"{figure(found):.1%}"
        rows.setdefault(found.measure, []).append(share if found.is_gated else f"({share})")
    lines = [
        f"\n{title}\n",
        f"| measure | {' | '.join(simulate.PROCESSES)} |",
        "|---|" + "---|" * len(simulate.PROCESSES),
        *(f"| {measure} | {' | '.join(shares)} |" for measure, shares in rows.items()),
    ]
    return "\n".join(lines) + "\n"


def simulated(runs: int, pairs: int, power_runs: int) -> str:
    """The document with figures from so many experiments."""
    calibrations = [
        found
        for process in simulate.PROCESSES
        for found in simulate.calibrate(process, runs, pairs, _SEED)
    ]
    return drawn(calibrations, simulate.power(power_runs, _SEED))


if __name__ == "__main__":
    _DOCUMENT.write_text(simulated(_RUNS, _PAIRS, _POWER_RUNS))
