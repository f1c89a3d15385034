"""What a user says of how an experiment is to be judged, where AWS's API has no field.

`gnomon.stats` judges by it. All of it is fixed when the test starts: a block length or a margin
chosen by looking at the figures would make the intervals untrue.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Annotated, Literal

import msgspec

from gnomon.errors import SettingsError
from gnomon.settings import AnalysisDefaults

Task = Literal["classification", "regression", "generic"]
# Comparators that need no name of their own: that of `[analysis] comparator`, Gnomon's where there
# is none; and Gnomon's in any case.
DEFAULT_COMPARATOR = "default"
OWN_COMPARATOR = "gnomon"
NAMELESS = (DEFAULT_COMPARATOR, OWN_COMPARATOR)

# Bounds keep infinities, and what numerics cannot work with, out; nobody means what is beyond.
_Tolerance = Annotated[float, msgspec.Meta(ge=0, le=1e300)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
# The rules that may be left out, as `Rules` has them.
RULES = ("slow_down", "error_rate", "disagreement", "p99")
_Factor = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]


class ComparisonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When two bodies say the same.

    Numbers are equal within either tolerance. `ignored_paths` are JSON pointers with `*` for any
    one part (`/predictions/*/id`), or `column 3` for CSV; what lies beneath one is ignored too.
    """

    absolute_tolerance: _Tolerance = 0.0
    relative_tolerance: _Tolerance = 0.0
    list_order: Literal["kept", "any"] = "kept"
    ignored_paths: tuple[str, ...] = ()
    text: Literal["normalised", "exact"] = "normalised"


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Margins of the verdict; None leaves a rule out. Shares are between 0 and 1.

    `slow_down` and `p99` are factors, shadow by production; `error_rate` is how much worse the
    shadow's may be, `disagreement` how much of it beyond noise. `p99` may stay open.
    """

    slow_down: _Factor | None = 1.10
    error_rate: _Share | None = 0.001
    disagreement: _Share | None = 0.05
    p99: _Factor | None = 1.25
    least_pairs: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000_000)] = 1_000
    most_dropped: _Share = 0.01


class AnalysisSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`task` None: detected from the answers. `alpha` is shared out among the rules.

    `dependence` says what rates rest on: independent pairs, or blocks of `block_s` seconds. The
    typical slow-down always rests on blocks. `noise_share` of production's requests are answered
    by production twice. `comparator` is the name of a function in the settings, or one of NAMELESS.
    """

    comparison: ComparisonSettings = ComparisonSettings()
    rules: Rules = Rules()
    task: Task | None = None
    dependence: Literal["pairs", "blocks"] = "pairs"
    block_s: Annotated[float, msgspec.Meta(ge=0.001, le=3_600)] = 1.0
    alpha: Annotated[float, msgspec.Meta(ge=1e-9, lt=0.5)] = 0.05
    noise_share: _Share = 0.0
    comparator: str = DEFAULT_COMPARATOR


class Guardrails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Gnomon does of its own accord: nothing, unless it is told to.

    `stop_when_broken` ends a running test as soon as its verdict is not_ready, and removes the
    shadow; `promote_when_ready` promotes the shadow at the schedule's end if the verdict is ready.
    """

    stop_when_broken: bool = False
    promote_when_ready: bool = False


class AnalysisRecord(msgspec.Struct, frozen=True):
    """How one experiment is judged. Pairs are counted by `id`: other settings, another id, and the
    counts begin anew. `since_s` is when that was, None for from the test's start.
    """

    experiment_id: str
    id: str
    since_s: float | None
    settings: AnalysisSettings
    guardrails: Guardrails


def default_settings(given: AnalysisDefaults) -> AnalysisSettings:
    """The settings of experiments that have none of their own. Raises SettingsError."""
    values = asdict(given)
    # Functions are the collector's; experiments know them by name.
    del values["comparator"], values["comparators"]
    for name in Guardrails.__struct_fields__:
        del values[name]
    if given.task == "detect":
        values["task"] = None
    left_out = values.pop("rules_left_out")
    if unknown := sorted(set(left_out) - set(RULES)):
        raise SettingsError(
            f"[analysis] rules_left_out names {unknown[0]}; the rules are {', '.join(RULES)}."
        )
    rules = {name: values.pop(name) for name in Rules.__struct_fields__ if name in values}
    tolerances = {
        name: values.pop(name) for name in ComparisonSettings.__struct_fields__ if name in values
    }
    rules.update(dict.fromkeys(left_out))
    try:
        return msgspec.convert(
            {**values, "rules": rules, "comparison": tolerances}, AnalysisSettings
        )
    except msgspec.ValidationError as error:
        raise SettingsError(f"[analysis] cannot be used: {error}.") from error


def default_guardrails(given: AnalysisDefaults) -> Guardrails:
    """The guardrails of experiments that have none of their own."""
    return Guardrails(given.stop_when_broken, given.promote_when_ready)


def default_record(
    experiment_id: str, settings: AnalysisSettings, guardrails: Guardrails
) -> AnalysisRecord:
    """The record of an experiment that has none; its id changes with the settings."""
    digest = hashlib.sha256(msgspec.json.encode(settings)).hexdigest()[:16]
    return AnalysisRecord(experiment_id, f"default-{digest}", None, settings, guardrails)
