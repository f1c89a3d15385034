"""The part of a report that is counted, not judged: traffic, copies, and what is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gnomon.cli.report_sections import Section, latency
from gnomon.cli.report_texts import NOTHING, percent

_PERCENTILES = ("p50", "p90", "p99")


def title(report: dict[str, Any]) -> str:
    """Which experiment, on which endpoint, in what state."""
    experiment = report["experiment"]
    reason = f" ({experiment['status_reason']})" if experiment["status_reason"] else ""
    return f"{experiment['name']} on {experiment['endpoint']}: {experiment['status']}{reason}"


def counted(report: dict[str, Any]) -> list[Section]:
    """Both variants' traffic, what became of the copies, and what is missing."""
    found = [_traffic(report["production"], report["shadow"])]
    found.append(Section("Copies", lines=tuple(_copies(report))))
    if missing := _missing(report):
        found.append(Section("What is missing, and when", lines=tuple(missing)))
    return found


def _traffic(production: dict[str, Any], shadow: dict[str, Any]) -> Section:
    variants = (production, shadow)
    rows = [
        (label, *(f"{variant[key]:,}" for variant in variants))
        for label, key in (
            ("invocations", "invocations"),
            ("4XX errors", "errors_4xx"),
            ("5XX errors", "errors_5xx"),
            ("model errors", "model_errors"),
        )
    ]
    rates = [variant["requests_per_s_per_instance"] for variant in variants]
    rows.append(
        (
            "requests/s per instance",
            *(NOTHING if rate is None else f"{rate:.2f}" for rate in rates),
        )
    )
    rows += _latencies("latency", "latency_ms", variants)
    if production["first_chunk_ms"]["p50"] is not None:
        rows += _latencies("first chunk", "first_chunk_ms", variants)
    return Section(
        "Traffic",
        ("", f"production {production['variant']}", f"shadow {shadow['variant']}"),
        tuple(rows),
    )


def _latencies(label: str, key: str, variants: tuple[dict[str, Any], ...]) -> list[tuple[str, ...]]:
    return [
        (f"{label} {name}", *(latency(variant[key][name]) for variant in variants))
        for name in _PERCENTILES
    ]


def _copies(report: dict[str, Any]) -> list[str]:
    mirror, pairs = report["mirror"], report["pairs"]
    dropped = {reason: count for reason, count in mirror["dropped"].items() if count}
    lines = [
        (
            f"mirrored {mirror['mirrored']:,} of {mirror['candidates']:,} requests (sampling "
            f"{report['experiment']['sampling_percentage']} %, {mirror['sampled']:,} drawn)"
        ),
        f"copies dropped: {_listed(dropped) or 'none'}",
    ]
    if mirror["opted_out"]:
        lines.append(f"requests that asked not to be mirrored: {mirror['opted_out']:,}")
    if mirror["failed"]:
        lines.append(f"copies without an answer: {_listed(mirror['failed'])}")
    agreement = pairs["agreement"]
    said = "" if agreement is None else f", the same answer in {percent(agreement)}"
    lines.append(f"pairs: {pairs['pairs']:,}{said}")
    if report["captures"]["destination"]:
        lines.append(f"captured records: {report['captures']['destination']}")
    return lines


def _missing(report: dict[str, Any]) -> list[str]:
    lines = []
    lost = {name: count for name, count in report["lost"].items() if count}
    if lost:
        lines.append(f"records that the spool had no room for: {_listed(lost)}")
    if report["noise"]["dropped"]:
        lines.append(
            "requests that production was to answer twice and did not: "
            f"{report['noise']['dropped']:,}"
        )
    if report["cut"]["captures"]:
        lines.append(
            f"captured without the answer, a stream too long to keep: {report['cut']['captures']:,}"
        )
    lines += [
        f"a router died at {_time(gap['at_s'])}: what it had open is missing, with what it "
        "captured in the 0.2 s and counted in the 1.2 s before"
        for gap in report["gaps"]
    ]
    lines += [
        f"what a router wrote at {_time(tail['at_s'])} was torn: {tail['bytes']:,} bytes of the "
        "spool are no whole record and were passed over"
        for tail in report["torn"]
    ]
    for absence in report["away"]:
        away_s = absence["away_s"]
        said = "and none has taken its place" if away_s is None else f"for {away_s:.1f} s"
        lines.append(
            f"an instance of {absence['variant_name']} ({absence['instance_id']}) was away from "
            f"{_time(absence['at_s'])} on, {said}: {absence['reason']}"
        )
    lines += [
        f"routers ejected the instance {instance} {figures['ejections']:,} times, for "
        f"{figures['ejected_s']:,} s in all"
        for instance, figures in report["ejected"].items()
    ]
    return lines


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def _time(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
