"""What capture and comparison get: exchanges and pairs."""

import hashlib

import pytest

from gnomon.model import metric
from gnomon.model.snapshot import Capture, FrameKey
from gnomon.settings import RouterSettings
from gnomon.spool.frames import Exchange, Noise, Pair
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream, Gate
from gnomon.testing.router_rig import endpoint, running_router, until, variant


@pytest.fixture
async def model():
    async with FakeUpstream() as server:
        yield server


@pytest.fixture
async def shadow():
    behaviour = fake_upstream.answer(201, b"shadow", Content_Type="text/plain")
    async with FakeUpstream(behaviour) as server:
        yield server


def demo(model, shadow, *captures, **more):
    return endpoint(
        "demo",
        variant("prod", model.port),
        shadow=variant("shadow", shadow.port),
        captures=captures,
        **more,
    )


async def test_a_pair_has_both_answers(tmp_path, model, shadow):
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        answer = await rig.invoke("demo", b"prod")
        await until(lambda: rig.spool.of(Pair))
    (pair,) = rig.spool.of(Pair)
    assert pair.experiment_id == "x-demo"
    assert pair.endpoint_id == "e-demo"
    assert (pair.production_variant_id, pair.shadow_variant_id) == ("v-prod", "v-shadow")
    assert pair.event_id == answer.headers["x-gnomon-event-id"]
    production, copy = pair.production, pair.shadow
    assert (production.status, production.body, production.body_bytes) == (200, b"prod", 4)
    assert production.instance_id == answer.headers["x-gnomon-instance"]
    assert production.content_type == "application/octet-stream"
    assert (copy.status, copy.body, copy.content_type) == (201, b"shadow", "text/plain")
    assert copy.failure == production.failure == ""
    assert 0 < copy.latency_us < 10_000_000
    assert copy.sha256 is None


async def test_a_pair_waits_for_the_slower_side(tmp_path, model, shadow):
    gate = Gate()
    model.behaviour = gate
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        async with rig.client() as client:
            await client.send(b"POST /endpoints/demo/invocations HTTP/1.1\r\n\r\n")
            await until(lambda: rig.router.copies_in_flight == 0 and shadow.requests)
            assert rig.spool.of(Pair) == []
            gate.open()
            await client.read()
        assert len(rig.spool.of(Pair)) == 1


async def test_long_bodies_of_a_pair_are_cut_and_hashed(tmp_path, model, shadow):
    settings = RouterSettings(pair_body_bytes=100, drain_idle_s=0.0)
    body = bytes(range(256)) * 10
    async with running_router(tmp_path, settings=settings) as rig:
        await rig.apply(demo(model, shadow))
        await rig.invoke("demo", body)
        await until(lambda: rig.spool.of(Pair))
    (pair,) = rig.spool.of(Pair)
    assert pair.production.body == body[:100]
    assert pair.production.body_bytes == 2560
    assert pair.production.sha256 == hashlib.sha256(body).digest()
    assert pair.shadow.sha256 is None


async def test_a_failed_production_is_in_its_pair(tmp_path, model, shadow):
    model.behaviour = fake_upstream.reset
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow))
        await rig.invoke("demo")
        await until(lambda: rig.spool.of(Pair))
    (pair,) = rig.spool.of(Pair)
    assert (pair.production.status, pair.production.failure) == (0, "reset")
    assert pair.shadow.status == 201


async def test_both_sides_are_captured_under_one_event_id(tmp_path, model, shadow):
    capture = Capture("c-1", "x-demo")
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow, capture))
        await rig.invoke(
            "demo", b"body", Content_Type="text/csv", X_Amzn_SageMaker_Inference_Id="i-1"
        )
        await until(lambda: len(rig.spool.of(Exchange)) == 2)
    by_variant = {exchange.variant_name: exchange for exchange in rig.spool.of(Exchange)}
    production, copy = by_variant["prod"], by_variant["shadow"]
    assert production.event_id == copy.event_id
    assert production.at_s == copy.at_s
    for exchange in (production, copy):
        assert exchange.capture_id == "c-1"
        assert exchange.endpoint_name == "demo"
        assert exchange.inference_id == "i-1"
        assert exchange.request_content_type == "text/csv"
        assert exchange.request_body == b"body"
    assert (production.status, production.response_body) == (200, b"body")
    assert (copy.status, copy.response_body) == (201, b"shadow")
    assert copy.response_content_type == "text/plain"


async def test_a_destination_gets_only_what_it_wants(tmp_path, model):
    captures = [
        Capture("in", "", request=True, response=False),
        Capture("out", "", request=False, response=True),
        Capture("none", "", share=0.0),
    ]
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("prod", model.port), captures=captures))
        await rig.invoke("demo", b"body")
        await until(lambda: len(rig.spool.of(Exchange)) == 2)
    by_capture = {exchange.capture_id: exchange for exchange in rig.spool.of(Exchange)}
    assert set(by_capture) == {"in", "out"}
    assert by_capture["in"].request_body == b"body"
    assert by_capture["in"].response_body is None
    assert by_capture["out"].request_body is None
    assert by_capture["out"].response_body == b"body"


