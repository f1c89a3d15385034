"""The load generators: wrk for the maximum, h2load for latency at a rate.

Both use kept-alive connections of HTTP/1.1, and a single answer that is not 2xx spoils a run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.kit.process import output_of
from bench.kit.report import CannotMeasure

CONNECTIONS = 32
# A round that reached less of its rate than this share says nothing about the rate.
_REACHED_SHARE = 0.98
# What a generator may need beyond its own duration (s).
_GRACE_S = 30.0

_WRK_SCRIPT = """\
wrk.method = "POST"
wrk.body = [==[{body}]==]
{headers}
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format("measured %d %d %d\\n", summary.requests, summary.duration,
        errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
"""


@dataclass(frozen=True)
class Payload:
    """What is posted."""

    body: str
    content_type: str
    # Further headers, by name.
    headers: Mapping[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        return {"Content-Type": self.content_type, **self.headers}


@dataclass(frozen=True)
class Maximum:
    """What went through when as much was sent as would go."""

    requests: int
    duration_s: float

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.duration_s


@dataclass(frozen=True)
class Latency:
    """`is_void`: the rate was not reached."""

    requests: int
    p50_us: float
    p99_us: float
    requests_per_s: float
    is_void: bool


def measure_maximum(
    url: str, payload: Payload, duration_s: float, cores: frozenset[int], directory: Path
) -> Maximum:
    script = directory / "wrk.lua"
    headers = "\n".join(
        f'wrk.headers["{name}"] = [==[{value}]==]' for name, value in payload.all_headers().items()
    )
    script.write_text(_WRK_SCRIPT.format(body=payload.body, headers=headers))
    # wrk takes whole seconds.
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS)]
    command += ["--duration", f"{math.ceil(duration_s)}s", "--script", str(script), url]
    return parse_maximum(output_of(command, cores, duration_s + _GRACE_S), url)


def parse_maximum(output: str, url: str) -> Maximum:
    """From the line that the script above writes; its duration is microseconds."""
    for line in output.splitlines():
        words = line.split()
        if len(words) == 4 and words[0] == "measured":
            requests, duration_us, errors = map(int, words[1:])
            if errors or not requests:
                raise CannotMeasure(f"Of the requests to {url}, {errors} failed:\n{output}")
            return Maximum(requests, duration_us / 1e6)
    raise CannotMeasure(f"wrk did not say what it measured:\n{output}")


def measure_latency(
    url: str,
    payload: Payload,
    rate_per_s: int,
    duration_s: float,
    cores: frozenset[int],
    directory: Path,
) -> Latency:
    body = directory / "body"
    body.write_text(payload.body)
    log = directory / "h2load.log"
    log.unlink(missing_ok=True)
    command = ["h2load", "--h1", "--threads=1", f"--clients={CONNECTIONS}"]
    command += [f"--requests={round(rate_per_s * duration_s)}"]
    command += [f"--rps={rate_per_s / CONNECTIONS}", f"--data={body}", f"--log-file={log}"]
    # Opened one by one over the time between two requests of one connection. All at once they would
    # stay in step, and every request would wait behind a burst of the others.
    command += [f"--rate={max(1, rate_per_s // 1000)}"]
    command += [f"--rate-period={max(1, 1000 // rate_per_s)}ms"]
    for name, value in payload.all_headers().items():
        command += ["--header", f"{name.lower()}: {value}"]
    command.append(url)
    output_of(command, cores, duration_s + _GRACE_S)
    return parse_latency(log.read_text().splitlines(), rate_per_s, url)


def parse_latency(lines: Sequence[str], rate_per_s: float, url: str) -> Latency:
    """From h2load's log: start (us since the epoch), status, time to the answer's end (us)."""
    requests = [tuple(map(int, line.split())) for line in lines]
    refused = [status for _, status, _ in requests if not 200 <= status < 300]
    if refused or len(requests) < 2:
        raise CannotMeasure(
            f"Of {len(requests)} requests to {url}, {len(refused)} were not answered by 2xx "
            f"(statuses {sorted(set(refused))})."
        )
    starts_us = [start for start, _, _ in requests]
    reached = (len(requests) - 1) / (max(starts_us) - min(starts_us)) * 1e6
    times_us = sorted(time for _, _, time in requests)
    return Latency(
        requests=len(requests),
        p50_us=_percentile(times_us, 0.5),
        p99_us=_percentile(times_us, 0.99),
        requests_per_s=reached,
        is_void=reached < _REACHED_SHARE * rate_per_s,
    )


def _percentile(ordered: Sequence[int], share: float) -> float:
    """The value at rank ceil(share * count)."""
    return float(ordered[max(0, math.ceil(share * len(ordered)) - 1)])
