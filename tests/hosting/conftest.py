"""What the tests of hosting share: a data directory whose instances end with the test."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gnomon.hosting.files import InstanceFiles
from gnomon.hosting.process import ProcessHost
from gnomon.hosting.serving_archive import pack
from gnomon.hosting.session import kill_session_of
from gnomon.settings import HostingSettings

MakeHost = Callable[..., ProcessHost]


@pytest.fixture
def eventually():
    """Wait until a condition (plain or awaitable) holds, and return what it gave."""

    async def wait(condition: Callable[[], object | Awaitable[object]], limit_s: float = 20.0):
        deadline_s = time.monotonic() + limit_s
        while True:
            value = condition()
            if isinstance(value, Awaitable):
                value = await value
            if value:
                return value
            assert time.monotonic() < deadline_s, "the condition did not come true in time"
            await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "data"
    yield directory
    for entry in directory.glob("instances/*"):
        leader = InstanceFiles(directory, entry.name).read_leader()
        while leader is not None and not kill_session_of(leader):
            time.sleep(0.01)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("serving"))


@pytest.fixture
async def make_host(data_dir: Path, archive: Path):
    """Makes process hosts on the same data directory: each is one control's life."""
    hosts = []

    def make(**settings: object) -> ProcessHost:
        environ = {**os.environ, "PYTHONPATH": "/of/gnomon", "AWS_SECRET_ACCESS_KEY": "secret"}
        host = ProcessHost(data_dir, HostingSettings(**settings), environ, archive)
        hosts.append(host)
        return host

    yield make
    for host in hosts:
        await host.close()
