"""Every setting, as one frozen dataclass a package, with its default.

Where their values come from is in `gnomon.settings_reading`.
Sizes are bytes, times are seconds, unless a name says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

KIB = 1024
MIB = 1024 * KIB

LogLevel = Literal["debug", "info", "warning", "error"]

# The highest port of TCP.
_PORT = {"most": 65_535}
# No error shows what was given for it.
_SECRET = {"is_secret": True}


@dataclass(frozen=True)
class ServerSettings:
    """Where Gnomon listens. It refuses anything but loopback while it has no authentication."""

    host: str = "127.0.0.1"
    port: int = field(default=8500, metadata=_PORT)
    control_port: int = field(default=8501, metadata=_PORT)
    # 0 means max(1, cores / 4): models keep the machine.
    routers: int = 0
    # Each router's own /metrics: router n listens on this port + n; 0 means none does.
    metrics_port: int = field(default=0, metadata=_PORT)
    log_level: LogLevel = "info"


@dataclass(frozen=True)
class TlsSettings:
    """What both listeners speak TLS with. Paths, from the data directory on unless absolute."""

    # The certificate and what it was issued by, in PEM; empty: no TLS.
    certificate_file: str = ""
    key_file: str = ""
    # What clients verify the certificate by, for `gnomon env`; empty: they know it without.
    ca_file: str = ""


@dataclass(frozen=True)
class AwsSettings:
    """What AWS would know of the caller."""

    account_id: str = "000000000000"
    # Used when a request carries no credential scope to take the region from.
    region: str = "us-east-1"


@dataclass(frozen=True)
class ObjectsSettings:
    """Where model archives and captured objects lie."""

    # A directory of the data directory; S3, or what speaks like it; a SeaweedFS that `gnomon up`
    # runs beside.
    store: Literal["directory", "s3", "seaweedfs"] = "directory"
    # Empty: AWS's.
    endpoint: str = ""
    # Empty: that of [aws].
    region: str = ""
    # Empty: as every AWS tool finds them.
    access_key_id: str = ""
    secret_access_key: str = field(default="", metadata=_SECRET)
    profile: str = ""
    # auto: by path at an endpoint of one's own, by host name at AWS.
    addressing: Literal["auto", "path", "virtual"] = "auto"
    # How a KMS key protects captured objects: by the store itself, or before they reach it. A
    # directory and SeaweedFS have no keys, so that there it is always the latter.
    encryption: Literal["sse-kms", "envelope"] = "sse-kms"
    # Where SeaweedFS listens.
    port: int = field(default=8333, metadata=_PORT)


@dataclass(frozen=True)
class KeysSettings:
    """Which key service knows the KMS keys that requests name."""

    # local: keys of this data directory (`gnomon keys`); aws: AWS KMS, or what speaks like it.
    service: Literal["local", "aws"] = "local"
    # Empty: AWS's.
    endpoint: str = ""
    # Whose credentials; empty: as every AWS tool finds them.
    profile: str = ""


@dataclass(frozen=True)
class RoleCredentials:
    """Whose credentials a role has; all empty: those that every AWS tool would find."""

    access_key_id: str = ""
    secret_access_key: str = field(default="", metadata=_SECRET)
    profile: str = ""
    # Where these assume the role (STS); empty: they are the role's own.
    sts_endpoint: str = ""


@dataclass(frozen=True)
class RoleSettings:
    """What the roles that requests name may use (`gnomon.objects.role_settings` checks it)."""

    # Whether the roles below are all there are; else any may use the stores that are configured.
    strict: bool = False
    # By the role's ARN.
    credentials: Mapping[str, RoleCredentials] = field(default_factory=dict)


@dataclass(frozen=True)
class RouterSettings:
    """Bounds of the data plane. The defaults of the mirror's budget are DESIGN.md's rule 1."""

    # AWS says 25 MB of the live service (its API model says 6 MiB).
    max_body_bytes: int = 25 * MIB
    # Production's answers, and control's, are held whole until they are passed on.
    max_answer_bytes: int = 100 * MIB
    max_head_bytes: int = 64 * KIB
    head_time_limit_s: float = 30.0
    body_time_limit_s: float = 60.0
    idle_time_limit_s: float = 75.0
    # A client that takes nothing of its answer for so long is given up.
    answer_time_limit_s: float = 60.0
    # SageMaker gives a model 60 s to answer.
    model_time_limit_s: float = 60.0
    # A streamed answer, from its head to its end; SageMaker gives it 8 minutes.
    stream_time_limit_s: float = 480.0
    # SageMaker wants a socket accepted within 250 ms.
    connect_time_limit_s: float = 0.25
    mirror_max_in_flight: int = 1024
    mirror_endpoint_bytes: int = 64 * MIB
    mirror_router_bytes: int = 256 * MIB
    mirror_read_bytes_per_s: int = 64 * MIB
    # A shadow answer longer than this is cut and counted.
    mirror_max_answer_bytes: int = 25 * MIB
    # Of each answer, this much goes into a pair; the rest is known by length and hash.
    pair_body_bytes: int = 64 * KIB
    # An idle pooled connection to an instance is reused for this long at most.
    pool_idle_s: float = 1.0
    max_connections_per_instance: int = 512
    # The part (0 to 1) of the requests that the log has a line for.
    access_log_share: float = field(default=0.0, metadata={"most": 1})
    # How long a draining router waits for idle kept-alive connections.
    drain_idle_s: float = 5.0


@dataclass(frozen=True)
class SpoolSettings:
    """Bounds of the spool between router and collector (DESIGN.md, Spool)."""

    buffer_bytes: int = 32 * MIB
    segment_bytes: int = 64 * MIB
    segment_age_s: float = 60.0
    flush_interval_s: float = 0.1
    # When what is written is made safe from a power cut, too: with each batch, when a segment is
    # closed, or whenever the machine does it.
    fsync: Literal["never", "segment", "batch"] = "never"
    # What one incarnation's directory may hold: past it the disk belongs to others.
    max_bytes: int = 4096 * MIB
    # What is left free on the data directory's disk for what must go on: below it captures are
    # dropped and nothing new begins, below half of it pairs are dropped. Half of it is four
    # segments, and far more than databases, metrics and logs want in a day.
    min_free_bytes: int = 512 * MIB


@dataclass(frozen=True)
class MetricSettings:
    """For how long metrics are kept, and how finely: as CloudWatch does."""

    # Days for which periods of a minute are kept, then of five, then of an hour.
    minute_days: float = 15.0
    five_minute_days: float = 63.0
    hour_days: float = 455.0


@dataclass(frozen=True)
class AnalysisDefaults:
    """How experiments are judged that have no settings of their own (`gnomon.model.analysis`)."""

    # Margins of the rules: factors, shadow by production, and shares of answers.
    slow_down: float = 1.10
    error_rate: float = 0.001
    disagreement: float = 0.05
    p99: float = 1.25
    # Names of rules that no verdict needs.
    rules_left_out: tuple[str, ...] = ()
    # Fewer pairs, or a larger share of copies dropped, and there is no verdict.
    least_pairs: int = 1_000
    most_dropped: float = 0.01
    # The probability that any rule is ever wrongly met or broken.
    alpha: float = 0.05
    # What rates rest on: independent pairs, or blocks.
    dependence: Literal["pairs", "blocks"] = "pairs"
    # The typical slow-down rests on blocks of this length.
    block_s: float = 1.0
    # detect: from the answers.
    task: Literal["detect", "classification", "regression", "generic"] = "detect"
    # What Gnomon does of its own accord: end a test, and promote at its end.
    stop_when_broken: bool = False
    promote_when_ready: bool = False
    # A Python function that compares answers in the place of Gnomon, "/path/to/file.py:function".
    comparator: str = ""
    # Further ones, by the name that an experiment's analysis chooses one by.
    comparators: Mapping[str, str] = field(default_factory=dict)
    # Numbers are the same within either.
    absolute_tolerance: float = 0.0
    relative_tolerance: float = 0.0
    # Whether lists are the same in any order, and text only to the letter.
    list_order: Literal["kept", "any"] = "kept"
    text: Literal["normalised", "exact"] = "normalised"
    # JSON pointers with * for any one part, or "column 3".
    ignored_paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExternalSettings:
    """Servers that run already and answer for an image (`gnomon.hosting.servers` checks them)."""

    # Their base URLs, one for each instance that may be wanted.
    urls: tuple[str, ...] = ()
    # Paths behind each base URL.
    health: str = "/ping"
    invocations: str = "/invocations"
    # Set on every request to them, pings included.
    headers: Mapping[str, str] = field(default_factory=dict)
    # How long they keep an idle connection at least; nobody knows it of a foreign server.
    keep_alive_s: float = 1.0


@dataclass(frozen=True)
class HostingSettings:
    """How local instances are started and stopped (aws-compatible container contract)."""

    # Which interpreter runs Gnomon's model server; empty: the one that runs Gnomon.
    interpreter: str = ""
    # Threads each instance's numeric libraries may start; 0 means the vCPUs of its instance type,
    # at most max(1, cores / 2).
    threads: int = 0
    # What an instance may use of memory; 0 means that of its instance type.
    memory_limit_bytes: int = 0
    max_archive_bytes: int = 20 * 1024 * MIB
    max_archive_files: int = 100_000
    # A file system in memory, for what archives of variants with a KMS key unpack to.
    memory_directory: str = "/dev/shm"  # noqa: S108 - each Gnomon has a directory of its own there
    startup_time_limit_s: float = 480.0
    ping_time_limit_s: float = 2.0
    ping_interval_s: float = 2.0
    stop_time_limit_s: float = 30.0
    # Ports for foreign commands: below Linux' ephemeral range (32768) and Kubernetes' node ports
    # (30000), so that no outgoing connection and no service takes one.
    foreign_port_first: int = field(default=21_000, metadata=_PORT)
    foreign_port_last: int = field(default=29_999, metadata=_PORT)
    # A port rests this long before another instance gets it: twice TCP's TIME_WAIT on Linux, and
    # longer than any router keeps a connection or an old snapshot.
    foreign_port_rest_s: float = 120.0
    # Images beyond the built-in table: pattern (fnmatch) to command line.
    images: Mapping[str, str] = field(default_factory=dict)
    # Which Python runs the images that a pattern (fnmatch) matches, by Gnomon's model server.
    interpreters: Mapping[str, str] = field(default_factory=dict)
    # A directory of wheels, from which alone code/requirements.txt is then installed; empty: pip
    # asks wherever it is configured to.
    wheels: str = ""
    # For building what code/requirements.txt asks for: gigabytes over a slow line.
    environment_time_limit_s: float = 1800.0
    # Images that servers answer for which run already: pattern (fnmatch) to where they do.
    external: Mapping[str, ExternalSettings] = field(default_factory=dict)


@dataclass(frozen=True)
class QuotaSettings:
    """How much there may be at once: what passes them is answered ResourceLimitExceeded."""

    # 0 means no limit.
    endpoints: int = 0
    # Those that have not ended; 0 means no limit.
    experiments: int = 0
    # Instances by instance type; a type that is not named has no limit.
    instances: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """All settings of one Gnomon; `data_dir` is absolute."""

    data_dir: Path
    server: ServerSettings = ServerSettings()
    tls: TlsSettings = TlsSettings()
    aws: AwsSettings = AwsSettings()
    router: RouterSettings = RouterSettings()
    spool: SpoolSettings = SpoolSettings()
    hosting: HostingSettings = HostingSettings()
    quotas: QuotaSettings = QuotaSettings()
    objects: ObjectsSettings = ObjectsSettings()
    keys: KeysSettings = KeysSettings()
    roles: RoleSettings = RoleSettings()
    metrics: MetricSettings = MetricSettings()
    analysis: AnalysisDefaults = AnalysisDefaults()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
