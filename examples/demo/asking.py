"""Steps 4 and 5: traffic under the test, and the report about it."""

import time

from rich.console import RenderableType

from examples.demo import checks
from examples.demo.report_view import (
    Report,
    accuracy_of,
    labels_of,
    live_lines,
    notes,
    report_lines,
    table,
    verdict_lines,
)
from examples.demo.shadow_test import (
    ENDPOINT,
    PRODUCTION,
    PRODUCTION_INSTANCES,
    SAMPLING_PERCENTAGE,
    SHADOW,
    Clients,
)
from examples.demo.stage import THREADS, Models, Stage, when
from examples.demo.traffic import Traffic


def ask(stage: Stage, clients: Clients, models: Models, count: int) -> Traffic:
    """Asks about the first `count` flights, and returns when all are answered."""
    screen = stage.screen
    screen.step(f"{count:,} flights that neither model saw, in order of time")

    def details() -> tuple[RenderableType, str]:
        report = stage.report()
        copies = report["shadow"]["invocations"]
        said = f"{report['production']['invocations']:,} answered, {copies:,} by the shadow too"
        return table(report, live_lines(report)), said

    began_s = time.monotonic()
    with Traffic(clients.runtime, ENDPOINT, models.lines, THREADS, count=count) as traffic:
        screen.follow(
            "flights", count, lambda: traffic.sent, lambda: not traffic.is_running, details
        )
    took_s = time.monotonic() - began_s
    screen.say(
        f"{traffic.sent:,} requests by {THREADS} threads in {took_s:.1f} s, "
        f"{traffic.sent / took_s:,.0f} a second, retries off."
    )
    screen.check(checks.no_failures(traffic.failures, traffic.sent))
    return traffic


def show_report(stage: Stage, asked: Traffic, models: Models) -> None:
    """Prints the report about `asked`, and checks it against what the demo knows itself."""
    screen = stage.screen
    screen.step("The report, while the test runs")
    report = _settled_report(stage, asked.sent)
    mirror = report["mirror"]
    production = stage.records_when(PRODUCTION, mirror["candidates"])
    shadow = stage.records_when(SHADOW, mirror["mirrored"])
    answered = [(answer.number, answer.label) for answer in asked.answers]
    copied = labels_of(shadow)
    numbers = {number for number, _ in copied}
    lines = report_lines(
        report,
        accuracy_of(answered, models.flights),
        accuracy_of(copied, models.flights),
        accuracy_of([item for item in answered if item[0] in numbers], models.flights),
    )
    screen.console.print(table(report, lines))
    for note in (*notes(report), *verdict_lines(report)):
        screen.say(note)
    for check in (
        checks.mirrored_as_sampled(
            mirror["candidates"], mirror["sampled"], asked.sent, SAMPLING_PERCENTAGE
        ),
        checks.copies_accounted(mirror["sampled"], mirror["mirrored"], mirror["dropped"]),
        checks.all_instances_answered(
            asked.by_instance(), report["production"]["by_instance"], PRODUCTION_INSTANCES
        ),
        checks.no_shadow_answer(
            asked.answers, PRODUCTION, models.expected[PRODUCTION], models.expected[SHADOW]
        ),
        checks.records_match_answers(production, asked.answers),
    ):
        screen.check(check)


def _settled_report(stage: Stage, sent: int) -> Report:
    """The report once it tells of all that was sent."""
    # A copy counts when it has ended, and those of a shadow that is held back end later: all are in
    # when nothing was added between twenty looks.
    counted = {"copies": -1, "looks": 0}

    def is_settled(report: Report) -> bool:
        mirror = report["mirror"]
        counted["looks"] = counted["looks"] + 1 if mirror["sampled"] == counted["copies"] else 0
        counted["copies"] = mirror["sampled"]
        if counted["looks"] < 20:
            return False
        return bool(
            mirror["candidates"] >= sent
            and mirror["sampled"] == mirror["mirrored"] + sum(mirror["dropped"].values())
            and report["production"]["invocations"] >= sent
            and report["pairs"]["pairs"] >= mirror["mirrored"]
        )

    return when(stage.report, is_settled)
