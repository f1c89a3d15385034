"""Tables of the telemetry database: what routers saw. The collector writes it, alone.

Rows carry internal ids; an empty id stands for none. Times are epoch seconds, `minute` is epoch
seconds / 60. No payload is kept here. Its counterpart is `migrations/telemetry`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
)

metadata = MetaData()


def _of_minutes(name: str, value: Column[Any]) -> Table:
    """What was measured in one minute for one variant on one instance, under one name."""
    return Table(
        name,
        metadata,
        Column("endpoint_id", String, nullable=False),
        Column("minute", Integer, nullable=False),
        Column("variant_id", String, nullable=False),
        Column("instance_id", String, nullable=False),
        Column("experiment_id", String, nullable=False),
        Column("name", String, nullable=False),
        value,
        # As CloudWatch asks: one metric of one variant over a time.
        PrimaryKeyConstraint(
            "endpoint_id", "name", "variant_id", "minute", "instance_id", "experiment_id"
        ),
        Index(f"{name}_by_experiment", "experiment_id", "minute"),
        Index(f"{name}_by_minute", "minute"),
    )


def _of_all_time(name: str, value: Column[Any]) -> Table:
    """The same since the endpoint was made, never less."""
    return Table(
        name,
        metadata,
        Column("endpoint_id", String, nullable=False),
        Column("variant_id", String, nullable=False),
        Column("name", String, nullable=False),
        value,
        PrimaryKeyConstraint("endpoint_id", "variant_id", "name"),
    )


# What was counted, by name (`gnomon.model.metric`).
metric_counts = _of_minutes("metric_counts", Column("value", Float, nullable=False))
metric_totals = _of_all_time("metric_totals", Column("value", Float, nullable=False))
# What was measured: `counts` is the MessagePack of bucket to count (`gnomon.stats.histogram`).
metric_histograms = _of_minutes("metric_histograms", Column("counts", LargeBinary, nullable=False))
histogram_totals = _of_all_time("histogram_totals", Column("counts", LargeBinary, nullable=False))

# Sums of `metric_histograms` over the hour that begins with `minute`, of all instances and
# experiments, for every hour before the minute of `rolled_up`, which has one row (`roll_ups`).
histogram_hours = Table(
    "histogram_hours",
    metadata,
    Column("endpoint_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("variant_id", String, nullable=False),
    Column("minute", Integer, nullable=False),
    Column("counts", LargeBinary, nullable=False),
    PrimaryKeyConstraint("endpoint_id", "name", "variant_id", "minute"),
    Index("histogram_hours_by_minute", "minute"),
)
rolled_up = Table(
    "rolled_up",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("before_minute", Integer, nullable=False),
)

# All that is kept of an experiment's complete blocks, as one of its analyses counts them
# (`gnomon.stats.state`), and what its complete blocks were as time
# went by.
pair_states = Table(
    "pair_states",
    metadata,
    Column("experiment_id", String, nullable=False),
    Column("analysis_id", String, nullable=False),
    Column("state", LargeBinary, nullable=False),
    PrimaryKeyConstraint("experiment_id", "analysis_id"),
)
# Pairs from before `ends_us` (epoch microseconds) that may still get company: a router has requests
# open that came as early. Once none has, they are added to the above.
pair_parts = Table(
    "pair_parts",
    metadata,
    Column("experiment_id", String, nullable=False),
    Column("analysis_id", String, nullable=False),
    Column("ends_us", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
    PrimaryKeyConstraint("experiment_id", "analysis_id", "ends_us"),
)
pair_progress = Table(
    "pair_progress",
    metadata,
    Column("experiment_id", String, nullable=False),
    Column("analysis_id", String, nullable=False),
    Column("at_s", Float, nullable=False),
    Column("pairs", BigInteger, nullable=False),
    Column("blocks", LargeBinary, nullable=False),
    PrimaryKeyConstraint("experiment_id", "analysis_id", "at_s"),
)
# Where an experiment's labels are kept as keyed hashes: what the key is derived from, wrapped under
# a KMS key (`gnomon.collector.labels`).
label_keys = Table(
    "label_keys",
    metadata,
    Column("experiment_id", String, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
)

# Which incarnation has said all that it has to say of what the barrier ends.
barriers = Table(
    "barriers",
    metadata,
    Column("barrier_id", String, nullable=False),
    Column("incarnation_id", String, nullable=False),
    Column("at_s", Float, nullable=False),
    PrimaryKeyConstraint("barrier_id", "incarnation_id"),
)

# How far each segment of the spool has been read into the tables above (`offset`, bytes), and
# whether its captured objects are written. A row goes once its segment is gone.
spool_positions = Table(
    "spool_positions",
    metadata,
    Column("incarnation_id", String, nullable=False),
    Column("segment", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("objects_done", Boolean, nullable=False),
    PrimaryKeyConstraint("incarnation_id", "segment"),
)

# Segments whose last bytes were no whole frame: a router was killed while it wrote, or the power
# was cut. `at_s` is when it was written last.
torn_segments = Table(
    "torn_segments",
    metadata,
    Column("incarnation_id", String, nullable=False),
    Column("segment", Integer, nullable=False),
    Column("at_s", Float, nullable=False),
    Column("torn_bytes", BigInteger, nullable=False),
    PrimaryKeyConstraint("incarnation_id", "segment"),
)

# Captures of which an incarnation's spool still has objects that their destination does not take:
# its barriers say nothing of them. All else that stands before a barrier is in.
unwritten_captures = Table(
    "unwritten_captures",
    metadata,
    Column("incarnation_id", String, nullable=False),
    Column("capture_id", String, nullable=False),
    PrimaryKeyConstraint("incarnation_id", "capture_id"),
)

# Dead incarnations that are read to their end: each has reached every barrier. One that did not
# end in order was cut off, and what it had not written is missing.
finished_incarnations = Table(
    "finished_incarnations",
    metadata,
    Column("incarnation_id", String, primary_key=True),
    Column("at_s", Float, nullable=False),
    Column("cut_off_at_s", Float, nullable=True),
)
