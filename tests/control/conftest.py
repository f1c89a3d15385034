import pytest

from gnomon.testing.control import FakeClock, running_control
from gnomon.testing.fake_host import FakeMachine


@pytest.fixture
def machine():
    machine = FakeMachine(listens=True)
    yield machine
    for instance in machine.instances.values():
        if instance.server is not None:
            instance.server.close()


@pytest.fixture
async def control(tmp_path, machine):
    async with running_control(tmp_path, machine, FakeClock()) as running:
        yield running
