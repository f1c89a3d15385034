"""No number that the statistics cannot work with comes in, by whichever way."""

import msgspec
import pytest

from gnomon.errors import SettingsError
from gnomon.model.analysis import AnalysisSettings, default_settings
from gnomon.settings import AnalysisDefaults
from gnomon.stats.analysis import summarise
from gnomon.stats.comparators import Comparison
from gnomon.stats.state import PairState, decode, encode
from gnomon.stats.verdict import Circumstances
from gnomon.testing.frames import pair

NAN, INFINITY = float("nan"), float("inf")
BEYOND = {
    "block_s": (0, 1e-7, 3_600.1, 1e18, 1e308),
    "alpha": (0, 5e-324, 0.5, 1),
    "slow_down": (0, -1, 1e308),
    "p99": (0, -1, 1e308),
    "error_rate": (-0.1, 1.1),
    "disagreement": (-0.1, 1.1),
    "least_pairs": (0, -1, 10**30),
    "most_dropped": (-0.1, 1.1),
    "noise_share": (-0.1, 1.1),
    "absolute_tolerance": (-1, 1e301),
    "relative_tolerance": (-1, 1e301),
}
RULES = {"slow_down", "p99", "error_rate", "disagreement", "least_pairs", "most_dropped"}
LEAST = {"block_s": 0.001, "alpha": 1e-9, "slow_down": 1e-300, "p99": 1e-300, "least_pairs": 1}
MOST = {
    "block_s": 3_600,
    "alpha": 0.499,
    "slow_down": 1e6,
    "p99": 1e6,
    "least_pairs": 10**12,
    "absolute_tolerance": 1e300,
    "relative_tolerance": 1e300,
}


def settings_of(name, value):
    at = {name: value}
    if name in RULES:
        at = {"rules": at}
    elif name.endswith("tolerance"):
        at = {"comparison": at}
    return msgspec.convert(at, AnalysisSettings)


@pytest.mark.parametrize("name", BEYOND)
def test_numbers_beyond_their_bounds_are_refused(name):
    for value in (*BEYOND[name], NAN, INFINITY, -INFINITY):
        with pytest.raises(msgspec.ValidationError):
            settings_of(name, value)
        if hasattr(AnalysisDefaults(), name):
            with pytest.raises(SettingsError, match="analysis"):
                default_settings(AnalysisDefaults(**{name: value}))


@pytest.mark.parametrize("name", BEYOND)
@pytest.mark.parametrize("bounds", [LEAST, MOST])
def test_with_the_outermost_numbers_pairs_are_kept_and_judged(name, bounds):
    settings = settings_of(name, bounds.get(name, int(bounds is MOST)))
    state = PairState(block_us=round(settings.block_s * 1e6))
    for number in range(200):
        found = Comparison(False, "body", ("/a",), 1.0) if number % 3 else Comparison(same=True)
        state.add(pair(f"event-{number}", at_s=1e9 + number), found)
    whole = decode(encode(state))
    assert summarise(whole, settings, Circumstances(200, 0, seconds=200.0)).pairs == 200


def test_settings_leave_rules_out_by_name():
    left = default_settings(AnalysisDefaults(rules_left_out=("p99", "disagreement"))).rules
    assert (left.p99, left.disagreement, left.slow_down) == (None, None, 1.1)
    with pytest.raises(SettingsError, match="names p98; the rules are slow_down"):
        default_settings(AnalysisDefaults(rules_left_out=("p98",)))
