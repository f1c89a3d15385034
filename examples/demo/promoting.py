"""Steps 6 and 7: the shadow takes over while traffic runs, and what the test left behind."""

import time
from collections.abc import Mapping, Sequence

from examples.demo import checks, shadow_test
from examples.demo.inference import read_counts
from examples.demo.records import join
from examples.demo.screen import Screen
from examples.demo.shadow_test import ENDPOINT, PRODUCTION, SHADOW, Clients
from examples.demo.stage import THREADS, Models, Stage, when
from examples.demo.traffic import Answer, Traffic

# Traffic runs this long before the shadow is promoted, and this long after.
_AROUND_S = 10.0

# Of that, at least this much after the test is Completed, so that there are answers to look at.
_AFTER_COMPLETED_S = 3.0


def promote(stage: Stage, clients: Clients, asked: Traffic, models: Models) -> Traffic:
    """Goes on with the flights after those that were `asked` about; returns its own traffic."""
    screen = stage.screen
    screen.step("The shadow is promoted while traffic runs")
    with Traffic(clients.runtime, ENDPOINT, models.lines, THREADS, first=asked.sent) as traffic:
        _follow(screen, "seconds before", time.monotonic(), _AROUND_S, traffic)
        stopped_at_s = time.monotonic()
        shadow_test.promote_shadow(clients.sagemaker)
        shadow_test.wait_experiment(clients.sagemaker, "Completed")
        shadow_test.wait_in_service(clients.sagemaker)
        completed_at_s = time.monotonic()
        screen.say(
            "StopInferenceExperiment: Completed, and the endpoint in service, after "
            f"{completed_at_s - stopped_at_s:.1f} s."
        )
        after_s = max(_AROUND_S, completed_at_s - stopped_at_s + _AFTER_COMPLETED_S)
        _follow(screen, "seconds after", stopped_at_s, after_s, traffic)
    for check in (
        checks.no_failures(traffic.failures, traffic.sent),
        checks.promoted(traffic.answers, SHADOW, completed_at_s),
        checks.answers_true(traffic.answers, models.expected),
        checks.counts_agree(_settled_counts(stage, [asked, traffic])),
    ):
        screen.check(check)
    return traffic


def show_records(stage: Stage, answers: Sequence[Answer]) -> None:
    """`answers` are all that the client ever got."""
    screen = stage.screen
    screen.step("The captured records")
    report = stage.report()
    mirror = report["mirror"]
    production = stage.records_when(PRODUCTION, mirror["candidates"])
    shadow = stage.records_when(SHADOW, mirror["mirrored"])
    pairs = join(production, shadow)
    destination = f"{report['captures']['destination']}/{ENDPOINT}"
    screen.say(f"They lie in {destination}, encrypted; gnomon capture cat shows them.")
    captured = {record.event_id for record in production}
    tested = [answer for answer in answers if answer.event_id in captured]
    for check in (
        checks.records_complete(
            production, shadow, pairs, mirror["candidates"], mirror["mirrored"]
        ),
        checks.records_match_answers(production, tested),
    ):
        screen.check(check)
    telling = [pair for pair in pairs if pair.production.label != pair.shadow.label]
    for pair in (telling or pairs)[:1]:
        screen.say(
            f"Both records of the event {pair.production.event_id}, which is flight "
            f"{pair.production.number}:"
        )
        screen.say(f"  {PRODUCTION}: {pair.production.text}")
        screen.say(f"  {SHADOW}: {pair.shadow.text}")


def _follow(screen: Screen, title: str, began_s: float, seconds: float, traffic: Traffic) -> None:
    """Returns `seconds` after the monotonic time `began_s`."""
    screen.follow(
        title,
        round(seconds),
        lambda: round(min(time.monotonic() - began_s, seconds)),
        lambda: time.monotonic() - began_s >= seconds,
        lambda: (_said(traffic), _said(traffic)),
    )


def _said(traffic: Traffic) -> str:
    answered = ", ".join(f"{count:,} by {name}" for name, count in traffic.by_variant().items())
    failed = len(traffic.failures)
    return f"{traffic.sent:,} sent, answered {answered or 'none yet'}, {failed:,} failed"


def _unanswered(figures: Mapping[str, int] | None) -> int:
    if figures is None:
        return 0
    return figures["model_errors"] - figures["errors_4xx"] - figures["errors_5xx"]


def _settled_counts(stage: Stage, traffics: Sequence[Traffic]) -> list[checks.Counts]:
    """The three counts by variant, once they agree; as they are when that takes too long."""

    def look() -> list[checks.Counts]:
        copies = {SHADOW: stage.report()["mirror"]["mirrored"]}
        router = stage.gnomon.endpoint_metrics(ENDPOINT)["variants"]
        models = read_counts(stage.counts)
        return [
            checks.Counts(
                variant=variant,
                client=sum(traffic.by_variant()[variant] for traffic in traffics),
                copies=copies.get(variant, 0),
                router=router.get(variant, {}).get("invocations", 0),
                models=models.get(variant, 0),
                unanswered=_unanswered(router.get(variant)),
            )
            for variant in sorted({PRODUCTION, SHADOW, *router, *models})
        ]

    return when(look, lambda counts: checks.counts_agree(counts).holds)
