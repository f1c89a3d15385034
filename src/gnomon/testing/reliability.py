"""What may go wrong around a Gnomon, and what the tests measured of each: docs/reliability.md.

A test that brings a fault about hands what it saw to `record`. Where RELIABILITY_DIR is set
(`scripts/reliability`), that becomes a line there, from which the document is written; it is
written only if every fault has one.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gnomon.testing.raw_traffic import Flight

_FILE = "measured.jsonl"


@dataclass(frozen=True)
class Fault:
    """A row of the table: what is said of it beside the figures.

    `client` and `lost` are sentences; `whole` says from when to when its seconds are.
    """

    name: str
    client: str
    lost: str
    whole: str


CONTROL_KILLED = Fault(
    "Control is killed",
    "InvokeEndpoint goes on. SageMaker's API answers 503 until control is back.",
    "Nothing: it adopts the instances and carries on what was under way.",
    "from the kill until control answers",
)
ROUTER_KILLED = Fault(
    "A router is killed",
    "Requests in flight in it fail; connections that wait are served by another or its successor.",
    "Captures and pairs of its last 0.2 s, counts of its last 1.2 s; the report shows the gap.",
    "from the kill until its successor serves and control knows it",
)
ROUTER_HUNG = Fault(
    "A router hangs",
    "The supervisor kills it after 10 s of silence: what waits in the socket is answered then, by "
    "its successor, and what is in flight in it fails.",
    "As of one that is killed.",
    "from the hang until a connection that waited is answered",
)
COLLECTOR_KILLED = Fault(
    "The collector is killed",
    "Nothing; the report's figures come later.",
    "Nothing, and nothing is doubled.",
    "from the kill until its successor counts",
)
PRODUCTION_KILLED = Fault(
    "A production instance is killed, others live",
    "At most the requests in flight in it fail.",
    "Nothing else; the report says how long it was away.",
    "from the kill until all instances are healthy; one that fails often waits up to 30 s",
)
SHADOW_KILLED = Fault(
    "A shadow instance is killed",
    "Nothing.",
    "The copies in flight in it; the report says how long it was away.",
    "from the kill until all instances are healthy; one that fails often waits up to 30 s",
)
INSTANCE_HUNG = Fault(
    "A production instance hangs, others live",
    "It gets no more requests after three pings without an answer, and before that few, since most "
    "wait in it; these fail when it is killed, 30 s later at most.",
    "Nothing else.",
    "from the hang until all instances are healthy",
)
INSTANCE_MUTE = Fault(
    "A production instance answers /ping and not /invocations",
    "Requests sent to it fail at the time limit (2 s here; 60 s unless it is set): two in a row "
    "eject it, a good ping brings it back, and so on.",
    "Nothing else; ejections are counted and shown.",
    "from its first answer again until nothing fails any more",
)
INSTANCE_OVER_MEMORY = Fault(
    "An instance uses more memory than it may, others live",
    "Requests in flight in it fail; of a shadow instance, none.",
    "The copies in flight in it; the report says how long it was away, and why.",
    "from its end until another is healthy",
)
EXITS_AT_CREATION = Fault(
    "The model of a new endpoint exits at its start",
    "The endpoint becomes Failed, with the reason in FailureReason.",
    "Nothing.",
    "from CreateEndpoint until it is Failed",
)
EXITS_AT_UPDATE = Fault(
    "The model of an update exits at its start",
    "The endpoint serves on as before, with the reason in FailureReason.",
    "Nothing.",
    "from UpdateEndpoint until the endpoint is InService again",
)
SUPERVISOR_KILLED = Fault(
    "The supervisor is killed, and `gnomon up` comes again",
    "InvokeEndpoint goes on, and no connection is refused. SageMaker's API answers 503 meanwhile.",
    "Nothing.",
    "from the kill until the next `gnomon up`, begun at once, says that it is up",
)
DATABASE_FULL = Fault(
    "The state database is full",
    "What would change something is refused with a sentence (503); requests are answered.",
    "Nothing; schedules are carried out once there is room.",
    "from room in it until a test whose time had come has ended",
)
DISK_FULL = Fault(
    "The disk is full",
    "What would change something is refused with a sentence (503); requests are answered.",
    "Captures, then pairs; each is counted.",
    "from free space until `gnomon status` has nothing to say",
)
CONTROL_DESCRIPTORS = Fault(
    "Control has no file descriptor left",
    "InvokeEndpoint goes on.",
    "Nothing; no instance is ended for it.",
    "from free descriptors until control finds its instances healthy",
)
ROUTER_DESCRIPTORS = Fault(
    "A router has no file descriptor left",
    "Connections that it has are served; new ones wait.",
    "Nothing.",
    "from free descriptors until a new connection is answered",
)
COLLECTOR_DESCRIPTORS = Fault(
    "The collector has no file descriptor left",
    "Nothing.",
    "Nothing.",
    "from free descriptors until it counts again",
)
SUPERVISOR_DESCRIPTORS = Fault(
    "The supervisor has no file descriptor left when a process dies",
    "Nothing, unless it was the last router.",
    "Nothing.",
    "from free descriptors until the process that died has a successor",
)
CLOCK_SET = Fault(
    "The machine's clock is set a day forward or back",
    "Schedules follow it; restarts, time limits and durations do not.",
    "Nothing.",
    "from the death of an instance at that moment until another runs: a second is its delay",
)
SECOND_GNOMON = Fault(
    "A second Gnomon is started on the data directory",
    "The second is refused, and told the process of the first; the first goes on.",
    "Nothing.",
    "from its start until it is refused",
)
PORT_TAKEN = Fault(
    "The port is taken",
    "`gnomon up` names it, and the Gnomon that has it if it is one.",
    "Nothing.",
    "from its start until it is refused",
)
DIRECTORY_READ_ONLY = Fault(
    "The data directory cannot be written",
    "`gnomon up` says so, and what to do.",
    "Nothing.",
    "from its start until it is refused",
)

FAULTS = (
    CONTROL_KILLED,
    ROUTER_KILLED,
    ROUTER_HUNG,
    COLLECTOR_KILLED,
    PRODUCTION_KILLED,
    SHADOW_KILLED,
    INSTANCE_HUNG,
    INSTANCE_MUTE,
    INSTANCE_OVER_MEMORY,
    EXITS_AT_CREATION,
    EXITS_AT_UPDATE,
    SUPERVISOR_KILLED,
    DATABASE_FULL,
    DISK_FULL,
    CONTROL_DESCRIPTORS,
    ROUTER_DESCRIPTORS,
    COLLECTOR_DESCRIPTORS,
    SUPERVISOR_DESCRIPTORS,
    CLOCK_SET,
    SECOND_GNOMON,
    PORT_TAKEN,
    DIRECTORY_READ_ONLY,
)


@dataclass(frozen=True)
class Measured:
    """What was seen of one fault.

    `whole_s` has an item for each time that it was brought about; `failures` counts the requests
    that failed by what came instead of an answer; `missing` says of how many records of a kind how
    many are not there.
    """

    whole_s: Sequence[float]
    requests: int | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def failures(flights: Iterable[Flight]) -> dict[str, int]:
    """How many of them failed, by the HTTP status or the error."""
    counts = Counter(
        flight.failure.split()[1]
        if flight.failure.startswith("HTTP/")
        else flight.failure.partition("(")[0]
        for flight in flights
        if flight.failure
    )
    return dict(counts)


def record(fault: Fault, measured: Measured) -> None:
    """Keeps what a test measured and how busy the machine is, if it is asked for."""
    directory = os.environ.get("RELIABILITY_DIR")
    if directory is None:
        return
    with (Path(directory) / _FILE).open("a") as file:
        line = {"fault": fault.name, "load": os.getloadavg()[0], **asdict(measured)}
        file.write(json.dumps(line) + "\n")


def recorded(directory: Path) -> dict[str, Measured]:
    """What is kept there, by the faults' names. Raises ValueError for a fault without any."""
    found: dict[str, Measured] = {}
    for values in _lines(directory):
        del values["load"]
        name, measured = values.pop("fault"), Measured(**values)
        if name in found:
            # Seconds add up over tests of one fault; counts of requests are one test's.
            whole_s = [*found[name].whole_s, *measured.whole_s]
            measured = replace(found[name], whole_s=whole_s)
        found[name] = measured
    missing = [fault.name for fault in FAULTS if fault.name not in found]
    if missing:
        raise ValueError(f"no test has measured: {', '.join(missing)}")
    return found


def loads(directory: Path) -> list[float]:
    """The load average of the last minute whenever something was recorded there."""
    return [values["load"] for values in _lines(directory)]


def _lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / _FILE).read_text().splitlines()]
