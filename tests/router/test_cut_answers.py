"""What was read of an answer that is cut is let go at once, not by a collection much later."""

from __future__ import annotations

import gc

from gnomon.router.upstream import UpstreamConnection
from gnomon.settings import RouterSettings
from gnomon.testing.fake_upstream import FakeUpstream, answer
from gnomon.testing.router_rig import endpoint, running_router, until, variant

# Several times what is read at once.
LIMIT_BYTES = 2 * 1024 * 1024


async def test_nothing_is_left_of_an_answer_that_is_too_large(tmp_path):
    settings = RouterSettings(drain_idle_s=0.0, mirror_max_answer_bytes=LIMIT_BYTES)
    too_large = answer(200, bytes(4 * LIMIT_BYTES))
    gc.collect()
    gc.disable()
    try:
        async with (
            FakeUpstream() as model,
            FakeUpstream(too_large) as shadow,
            running_router(tmp_path, settings=settings) as rig,
        ):
            await rig.apply(
                endpoint("demo", variant("prod", model.port), shadow=variant("shadow", shadow.port))
            )
            await rig.invoke("demo")
            await until(lambda: shadow.requests and not rig.router.copies_in_flight)
            rig.flush()
            assert rig.spool.counts("v-shadow")["dropped.too_large"] == 1
            connections = [o for o in gc.get_objects() if isinstance(o, UpstreamConnection)]
            assert connections
            assert [connection._body for connection in connections if connection._body] == []
    finally:
        gc.enable()
