"""`gnomon logs`: what the instances of an endpoint print, once or for as long as somebody looks.

Which instances there are is the API's to say; their logs are files in the data directory.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import msgspec

from gnomon.cli import running as running_file
from gnomon.cli.client import CallFailed, get
from gnomon.cli.log_lines import LoggedInstance, Tail, merged, shown
from gnomon.cli.running import Running
from gnomon.errors import GnomonError
from gnomon.model.layout import Layout

# How often files are looked at, and how often it is asked which instances there are, in seconds.
_LOOK_S = 0.2
_ASK_S = 1.0


class NoSuchVariant(GnomonError):
    """The endpoint has never had an instance of a variant of that name."""


@dataclass
class Logs:
    """The logs of one endpoint as they are read.

    `list_instances` answers None when nobody can be asked any more; `write` takes a line.
    """

    layout: Layout
    list_instances: Callable[[], list[LoggedInstance] | None]
    write: Callable[[bytes], None]
    now_s: Callable[[], float]
    _tails: dict[str, Tail] = field(default_factory=dict)
    _known: dict[str, LoggedInstance] = field(default_factory=dict)

    def print_last(self, instances: Sequence[LoggedInstance], count: int) -> None:
        """The last lines of each instance that is shown, and why it ended if it has."""
        chosen = shown(instances, self.now_s())
        parts: list[tuple[LoggedInstance, list[bytes]]] = []
        for instance in chosen:
            tail = Tail(self.layout.instance_log(instance.id))
            lines = tail.last(count)
            if instance.has_ended:
                lines = [*lines, *tail.more(is_final=True), instance.state]
            else:
                self._tails[instance.id] = tail
            parts.append((instance, lines))
        self._known = {instance.id: instance for instance in instances}
        for instance, line in merged(parts):
            self._print(instance, [line])

    def finish(self) -> None:
        """What is left of lines that have not ended."""
        for id_, tail in self._tails.items():
            self._print(self._known[id_], tail.more(is_final=True))

    def look(self) -> None:
        """What was printed since."""
        for id_, tail in self._tails.items():
            self._print(self._known[id_], tail.more())

    def ask(self) -> bool:
        """Learns of instances that came, changed or ended. False when there is nobody to ask."""
        instances = self.list_instances()
        if instances is None:
            return False
        for instance in instances:
            before = self._known.get(instance.id)
            if before is not None and (before.has_ended or before.status == instance.status):
                continue
            self._known[instance.id] = instance
            tail = self._tails.setdefault(instance.id, Tail(self.layout.instance_log(instance.id)))
            self._print(instance, [*tail.more(is_final=instance.has_ended), instance.state])
            if instance.has_ended:
                del self._tails[instance.id]
        return True

    def _print(self, instance: LoggedInstance, lines: Iterable[bytes]) -> None:
        for line in lines:
            self.write(instance.prefix + line + b"\n")


def follow(logs: Logs, rest: Callable[[float], None], clock: Callable[[], float]) -> None:
    """Until nobody can be asked any more: Gnomon has gone, and everything that it ran."""
    asked_s = clock()
    while True:
        rest(_LOOK_S)
        if clock() - asked_s >= _ASK_S:
            asked_s = clock()
            if not logs.ask():
                break
        logs.look()
    logs.finish()


def print_logs(
    running: Running, endpoint: str, variant: str | None, lines: int, *, follows: bool
) -> None:
    """The command itself. Raises CallFailed for an endpoint that never was."""
    data_dir = Path(running.data_dir)
    first = _instances(running, endpoint, variant)
    if variant is not None and not first and not follows:
        raise NoSuchVariant(f"{endpoint} has had no instance of a variant {variant}.")

    def list_instances() -> list[LoggedInstance] | None:
        # It may have been started anew, at another URL.
        there = running_file.read(data_dir)
        if there is None:
            return None
        try:
            return _instances(there, endpoint, variant)
        except CallFailed:
            # Control is on its way back: no news.
            return []

    output = sys.stdout.buffer

    def rest(time_s: float) -> None:
        output.flush()
        wait_unless_unread(output.fileno(), time_s)

    def write(line: bytes) -> None:
        output.write(line)

    logs = Logs(Layout(data_dir), list_instances, write, time.time)
    logs.print_last(first, lines)
    if follows:
        follow(logs, rest, time.monotonic)
    else:
        logs.finish()
    output.flush()


def wait_unless_unread(descriptor: int, time_s: float) -> None:
    """Waits. Raises BrokenPipeError at once if nobody can read what is written to the descriptor.

    A log may be silent for hours, and a write that fails would come too late.
    """
    poll = select.poll()
    # Errors and hang-ups are told without being asked for.
    poll.register(descriptor, 0)
    if poll.poll(time_s * 1000):
        raise BrokenPipeError


def _instances(running: Running, endpoint: str, variant: str | None) -> list[LoggedInstance]:
    found = get(running, f"/endpoints/{quote(endpoint, safe='')}/instances")
    instances = msgspec.convert(found, list[LoggedInstance])
    return [instance for instance in instances if variant is None or instance.variant == variant]
