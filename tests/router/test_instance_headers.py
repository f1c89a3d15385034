"""Headers that settings give to an instance are on every request to it."""

import pytest

from gnomon.model.snapshot import Instance, Variant
from gnomon.testing import fake_upstream
from gnomon.testing.fake_upstream import FakeUpstream
from gnomon.testing.router_rig import endpoint, running_router, until, variant


@pytest.fixture
async def server():
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
async def shadow():
    async with FakeUpstream() as upstream:
        yield upstream


def at(name: str, server: FakeUpstream, host: str = "127.0.0.1", **headers: str) -> Variant:
    """A variant whose one instance is a server with paths and headers of its own."""
    instance = Instance(
        f"{name}-1",
        host,
        server.port,
        ping_path="/base/ready",
        invocation_path="/base/infer",
        headers=tuple((key.replace("_", "-"), value) for key, value in headers.items()),
    )
    return Variant(f"v-{name}", name, 1.0, (instance,))


async def test_they_take_the_place_of_the_clients(tmp_path, server):
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", at("v", server, X_Key="k", content_TYPE="a/b")))
        answer = await rig.invoke("demo", b"{}", content_type="text/csv", accept="c/d")
    assert (answer.status, answer.body) == (200, b"{}")
    (request,) = server.requests
    assert request.path == "/base/infer"
    assert request.headers["x-key"] == "k"
    assert request.headers["content-type"] == "a/b"
    assert request.headers["accept"] == "c/d"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"


async def test_copies_have_the_shadows_and_not_productions(tmp_path, server, shadow):
    async with running_router(tmp_path) as rig:
        await rig.apply(
            endpoint(
                "demo",
                at("v", server, Authorization="production", Accept="x/y"),
                shadow=at("s", shadow, Authorization="shadow"),
            )
        )
        await rig.invoke("demo", b"{}", accept="c/d")
        await until(lambda: shadow.requests)
    (request,), (copy,) = server.requests, shadow.requests
    assert (request.headers["authorization"], request.headers["accept"]) == ("production", "x/y")
    assert (copy.headers["authorization"], copy.headers["accept"]) == ("shadow", "c/d")
    assert copy.headers["x-gnomon-shadow"] == "s"


async def test_a_host_of_its_own(tmp_path, server):
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", at("v", server, Host="model.example")))
        await rig.invoke("demo")
    assert server.requests[0].headers["host"] == "model.example"


async def test_an_instance_may_be_named_by_its_hosts_name(tmp_path, server):
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", at("v", server, host="localhost")))
        answer = await rig.invoke("demo")
    assert answer.status == 200
    assert server.requests[0].headers["host"] == f"localhost:{server.port}"


async def test_a_name_that_is_nobodys_is_as_good_as_refused(tmp_path, server):
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", at("v", server, host="nobody.invalid")))
        answer = await rig.invoke("demo")
    assert answer.status == 503


async def test_a_ping_has_them_too(tmp_path, server, shadow):
    server.behaviour = fake_upstream.reset
    own = at("v", server, X_Key="k").instances
    others = variant("v", shadow.port).instances
    async with running_router(tmp_path) as rig:
        await rig.apply(endpoint("demo", Variant("v-v", "v", 1.0, own + others)))
        for _ in range(10):
            await rig.invoke("demo")
        await until(lambda: any(request.method == "GET" for request in server.requests))
    (ping, *_) = [request for request in server.requests if request.method == "GET"]
    assert ping.path == "/base/ready"
    assert ping.headers["x-key"] == "k"
