"""Tables of the telemetry database: what routers saw. The collector writes it, alone.

Rows carry internal ids; an empty id stands for none. Times are epoch seconds, `minute` is epoch
seconds / 60. No payload is kept here. Its counterpart is `migrations/telemetry`.
"""

from __future__ import annotations

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

# What was counted, by name (`gnomon.model.metric`).
metric_counts = Table(
    "metric_counts",
    metadata,
    Column("endpoint_id", String, nullable=False),
    Column("minute", Integer, nullable=False),
    Column("variant_id", String, nullable=False),
    Column("instance_id", String, nullable=False),
    Column("experiment_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("value", Float, nullable=False),
    # As CloudWatch asks: one metric of one variant over a time.
    PrimaryKeyConstraint(
        "endpoint_id", "name", "variant_id", "minute", "instance_id", "experiment_id"
    ),
    Index("metric_counts_by_experiment", "experiment_id", "minute"),
    Index("metric_counts_by_minute", "minute"),
)

# Latencies; `counts` is the MessagePack of bucket to count (`gnomon.stats.histogram`).
metric_histograms = Table(
    "metric_histograms",
    metadata,
    Column("endpoint_id", String, nullable=False),
    Column("minute", Integer, nullable=False),
    Column("variant_id", String, nullable=False),
    Column("instance_id", String, nullable=False),
    Column("experiment_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("counts", LargeBinary, nullable=False),
    PrimaryKeyConstraint(
        "endpoint_id", "name", "variant_id", "minute", "instance_id", "experiment_id"
    ),
    Index("metric_histograms_by_experiment", "experiment_id", "minute"),
    Index("metric_histograms_by_minute", "minute"),
)

# The same without minutes, instances and experiments: since the endpoint was made, never less.
metric_totals = Table(
    "metric_totals",
    metadata,
    Column("endpoint_id", String, nullable=False),
    Column("variant_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("value", Float, nullable=False),
    PrimaryKeyConstraint("endpoint_id", "variant_id", "name"),
)
histogram_totals = Table(
    "histogram_totals",
    metadata,
    Column("endpoint_id", String, nullable=False),
    Column("variant_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("counts", LargeBinary, nullable=False),
    PrimaryKeyConstraint("endpoint_id", "variant_id", "name"),
)

# Both answers to one mirrored request. A status of 0 is no answer, and the failure says why.
# `same` is null where it cannot be known; `difference` says why not, or why they differ.
pairs = Table(
    "pairs",
    metadata,
    Column("experiment_id", String, nullable=False),
    Column("event_id", String, nullable=False),
    Column("endpoint_id", String, nullable=False),
    Column("at_s", Float, nullable=False),
    Column("production_variant_id", String, nullable=False),
    Column("shadow_variant_id", String, nullable=False),
    Column("production_instance_id", String, nullable=False),
    Column("shadow_instance_id", String, nullable=False),
    Column("production_status", Integer, nullable=False),
    Column("shadow_status", Integer, nullable=False),
    Column("production_failure", String, nullable=False),
    Column("shadow_failure", String, nullable=False),
    Column("production_latency_us", BigInteger, nullable=False),
    Column("shadow_latency_us", BigInteger, nullable=False),
    Column("production_body_bytes", BigInteger, nullable=False),
    Column("shadow_body_bytes", BigInteger, nullable=False),
    Column("same", Boolean, nullable=True),
    Column("difference", String, nullable=False),
    PrimaryKeyConstraint("experiment_id", "event_id"),
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

# Dead incarnations that are read to their end: each has reached every barrier. One that did not
# end in order was cut off, and what it had not written is missing.
finished_incarnations = Table(
    "finished_incarnations",
    metadata,
    Column("incarnation_id", String, primary_key=True),
    Column("at_s", Float, nullable=False),
    Column("cut_off_at_s", Float, nullable=True),
)
