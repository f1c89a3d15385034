"""Every setting, as one frozen dataclass a package; read once, by the entry points.

Sources, strongest first: command-line options, `GNOMON_<SECTION>_<NAME>` in the environment,
`gnomon.toml` (in the data directory, or named by GNOMON_CONFIG), the defaults here.
Sizes are bytes, times are seconds, unless a name says otherwise.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from gnomon.errors import SettingsError

KIB = 1024
MIB = 1024 * KIB

LogLevel = Literal["debug", "info", "warning", "error"]

# The highest port of TCP.
_PORT = {"most": 65_535}


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
    secret_access_key: str = ""
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
    # Fewer pairs, or a larger share of copies dropped, and there is no verdict.
    least_pairs: int = 1_000
    most_dropped: float = 0.01
    # The probability that any rule is ever wrongly met or broken.
    alpha: float = 0.05
    # The typical slow-down rests on blocks of this length.
    block_s: float = 1.0
    # A Python function that compares answers in the place of Gnomon, "/path/to/file.py:function".
    comparator: str = ""
    # Numbers are the same within either.
    absolute_tolerance: float = 0.0
    relative_tolerance: float = 0.0


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
    metrics: MetricSettings = MetricSettings()
    analysis: AnalysisDefaults = AnalysisDefaults()


def load(
    data_dir: Path,
    environ: Mapping[str, str],
    overrides: Mapping[str, Mapping[str, object]] | None = None,
) -> Settings:
    """Settings of the Gnomon in `data_dir`.

    `overrides` is what the command line said: section to name to value. Raises SettingsError for a
    name that does not exist or a value that it cannot have, naming where it stands. No number may
    be below 0.
    """
    data_dir = data_dir.resolve()
    named = environ.get("GNOMON_CONFIG")
    path = Path(named) if named else data_dir / "gnomon.toml"
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        if named:
            raise SettingsError(f"GNOMON_CONFIG names {path}, which does not exist.") from None
        document = {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error
    sections = {f.name: f for f in fields(Settings) if f.name != "data_dir"}
    for section in document:
        if section not in sections:
            raise SettingsError(
                f"{path} has a section [{section}] that Gnomon does not know; it knows "
                f"{', '.join(sections)}."
            )
    _refuse_unknown_variables(environ)
    given: dict[str, object] = {}
    for name, section_field in sections.items():
        cls = _class_of(section_field)
        values = _check_section(cls, name, document.get(name, {}), str(path))
        _read_tables(cls, name, values, str(path))
        given_here = (overrides or {}).get(name, {})
        for item in fields(cls):
            hint = _hints(cls)[item.name]
            variable = f"GNOMON_{name}_{item.name}".upper()
            if variable in environ and not _is_mapping(hint):
                values[item.name] = _from_text(item, hint, environ[variable], variable)
            if item.name in given_here:
                option = f"--{item.name.replace('_', '-')}"
                values[item.name] = _check(item, hint, given_here[item.name], option)
        given[name] = cls(**values)
    return Settings(data_dir=data_dir, **given)  # type: ignore[arg-type]


def encode(settings: Settings) -> str:
    """Settings as text that `decode` reads back: how a supervisor hands them to its processes."""
    import json  # noqa: PLC0415 - only the supervisor and its children need it

    return json.dumps(dataclasses.asdict(settings), default=str)


def decode(text: str) -> Settings:
    """Settings from the text that `encode` made."""
    import msgspec  # noqa: PLC0415

    raw = msgspec.json.decode(text)
    given = {
        f.name: msgspec.convert(raw[f.name], _class_of(f))
        for f in fields(Settings)
        if f.name != "data_dir"
    }
    return Settings(data_dir=Path(raw["data_dir"]), **given)


def _class_of(section: dataclasses.Field[Any]) -> type[Any]:
    return type(section.default)


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, vars(sys.modules[cls.__module__]))


def _is_mapping(hint: Any) -> bool:
    return typing.get_origin(hint) is Mapping or isinstance(hint, types.GenericAlias)


def _check_section(
    cls: type, section: str, values: Mapping[str, object], where: str
) -> dict[str, Any]:
    hints = _hints(cls)
    if not isinstance(values, dict):
        raise SettingsError(f"{where}: [{section}] must be a table.")
    known = {item.name: item for item in fields(cls)}
    for name, value in values.items():
        if name not in known:
            raise SettingsError(
                f"{where}: [{section}] has no setting {name!r}; it has {', '.join(hints)}."
            )
        _check(known[name], hints[name], value, f"{where}: {section}.{name}")
    return dict(values)


def _check(item: dataclasses.Field[Any], hint: Any, value: object, where: str) -> object:
    """The value, if the setting can have it; `where` is what it is called there."""
    if typing.get_origin(hint) is Literal:
        is_fit = value in typing.get_args(hint)
    elif hint == Mapping[str, int]:
        is_fit = isinstance(value, dict) and all(
            type(number) is int and number >= 0 for number in value.values()
        )
    elif _is_mapping(hint):
        is_fit = isinstance(value, dict)
    elif hint is str:
        is_fit = isinstance(value, str)
    else:
        kinds = (int, float) if hint is float else (int,)
        is_fit = (
            isinstance(value, kinds)
            and not isinstance(value, bool)
            and 0 <= value <= item.metadata.get("most", math.inf)
        )
    if not is_fit:
        raise SettingsError(f"{where} is {value!r} and must be {_said(item, hint)}.")
    return value


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    for section in fields(Settings):
        if section.name == "data_dir":
            continue
        prefix = f"GNOMON_{section.name}_".upper()
        known = {f"{prefix}{item.name}".upper() for item in fields(_class_of(section))}
        for variable in environ:
            if variable.startswith(prefix) and variable not in known:
                raise SettingsError(
                    f"{variable} names no setting; those of [{section.name}] are "
                    f"{', '.join(sorted(known))}."
                )


def _from_text(item: dataclasses.Field[Any], hint: Any, text: str, variable: str) -> object:
    value: object = text
    if hint in (int, float):
        try:
            value = hint(text)
        except ValueError:
            # Left as text, which is refused in the words that a wrong number is refused in.
            value = text
    return _check(item, hint, value, variable)


def _said(item: dataclasses.Field[Any], hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(typing.get_args(hint))}"
    if hint == Mapping[str, int]:
        return "a table of whole numbers of 0 or more"
    if hint not in (int, float):
        return "text" if hint is str else "a table of texts"
    kind = "a whole number" if hint is int else "a number"
    most = item.metadata.get("most")
    return f"{kind} of 0 or more" if most is None else f"{kind} from 0 to {most}"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _read_tables(cls: type, section: str, values: dict[str, Any], where: str) -> None:
    """Replace tables of tables in a section's values by what those stand for."""
    for name, hint in _hints(cls).items():
        of = typing.get_args(hint)[-1] if typing.get_args(hint) else None
        if name in values and isinstance(of, type) and dataclasses.is_dataclass(of):
            values[name] = {
                key: _read_table(of, f'{section}.{name}."{key}"', table, where)
                for key, table in values[name].items()
            }


def _read_table(cls: type, section: str, table: object, where: str) -> object:
    if not isinstance(table, dict):
        raise SettingsError(f"{where}: [{section}] must be a table.")
    hints = _hints(cls)
    lists = {name for name in table if typing.get_origin(hints.get(name)) is tuple}
    rest = {name: value for name, value in table.items() if name not in lists}
    values = _check_section(cls, section, rest, where)
    for name in lists:
        texts = table[name]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise SettingsError(
                f"{where}: {section}.{name} is {texts!r} and must be a list of texts."
            )
        values[name] = tuple(texts)
    for name, value in rest.items():
        if _is_mapping(hints[name]) and not all(isinstance(text, str) for text in value.values()):
            # Not shown: there may be a secret among them.
            raise SettingsError(f"{where}: {section}.{name} must be a table of texts.")
    return cls(**values)
