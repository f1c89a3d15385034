"""How an experiment is judged, and what Gnomon then does of its own accord."""

import datetime as dt
import math

import msgspec
import pytest

from gnomon.control.analyses import Analyses
from gnomon.control.guardrails import Guardrails
from gnomon.control.judging import Judge
from gnomon.control.spans import Span
from gnomon.errors import Conflict, ResourceNotFound, SettingsError
from gnomon.model import metric
from gnomon.model.analysis import AnalysisSettings, Rules
from gnomon.model.analysis import Guardrails as GuardrailSettings
from gnomon.stats.comparators import Comparison
from gnomon.stats.state import PairState
from gnomon.store.state import routing
from gnomon.store.state.resources import ENDPOINTS, EXPERIMENTS
from gnomon.store.telemetry import ingest
from gnomon.store.telemetry.queries import InstanceMetrics
from gnomon.testing import frames as build
from gnomon.testing.databases import migrated
from gnomon.testing.requests import experiment_request, make_endpoint, make_model, shadow_mode

SPAN = Span(build.AT_S, build.AT_S + 1000, 0.0, 1000.0)
# After all pairs.
SETTLED_US = int((build.AT_S + 1_100) * 1e6)
SETTINGS = AnalysisSettings(rules=Rules(least_pairs=500), block_s=1.0)


@pytest.fixture
async def telemetry(tmp_path):
    async with migrated("telemetry", tmp_path) as database:
        yield database


@pytest.fixture
def judge(control, telemetry):
    return Judge(control.transactions.database, telemetry, SETTINGS, GuardrailSettings())


@pytest.fixture
def analyses(control, judge):
    return Analyses(control.transactions, judge, control.loop.wake, ["by_rank"])


@pytest.fixture
def guardrails(control, telemetry, judge):
    return Guardrails(control.transactions, telemetry, judge, control.loop.ring)


@pytest.fixture
async def running(control):
    """The endpoint `ep` under the test `exp`."""
    await make_endpoint(control)
    await make_model(control, "shad")
    await control.call("CreateInferenceExperiment", **experiment_request())
    return await control.until_experiment("exp", "Running")


async def record_of(control):
    async with control.transactions.database.reading() as connection:
        return await EXPERIMENTS.find(connection, "exp")


async def saw(control, telemetry, judge, factor, *, differ_every=0):
    """20,000 pairs over 1,000 s, whose shadow takes `factor` times as long, with some noise."""
    record = await record_of(control)
    analysis = await judge.record(record.id)
    state = PairState(block_us=1_000_000)
    for number in range(20_000):
        wobble = math.exp(0.1 * math.sin(number * 1.7))
        pair = build.pair(
            f"{number}",
            at_s=build.AT_S + number / 20,
            production=build.answer(latency_us=10_000),
            shadow=build.answer(latency_us=round(10_000 * factor * wobble)),
        )
        same = not differ_every or number % differ_every > 0
        state.add(pair, Comparison(same=same, reason="" if same else "body"))
    async with telemetry.writing() as connection:
        await ingest.add_pairs(connection, record.id, analysis.id, SETTLED_US, state)
        await ingest.settle_pairs(connection, SETTLED_US)
        key = {
            "endpoint_id": record.endpoint_id,
            "minute": 1,
            "variant_id": record.plan.shadow.variant_id,
            "instance_id": "",
            "experiment_id": record.id,
        }
        await ingest.add_metric_counts(
            connection, [{**key, "name": metric.SAMPLED, "value": 20_000}]
        )


async def test_the_default_does_nothing_of_its_own_accord(
    control, telemetry, judge, guardrails, running
):
    await saw(control, telemetry, judge, 2.0)
    await guardrails.look()
    assert (await record_of(control)).status == "Running"


