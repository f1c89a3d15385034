"""A router's own /metrics, on a port of its own, and the requests in flight that it counts."""

import asyncio
import contextlib
import socket

import structlog
from prometheus_client.parser import text_string_to_metric_families

from gnomon.model import metric
from gnomon.model.snapshot import Removed, Update
from gnomon.router.metrics_page import MetricsPage
from gnomon.router.totals import Totals
from gnomon.spool.frames import Metrics
from gnomon.testing.fake_upstream import FakeUpstream, Gate
from gnomon.testing.raw_http import RawClient, invocation, post
from gnomon.testing.router_rig import endpoint, running_router, until, variant

SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n"
SUM = metric.CONCURRENT_REQUESTS + metric.SUM_SUFFIX


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return bound.getsockname()[1]


@contextlib.asynccontextmanager
async def page_of(totals, port):
    serving = asyncio.create_task(MetricsPage(totals, None).serve("127.0.0.1", port))
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def ask(port, request=SCRAPE):
    async with asyncio.timeout(30):
        while True:
            try:
                async with RawClient(port) as client:
                    return await client.ask(request)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)


async def samples(port):
    answer = await ask(port)
    assert answer.status == 200
    return {
        (sample.name, sample.labels.get("variant")): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
        if sample.labels.get("endpoint") == "demo"
    }


async def test_a_scrape_has_what_this_router_counted_since_it_began(tmp_path):
    totals, port = Totals(), free_port()
    async with (
        FakeUpstream() as model,
        running_router(tmp_path, totals=totals) as rig,
        page_of(totals, port),
    ):
        await rig.apply(endpoint("demo", variant("prod", model.port)))
        for expected in (1, 2):
            await rig.invoke("demo")
            rig.flush()
            found = await samples(port)
            assert found["gnomon_invocations_total", "prod"] == expected
            assert found["gnomon_model_latency_seconds_count", "prod"] == expected
        # A variant that goes keeps its counts, an endpoint that goes takes them along.
        await rig.apply(endpoint("demo", variant("next", model.port), version=2))
        assert (await samples(port))["gnomon_invocations_total", "prod"] == 2
        await rig.router.apply(Update(9, (), (Removed("e-demo", 9),)))
        assert await samples(port) == {}


async def test_anything_but_a_get_of_metrics_is_refused(tmp_path):
    port = free_port()
    async with page_of(Totals(), port):
        assert (await ask(port, SCRAPE.replace(b"/metrics", b"/other"))).status == 404
        assert (await ask(port, post("/metrics"))).status == 405


async def test_a_port_that_is_taken_is_said_once_and_had_when_it_is_free():
    with socket.create_server(("127.0.0.1", 0)) as holder, structlog.testing.capture_logs() as said:
        port = holder.getsockname()[1]
        async with page_of(Totals(), port):
            await until(lambda: said)
            holder.close()
            assert (await ask(port)).status == 200
    assert [line["event"] for line in said] == ["/metrics is not served now"]


async def test_requests_in_flight_are_sampled_at_each_flush_while_there_is_traffic(tmp_path):
    gate = Gate()
    async with FakeUpstream(gate) as model, running_router(tmp_path) as rig:
        production, shadow = variant("prod", model.port), variant("shadow", model.port)
        await rig.apply(endpoint("demo", production, shadow=shadow))
        rig.flush()
        assert not any(isinstance(frame, Metrics) for frame in rig.spool.frames)
        async with RawClient(rig.port) as one, RawClient(rig.port) as other:
            for client in (one, other):
                await client.send(invocation("demo", b"x"))
            await until(lambda: len(model.requests) == 4)
            rig.flush()
            for name in ("v-prod", "v-shadow"):
                assert rig.spool.counts(name)[SUM] == 2
            gate.open()
            for client in (one, other):
                await client.read()
        await until(lambda: not rig.router.copies_in_flight)
        # The second in which they ended has a sample of none; idle ones have none at all.
        for _ in range(3):
            rig.flush()
        assert rig.spool.counts("v-prod")[SUM] == 2
        buckets = [
            delta.histograms[metric.CONCURRENT_REQUESTS]
            for frame in rig.spool.frames
            for delta in getattr(frame, "deltas", ())
            if delta.variant_id == "v-prod" and metric.CONCURRENT_REQUESTS in delta.histograms
        ]
        assert buckets == [{2: 1}, {0: 1}]
