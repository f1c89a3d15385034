"""Tables of the state database: what is desired, and what runs. Control writes it, alone.

Structured members are JSON text of the msgspec types in `gnomon.model`. Times are epoch seconds: of
the machine's clock where people see or set them, of steady time (`gnomon.model.clock`) where
control measures from them, as those of instances and `changing_since_s`.
Names are unique without regard to case (`name_key`) and kept as given (`name`).
"""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)
from sqlalchemy.schema import SchemaItem

metadata = MetaData()


def _named(name: str, *columns: SchemaItem) -> Table:
    return Table(
        name,
        metadata,
        Column("id", String(26), primary_key=True),
        Column("name", String(256), nullable=False),
        Column("name_key", String(256), nullable=False, unique=True),
        Column("arn", String(512), nullable=False),
        Column("created_at_s", Float, nullable=False),
        Column("tags", Text, nullable=False),
        *columns,
    )


def _listed_by_status(name: str) -> tuple[Index, ...]:
    """What a List operation sorts by; each has all that it filters by, so that a filter which few
    rows pass reads no rows.
    """
    return (
        Index(f"{name}_by_creation", "created_at_s", "id", "status", "name_key", "modified_at_s"),
        Index(f"{name}_by_status", "status", "created_at_s", "id", "name_key", "modified_at_s"),
        Index(f"{name}_by_name", "name_key", "id", "status", "created_at_s", "modified_at_s"),
    )


models = _named(
    "models",
    Column("request", Text, nullable=False),
    Index("models_by_creation", "created_at_s", "id", "name_key"),
)

endpoint_configs = _named(
    "endpoint_configs",
    Column("request", Text, nullable=False),
    # Empty for a user's own; else the experiment that made it and removes it.
    Column("experiment_id", String(26), nullable=False),
    Index("endpoint_configs_by_creation", "created_at_s", "id", "name_key"),
    Index("endpoint_configs_by_experiment", "experiment_id"),
)

endpoints = _named(
    "endpoints",
    Column("modified_at_s", Float, nullable=False),
    Column("status", String(16), nullable=False),
    Column("failure_reason", Text, nullable=False),
    # EndpointSpec: what is wanted, and what served last (null until it first did).
    Column("desired", Text, nullable=False),
    Column("serving", Text),
    # When the change under way began: failures before it are not its own.
    Column("changing_since_s", Float, nullable=False),
    # The DeploymentConfig as it was last given.
    Column("deployment", Text),
    # How many instances `desired` has.
    Column("wanted", Integer, nullable=False, server_default="0"),
    *_listed_by_status("endpoints"),
)

instances = Table(
    "instances",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("endpoint_id", String(26), nullable=False),
    Column("endpoint_name", String(256), nullable=False),
    Column("variant_id", String(26), nullable=False),
    Column("variant_name", String(256), nullable=False),
    Column("fingerprint", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("ended_at_s", Float),
    # VariantSpec that it was started for.
    Column("spec", Text, nullable=False),
    # snapshot.Instance, once its address is known.
    Column("address", Text),
    # The snapshot version from which on no router is told of it; null while it may take traffic.
    Column("left_version", Integer),
    # Whether it has a lower CPU weight.
    Column("light", Boolean, nullable=False, server_default=false()),
    Index("instances_by_endpoint", "endpoint_id", "status"),
    Index("instances_by_status", "status", "endpoint_id"),
    Index("instances_by_name", "endpoint_name", "variant_name", "endpoint_id", "variant_id"),
)

experiments = _named(
    "experiments",
    Column("modified_at_s", Float, nullable=False),
    Column("status", String(16), nullable=False),
    Column("status_reason", Text, nullable=False),
    Column("endpoint_name", String(256), nullable=False),
    Column("endpoint_id", String(26), nullable=False),
    # ExperimentPlan (gnomon.model.experiment).
    Column("plan", Text, nullable=False),
    Column("completed_at_s", Float),
    # From when on control has to look at it; null when it has ended.
    Column("due_at_s", Float),
    *_listed_by_status("experiments"),
    Index("experiments_by_due", "due_at_s"),
    Index("experiments_by_endpoint", "endpoint_id", "status"),
)

captures = Table(
    "captures",
    metadata,
    Column("id", String(26), primary_key=True),
    # CaptureDefinition
    Column("definition", Text, nullable=False),
)

# What routers are told: one row an endpoint; a null entry is a tombstone.
routes = Table(
    "routes",
    metadata,
    Column("endpoint_id", String(26), primary_key=True),
    Column("version", Integer, nullable=False, index=True),
    Column("entry", LargeBinary),
)

# One row: the global version that never goes back.
route_version = Table(
    "route_version",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
)

incarnations = Table(
    "incarnations",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("slot", Integer, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("start_time", Float, nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("first_seen_s", Float, nullable=False),
    Column("dead_since_s", Float),
    Column("gone", Boolean, nullable=False),
)

# How far steady time is ahead of the monotonic clock, for each run of the machine.
boots = Table(
    "boots",
    metadata,
    Column("boot_id", String(64), primary_key=True),
    Column("steady_offset_s", Float, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("at_s", Float, nullable=False),
    # The same moment in steady time: durations are between these.
    Column("steady_s", Float, nullable=False, server_default="0", index=True),
    Column("kind", String(32), nullable=False),
    Column("object_id", String(26), nullable=False, index=True),
    Column("name", String(256), nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("reason", Text, nullable=False),
)

# How experiments are judged that have settings of their own.
analyses = Table(
    "analyses",
    metadata,
    Column("experiment_id", String(26), primary_key=True),
    Column("id", String(26), nullable=False),
    Column("since_s", Float),
    # AnalysisSettings and Guardrails (gnomon.model.analysis).
    Column("settings", Text, nullable=False),
    Column("guardrails", Text, nullable=False),
)