async def test_a_broken_rule_stops_a_test_that_asks_for_it(
    control, telemetry, judge, analyses, guardrails, running
):
    await analyses.set("exp", b'{"guardrails": {"stop_when_broken": true}}')
    await guardrails.look()
    assert (await record_of(control)).status == "Running"
    await saw(control, telemetry, judge, 1.3)
    await guardrails.look()
    ended = await control.until_experiment("exp", "Cancelled")
    assert ended["StatusReason"].startswith("By its guardrail: the shadow is not ready. Typical")
    assert "is beyond 1.1" in ended["StatusReason"]
    found = await control.call("DescribeEndpoint", EndpointName="ep")
    assert "ShadowProductionVariants" not in found
    assert [variant["VariantName"] for variant in found["ProductionVariants"]] == ["AllTraffic"]


@pytest.mark.parametrize(
    ("factor", "model"), [(1.0, "shad"), (1.3, "prod")], ids=["ready", "not ready"]
)
async def test_a_shadow_that_is_ready_at_the_end_is_promoted(
    control, telemetry, judge, analyses, guardrails, running, factor, model
):
    await analyses.set("exp", b'{"guardrails": {"promote_when_ready": true}}')
    await saw(control, telemetry, judge, factor)
    await guardrails.at_end(await record_of(control))
    if model == "prod":
        assert (await record_of(control)).status == "Running"
        return
    ended = await control.until_experiment("exp", "Completed")
    assert ended["StatusReason"].startswith("By its guardrail: the shadow is ready.")
    config = (await control.until_endpoint("ep", "InService"))["EndpointConfigName"]
    found = await control.call("DescribeEndpointConfig", EndpointConfigName=config)
    assert [variant["ModelName"] for variant in found["ProductionVariants"]] == [model]


async def test_a_test_on_a_busy_machine_is_contended_and_its_latency_rules_stay_open(
    control, telemetry, judge, running
):
    await saw(control, telemetry, judge, 1.3)
    record = await record_of(control)
    counts = {metric.SAMPLED: 20_000.0, metric.MACHINE_SECONDS: 100.0}
    for busy, expected in ((10.0, "not_ready"), (11.0, "undecided")):
        counted = InstanceMetrics("v", "", {**counts, metric.MACHINE_BUSY_SECONDS: busy})
        judged = await judge.judge(record.id, [counted], SPAN)
        assert judged.is_contended is (busy > 10)
        assert judged.figures.verdict.status == expected


async def test_pairs_that_may_still_get_slow_company_are_not_judged_until_the_test_is_over(
    control, telemetry, judge, running
):
    await saw(control, telemetry, judge, 1.0)
    record = await record_of(control)
    # Of these the fast ones came first.
    state = PairState(block_us=1_000_000)
    for number in range(5_000):
        at_s = build.AT_S + 1_200 + number / 20
        state.add(build.pair(f"late {number}", at_s=at_s), Comparison(same=True))
    async with telemetry.writing() as connection:
        ends_us = int((build.AT_S + 1_500) * 1e6)
        await ingest.add_pairs(
            connection, record.id, (await judge.record(record.id)).id, ends_us, state
        )
    live = await judge.judge(record.id, [], SPAN)
    assert (live.state.pairs, live.figures.pairs) == (25_000, 20_000)
    assert live.figures.complete_s == pytest.approx(SETTLED_US / 1e6, abs=1)
    assert {measure.pairs for measure in live.figures.measures} == {20_000}
    over = await judge.judge(record.id, [], SPAN, is_over=True)
    assert (over.state.pairs, over.figures.pairs) == (25_000, 25_000)
    assert over.figures.complete_s is None