async def test_a_share_of_requests_is_captured(tmp_path, model):
    async with running_router(tmp_path, seed=5) as rig:
        capture = Capture("c", "", share=0.5)
        await rig.apply(endpoint("demo", variant("prod", model.port), captures=[capture]))
        for _ in range(100):
            await rig.invoke("demo")
    assert 30 <= len(rig.spool.of(Exchange)) <= 70


async def test_an_experiments_capture_ends_with_it(tmp_path, model, shadow):
    captures = (Capture("own", ""), Capture("experiment", "x-demo"))
    async with running_router(tmp_path) as rig:
        await rig.apply(
            endpoint(
                "demo",
                variant("prod", model.port),
                shadow=variant("shadow", shadow.port),
                captures=captures,
                ends_at_s=1.0,
            )
        )
        await rig.invoke("demo")
    assert [exchange.capture_id for exchange in rig.spool.of(Exchange)] == ["own"]


async def test_an_exchange_without_an_answer_is_captured_as_such(tmp_path, model):
    model.behaviour = fake_upstream.reset
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", variant("prod", model.port), captures=[Capture("c", "")]))
        await rig.invoke("demo", b"body")
    (exchange,) = rig.spool.of(Exchange)
    assert (exchange.status, exchange.response_body) == (0, None)
    assert exchange.request_body == b"body"


async def test_what_the_spool_has_no_room_for_is_counted(tmp_path, model, shadow):
    capture = Capture("c", "x-demo")
    async with running_router(tmp_path) as rig:
        await rig.apply(demo(model, shadow, capture))
        rig.spool.is_full = True
        await rig.invoke("demo", b"1")
        await until(lambda: not rig.router.copies_in_flight)
        rig.spool.is_full = False
        rig.router.tick()
        await until(lambda: rig.spool.counts("v-shadow")["pairs_lost"])
    assert rig.spool.counts("v-shadow")["pairs_lost"] == 1
    assert rig.spool.counts("v-shadow")["captures_lost"] == 1
    assert rig.spool.counts("v-prod")["captures_lost"] == 1


async def test_with_a_key_exchanges_pairs_and_noise_are_sealed(tmp_path, model, shadow):
    key = FrameKey(b"wrapped", bytes(32))
    capture = Capture("c", "x-demo")
    spec = demo(model, shadow, capture, kms_key="alias/volumes", frame_key=key, noise_share=1.0)
    async with running_router(tmp_path) as rig:
        await rig.apply(spec)
        await rig.invoke("demo")
        await until(lambda: rig.spool.of(Pair) and rig.spool.of(Noise))
        await until(lambda: len(rig.spool.of(Exchange)) == 2)
    payloads = [*rig.spool.of(Pair), *rig.spool.of(Exchange), *rig.spool.of(Noise)]
    assert sorted(map(id, rig.spool.sealed)) == sorted(map(id, payloads))


async def test_a_key_that_is_missing_costs_records_and_no_request(tmp_path, model, shadow):
    spec = demo(model, shadow, Capture("c", "x-demo"), kms_key="alias/volumes")
    async with running_router(tmp_path) as rig:
        await rig.apply(spec)
        assert (await rig.invoke("demo")).status == 200
        await until(lambda: not rig.router._plane.mirror.in_flight)
        rig.flush()
        await until(lambda: rig.spool.counts("v-shadow")[metric.PAIRS_LOST])
    assert not rig.spool.of(Pair)
    assert not rig.spool.of(Exchange)
    assert rig.spool.counts("v-prod")[metric.CAPTURES_LOST] == 1
    assert rig.spool.counts("v-shadow")[metric.CAPTURES_LOST] == 1


async def test_a_key_that_control_has_no_more_is_used_on(tmp_path, model, shadow):
    key = FrameKey(b"wrapped", bytes(32))
    capture = Capture("c", "x-demo")
    spec = demo(model, shadow, capture, kms_key="alias/volumes", frame_key=key)
    async with running_router(tmp_path) as rig:
        await rig.apply(spec)
        await rig.apply(demo(model, shadow, kms_key="alias/volumes"))
        await rig.invoke("demo")
        await until(lambda: rig.spool.of(Pair))
        assert len(rig.spool.sealed) == 1
        # Another KMS key has another data key.
        await rig.apply(demo(model, shadow, kms_key="alias/others"))
        await rig.invoke("demo")
        await until(lambda: not rig.router._plane.mirror.in_flight)
        rig.flush()
        await until(lambda: rig.spool.counts("v-shadow")[metric.PAIRS_LOST])
    assert len(rig.spool.of(Pair)) == 1
