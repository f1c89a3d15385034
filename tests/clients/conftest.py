import itertools
import os

import pytest

from gnomon.testing.processes import EchoModels, running_gnomon

_numbers = itertools.count()


@pytest.fixture(scope="session")
def gnomon(tmp_path_factory):
    """One Gnomon for all tests of a worker: each has resources of its own."""
    directory = tmp_path_factory.mktemp("gnomon")
    # As in an account of AWS's, where a type that nobody asked for has the limit 0.
    (directory / "gnomon.toml").write_text('[quotas.instances]\n"ml.m4.xlarge" = 0\n')
    with running_gnomon(directory, GNOMON_ROUTER_DRAIN_IDLE_S="0.2") as running:
        yield running


@pytest.fixture
def echo(gnomon, tmp_path):
    """Echo models under a name that no other test has."""
    return EchoModels(gnomon, tmp_path, f"client-{next(_numbers)}")


@pytest.fixture(scope="session")
def environ(gnomon, tmp_path_factory):
    """What a client's process gets: the variables of `gnomon env`, and nothing of this machine's
    AWS configuration.
    """
    return {
        "HOME": str(tmp_path_factory.mktemp("home")),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_ENDPOINT_URL_CLOUDWATCH": gnomon.url,
        "AWS_ENDPOINT_URL_SAGEMAKER": gnomon.url,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": gnomon.url,
        "AWS_ACCESS_KEY_ID": "gnomon",
        "AWS_SECRET_ACCESS_KEY": "gnomon",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
    }
