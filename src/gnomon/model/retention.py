"""How finely metrics are kept at which age. The defaults are CloudWatch's own (CloudWatch User
Guide, "Metrics retention"); the days are settings.
"""

from __future__ import annotations

from gnomon.settings import MetricSettings

DAY_S = 86_400
# Minutes of the coarser periods.
FIVE = 5
HOUR = 60


def step_minutes(kept: MetricSettings, age_s: float) -> int:
    """Of how many minutes the periods are that are kept of data of this age."""
    if age_s <= kept.minute_days * DAY_S:
        return 1
    return FIVE if age_s <= kept.five_minute_days * DAY_S else HOUR


def kept_s(kept: MetricSettings, period_minutes: int) -> float:
    """For how long there is data for periods of so many minutes."""
    if period_minutes % HOUR == 0:
        return kept.hour_days * DAY_S
    days = kept.minute_days if period_minutes % FIVE else kept.five_minute_days
    return days * DAY_S
