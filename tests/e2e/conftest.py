import itertools

import pytest

from gnomon.testing.processes import EchoModels, running_gnomon

_numbers = itertools.count()


@pytest.fixture(scope="session")
def gnomon(tmp_path_factory):
    """One Gnomon for all tests of a worker: each has endpoints of its own."""
    with running_gnomon(
        # Deeper than a socket's address is long.
        tmp_path_factory.mktemp("gnomon") / ("d" * 110),
        # boto3 keeps idle connections: they need not be waited for when a worker ends.
        GNOMON_ROUTER_DRAIN_IDLE_S="0.2",
    ) as running:
        yield running


@pytest.fixture
def echo(gnomon, tmp_path):
    """Echo models under a name that no other test has."""
    return EchoModels(gnomon, tmp_path, f"e2e-{next(_numbers)}")
