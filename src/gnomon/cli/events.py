"""`gnomon events`: the transitions that the API lists, as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from gnomon.cli.client import get
from gnomon.cli.running import Running


def read_events(running: Running, name: str | None, limit: int) -> list[dict[str, Any]]:
    """The latest transitions, oldest first: of everything, or of what has the name."""
    query = urlencode({"limit": limit, **({} if name is None else {"name": name})})
    found: list[dict[str, Any]] = get(running, f"/events?{query}")
    return found[::-1]


def event_lines(events: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line each: time, what, whose, from which status to which, why."""
    if not events:
        yield "Events: none"
    kinds = max((len(event["kind"]) for event in events), default=0)
    names = max((len(_name(event)) for event in events), default=0)
    for event in events:
        moment = datetime.fromtimestamp(event["at_s"], UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        move = " to ".join(
            status for status in (event["before"], event["after"] or "gone") if status
        )
        reason = f" ({event['reason']})" if event["reason"] else ""
        yield f"{moment}Z  {event['kind']:{kinds}}  {_name(event):{names}}  {move}{reason}"


def _name(event: dict[str, Any]) -> str:
    """An instance's name is its variant's: its id tells it from others."""
    return f"{event['name']} {event['id']}" if event["kind"] == "instance" else str(event["name"])