async def test_settings_that_change_while_a_test_runs_begin_its_counts_anew(
    control, telemetry, judge, analyses, running
):
    await saw(control, telemetry, judge, 1.3)
    record = await record_of(control)
    before = await judge.judge(record.id, [], SPAN)
    assert (before.state.pairs, before.record.since_s) == (20_000, None)
    shown = await analyses.set("exp", b'{"guardrails": {"stop_when_broken": true}}')
    assert shown["id"] == before.record.id
    shown = await analyses.set("exp", b'{"settings": {"rules": {"slow_down": 1.5}}}')
    assert shown["settings"]["rules"]["slow_down"] == 1.5
    assert shown["settings"]["rules"]["least_pairs"] == 500
    assert shown["guardrails"] == {"stop_when_broken": False, "promote_when_ready": False}
    assert shown["since_s"] > 0
    assert await analyses.show("exp") == shown
    after = await judge.judge(record.id, [], SPAN)
    assert (after.state.pairs, after.record.id) == (0, shown["id"])
    assert after.figures.verdict.status == "undecided"


async def published(control, endpoint_name="ep"):
    async with control.transactions.database.reading() as connection:
        endpoint = await ENDPOINTS.find(connection, endpoint_name)
        return await routing.published(connection, endpoint.id)


async def test_routers_are_told_of_a_noise_share_that_changes_while_the_test_runs(
    control, analyses, running
):
    assert (await published(control)).experiment.noise_share == 0.0
    await analyses.set("exp", b'{"settings": {"noise_share": 0.25}}')

    async def told():
        return (await published(control)).experiment.noise_share == 0.25

    await control.until(told, "the share at the routers")
    await control.call("UpdateInferenceExperiment", Name="exp", ShadowModeConfig=shadow_mode(80))
    await control.until_experiment("exp", "Running")
    route = await published(control)
    assert (route.experiment.noise_share, route.shadow.share) == (0.25, 0.8)


async def test_a_noise_share_that_was_set_before_a_test_starts_comes_with_it(control, analyses):
    await make_endpoint(control)
    await make_model(control, "shad")
    start, end = (
        dt.datetime.fromtimestamp(control.clock.now_s() + after_s, dt.UTC) for after_s in (60, 600)
    )
    request = experiment_request(Schedule={"StartTime": start, "EndTime": end})
    await control.call("CreateInferenceExperiment", **request)
    await control.until_experiment("exp", "Created")
    await analyses.set("exp", b'{"settings": {"noise_share": 0.5}}')
    await control.call("StartInferenceExperiment", Name="exp")
    await control.until_experiment("exp", "Running")
    assert (await published(control)).experiment.noise_share == 0.5


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "cannot be used"),
        (b"[]", "cannot be used"),
        (b'{"settings": 3}', "cannot be used"),
        (b'{"settings": {"rules": {"slow_down": -1}}}', r"settings.rules.slow_down"),
        (b'{"settings": {"task": "ranking"}}', r"settings.task"),
        (b'{"settings": {"unknown": 1}}', "unknown"),
        (b'{"settings": {"noise_share": 1.1}}', r"settings.noise_share"),
        (
            b'{"settings": {"comparator": "/tmp/any.py:function"}}',
            "no comparator '/tmp/any.py:function'; there are default, gnomon, by_rank",
        ),
        (b'{"guardrails": {"stop_when_broken": 1}}', r"guardrails.stop_when_broken"),
    ],
)
async def test_an_analysis_that_cannot_be_is_refused_by_name(analyses, running, body, sentence):
    with pytest.raises(SettingsError, match=sentence):
        await analyses.set("exp", body)


async def test_a_comparator_is_chosen_by_its_name(analyses, running):
    for name in ("by_rank", "gnomon", "default"):
        body = msgspec.json.encode({"settings": {"comparator": name}})
        assert (await analyses.set("exp", body))["settings"]["comparator"] == name


async def test_an_experiment_that_is_over_or_not_there_is_left_alone(control, analyses, running):
    with pytest.raises(ResourceNotFound):
        await analyses.set("other", b"{}")
    await control.call(
        "StopInferenceExperiment",
        Name="exp",
        ModelVariantActions={"AllTraffic": "Retain", "Shadow-01": "Remove"},
    )
    await control.until_experiment("exp", "Cancelled", "Completed")
    with pytest.raises(Conflict, match="until it ends"):
        await analyses.set("exp", b"{}")
    assert (await analyses.show("exp"))["settings"] == msgspec.to_builtins(SETTINGS)


