"""The verdict on real models behind a real Gnomon, at about forty requests a second.

The margins are the defaults but for the error rate's: what bounds 0.1 % takes many thousands of
pairs. To be quick, blocks last 0.1 s and 300 pairs are enough. That is sound here, since the
models' times do not come in runs; it says nothing of whether such blocks suit other models.
What rests on latency needs a machine that is not busy, and is skipped on one that is.
"""

import datetime as dt
import json
import urllib.request

import pytest

from gnomon.testing.processes import Traffic

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SETTINGS = {"rules": {"error_rate": 0.05, "least_pairs": 300}, "block_s": 0.1}
# A hundred blocks take ten seconds; a busy machine may take several times as long.
PATIENCE_S = 90
# Seconds of a test after which a busy machine is not waited for.
CONTENDED_S = 30
LATENCY_RULES = {"slow_down", "p99"}


def own_time(number):
    """A request that takes 120 to 240 ms: what a busy machine adds to a shadow, which has the lower
    CPU weight, is little beside it, and is much beside a few ms.
    """
    return f"sleep {0.12 + number * 7 % 31 * 4 / 1000:.3f}\n"


@pytest.fixture
def test_of(echo):
    """Starts a test of the echo model beside one that is like it but for its environment."""

    def start(guardrails=None, *, settings=SETTINGS, production=None, **environment):
        echo.endpoint(**production or {})
        echo.model(f"{echo.name}-shad", **environment)
        echo.experiment(100)
        request = urllib.request.Request(
            f"{echo.gnomon.url}/gnomon/v1/experiments/{echo.name}/analysis",
            json.dumps({"settings": settings, "guardrails": guardrails or {}}).encode(),
            {"Content-Type": "application/json"},
            method="PUT",
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        return echo

    return start


def traffic_of(echo, body):
    """Threads that wait for their models most of the time."""
    return Traffic(lambda number: echo.invoke(body(number))["Body"].read(), threads=8)


def verdict_of(echo):
    return echo.report()["analysis"]["verdict"]


def skip_if_contended(report):
    """A busy machine leaves latency rules open, as it is to: these tests are of others."""
    if report["analysis"]["is_contended"]:
        pytest.skip("The machine was busy, and the test is contended.")


def judged(echo, status):
    """The report, once its verdict is this."""

    def reached():
        report = echo.report()
        if report["analysis"]["verdict"]["status"] == status:
            return report
        if report["seconds"] > CONTENDED_S:
            skip_if_contended(report)
        return None

    try:
        return echo.gnomon.wait(reached, f"the verdict {status}", PATIENCE_S)
    except AssertionError as error:
        raise AssertionError(f"{error}: {verdict_of(echo)}") from error


def states(report):
    return {rule["name"]: rule["state"] for rule in report["analysis"]["verdict"]["rules"]}


def test_a_shadow_that_takes_a_third_longer_is_not_ready_for_its_slowness_alone(test_of):
    echo = test_of(SLOWED="1.3")
    with traffic_of(echo, own_time) as traffic:
        report = judged(echo, "not_ready")
    assert traffic.failures == []
    found = states(report)
    assert found["slow_down"] == "broken"
    assert {name for name, state in found.items() if state == "broken"} <= LATENCY_RULES


def test_a_label_that_is_always_wrong_makes_a_shadow_not_ready_and_heads_the_confusion(test_of):
    echo = test_of(MISTAKES="late")
    labels = ["late", "early", "punctual", "cancelled"]
    with traffic_of(echo, lambda number: f"{labels[number % 4]}\n") as traffic:
        echo.gnomon.wait(
            lambda: states(echo.report())["disagreement"] == "broken", "a broken rule", PATIENCE_S
        )
        report = judged(echo, "not_ready")
    assert traffic.failures == []
    analysis = report["analysis"]
    assert analysis["task"] == "classification"
    head = analysis["confusion"][0]
    assert (head["production"], head["shadow"]) == ("late", "wrong")


def test_a_shadow_that_is_like_production_is_ready_once_there_are_enough_pairs(test_of):
    echo = test_of()
    assert verdict_of(echo)["status"] == "undecided"
    with traffic_of(echo, own_time) as traffic:
        report = judged(echo, "ready")
    assert traffic.failures == []
    found = states(report)
    assert {found[name] for name in ("slow_down", "error_rate", "disagreement")} == {"met"}
    assert report["analysis"]["pairs"] >= SETTINGS["rules"]["least_pairs"]


def test_a_shadow_that_differs_in_a_timestamp_alone_is_ready_and_the_timestamp_is_noise(test_of):
    settings = SETTINGS | {"noise_share": 0.5}
    dated = {"DATED": "1"}
    echo = test_of(settings=settings, production=dated, **dated)
    with traffic_of(echo, own_time) as traffic:
        report = judged(echo, "ready")
    assert traffic.failures == []
    analysis = report["analysis"]
    assert analysis["noise_compared"] >= 100
    (path,) = analysis["differences"]
    assert (path["path"], path["is_noise"]) == ("/at", True)
    assert path["noise_share"] == 1.0
    # Counts come once a second, after what they are about.
    assert report["noise"]["repeated"] > 0


def test_a_broken_rule_ends_a_guarded_test_and_production_fails_no_request(test_of):
    echo = test_of({"stop_when_broken": True}, MODEL_SAYS="something else")
    with traffic_of(echo, own_time) as traffic:
        found = echo.until_experiment("Cancelled", patience_s=PATIENCE_S)
        sent = traffic.sent
        echo.gnomon.wait(lambda: traffic.sent >= sent + 50, "traffic after the end")
    assert traffic.failures == []
    assert b"something else" not in traffic.answers
    assert "By its guardrail: the shadow is not ready. " in found["StatusReason"]
    assert "Disagreement: the interval from " in found["StatusReason"]
    endpoint = echo.sagemaker.describe_endpoint(EndpointName=echo.name)
    assert endpoint["EndpointConfigName"] == f"{echo.name}-config"
    assert [one["VariantName"] for one in endpoint["ProductionVariants"]] == ["AllTraffic"]
    assert "ShadowProductionVariants" not in endpoint


def test_a_shadow_that_is_ready_at_the_schedules_end_is_promoted_where_that_is_wanted(test_of):
    echo = test_of({"promote_when_ready": True})
    with traffic_of(echo, own_time) as traffic:
        judged(echo, "ready")
        end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=3)
        echo.sagemaker.update_inference_experiment(Name=echo.name, Schedule={"EndTime": end})
        found = echo.until_experiment("Completed", patience_s=PATIENCE_S)
        sent = traffic.sent
        echo.gnomon.wait(lambda: traffic.sent >= sent + 50, "traffic after the end")
    assert traffic.failures == []
    if "StatusReason" not in found:
        skip_if_contended(echo.report())
    assert found["StatusReason"].startswith("By its guardrail: the shadow is ready.")
    assert echo.invoke("after\n")["InvokedProductionVariant"] == "Shadow-01"
