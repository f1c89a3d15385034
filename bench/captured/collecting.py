"""How many captured exchanges a collector on one core turns into objects, by store and size."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.captured.filling import filled
from bench.kit.collector import BenchedCollector, running_collector
from bench.kit.load import Payload
from bench.kit.machine import Cores
from bench.kit.payloads import ANSWER, LARGE, SMALL
from bench.kit.process import cpu_s
from bench.kit.rounds import in_turn
from bench.kit.s3 import placed, running_s3
from gnomon.settings import ObjectsSettings

_WARM_UP = 20


@dataclass
class Case:
    """One store and size, and by round what was measured: as the clock had it, and by CPU time of
    the collector.
    """

    name: str
    label: str
    store: str
    payload: Payload
    exchanges: int
    per_s: list[float] = field(default_factory=list)
    per_cpu_s: list[float] = field(default_factory=list)
    # By CPU time of the store's own server, where it has one.
    per_server_cpu_s: list[float] = field(default_factory=list)

    @property
    def exchange_bytes(self) -> int:
        """Both bodies."""
        return len(self.payload.body) + len(ANSWER)


def collect(directory: Path, cores: Cores, share: float, rounds: int) -> Sequence[Case]:
    """Rounds in turn; `share` of the exchanges that are enough to measure well."""
    small, large = round(100_000 * share), round(3_000 * share)
    cases = [
        Case("directory_300", "a directory, 300 bytes", "directory", SMALL, small),
        Case("s3_300", "S3, 300 bytes", "s3", SMALL, small),
        Case("directory_64k", "a directory, 64 KiB", "directory", LARGE, large),
        Case("s3_64k", "S3, 64 KiB", "s3", LARGE, large),
    ]
    with _standing(directory, cores) as (collectors, server_pid):
        for case in cases:
            collectors[case.store].take(filled(directory / case.store, case.payload, _WARM_UP))
        for number in range(rounds):
            for case in in_turn(cases, number):
                _take(case, collectors[case.store], directory / case.store, server_pid)
    return cases


@contextlib.contextmanager
def _standing(directory: Path, cores: Cores) -> Iterator[tuple[dict[str, BenchedCollector], int]]:
    """A collector for each store, one of which rests while the other works; the S3 server's id."""
    objects = {"directory": ObjectsSettings(), "s3": placed()}
    with contextlib.ExitStack() as stack:
        server_pid = stack.enter_context(
            running_s3(directory / "server", cores.rest, objects["s3"])
        )
        found = {}
        for store, settings in objects.items():
            data = directory / store / "data"
            data.mkdir(parents=True)
            found[store] = stack.enter_context(running_collector(data, cores.measured, settings))
        yield found, server_pid


def _take(case: Case, collector: BenchedCollector, directory: Path, server_pid: int) -> None:
    left = filled(directory, case.payload, case.exchanges)
    before_s, server_before_s = collector.cpu_s(), cpu_s(server_pid)
    taken_s = collector.take(left)
    case.per_s.append(case.exchanges / taken_s)
    case.per_cpu_s.append(case.exchanges / (collector.cpu_s() - before_s))
    if case.store == "s3":
        case.per_server_cpu_s.append(case.exchanges / (cpu_s(server_pid) - server_before_s))
    # What was written is not to fill the disk.
    shutil.rmtree(collector.layout.objects, ignore_errors=True)