async def test_a_deleted_experiments_settings_are_not_inherited(control, analyses, running):
    shown = await analyses.set("exp", b'{"settings": {"rules": {"slow_down": 1.5}}}')
    await control.call(
        "StopInferenceExperiment",
        Name="exp",
        ModelVariantActions={"AllTraffic": "Retain", "Shadow-01": "Remove"},
    )
    await control.until_experiment("exp", "Cancelled", "Completed")
    await control.call("DeleteInferenceExperiment", Name="exp")
    await control.call("CreateInferenceExperiment", **experiment_request())
    assert (await analyses.show("exp"))["id"] != shown["id"]
    assert (await analyses.show("exp"))["settings"]["rules"]["slow_down"] == 1.1


async def test_guardrails_of_the_settings_hold_where_an_experiment_has_none(
    control, telemetry, running
):
    defaults = GuardrailSettings(stop_when_broken=True)
    judge = Judge(control.transactions.database, telemetry, SETTINGS, defaults)
    await saw(control, telemetry, judge, 1.5)
    await Guardrails(control.transactions, telemetry, judge, control.loop.ring).look()
    assert (await record_of(control)).status == "Stopping"


async def test_what_was_dropped_before_its_counts_began_anew_is_not_judged(
    control, telemetry, judge, analyses, running
):
    await saw(control, telemetry, judge, 1.0)
    record = await record_of(control)
    shown = await analyses.set("exp", b'{"settings": {"rules": {"slow_down": 1.5}}}')
    since_s = shown["since_s"]
    span = Span(since_s - 4_000, since_s + 500, 0.0, 4_500.0)
    await saw(control, telemetry, judge, 1.0)
    async with telemetry.writing() as connection:
        await ingest.add_metric_counts(
            connection,
            [
                {
                    "endpoint_id": record.endpoint_id,
                    "minute": int(since_s // 60) + minutes,
                    "variant_id": record.plan.shadow.variant_id,
                    "instance_id": "",
                    "experiment_id": record.id,
                    "name": name,
                    "value": value,
                }
                for minutes, name, value in [
                    (-60, metric.SAMPLED, 20_000.0),
                    (-60, metric.DROPPED_PREFIX + "over_budget", 20_000.0),
                    (-60, metric.MACHINE_SECONDS, 1_000.0),
                    (-60, metric.MACHINE_BUSY_SECONDS, 1_000.0),
                    (1, metric.SAMPLED, 20_000.0),
                    (1, metric.MACHINE_SECONDS, 400.0),
                ]
            ],
        )
    whole = InstanceMetrics(
        record.plan.shadow.variant_id,
        "",
        {metric.SAMPLED: 40_000.0, metric.DROPPED_PREFIX + "over_budget": 20_000.0},
    )
    judged = await judge.judge(record.id, [whole], span)
    verdict = judged.figures.verdict
    assert (judged.state.pairs, judged.is_contended) == (20_000, False)
    assert not any("dropped" in reason for reason in verdict.reasons)
    p99 = next(rule for rule in verdict.rules if rule.name == "p99")
    if p99.more_pairs:
        assert p99.more_s == pytest.approx(500 * p99.more_pairs / 20_000, rel=0.01)


async def test_the_slow_down_over_time_has_the_interval_of_its_rule(
    control, telemetry, judge, running
):
    await saw(control, telemetry, judge, 1.0)
    judged = await judge.judge((await record_of(control)).id, [], SPAN)
    rule = next(rule for rule in judged.figures.verdict.rules if rule.name == "slow_down")
    newest = judged.progress[-1]
    assert (newest["low"], newest["high"]) == (
        rule.measure.interval.low,
        rule.measure.interval.high,
    )
