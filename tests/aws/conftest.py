"""The service as the tests of this package load it: once a worker, since it is immutable."""

import pytest

from gnomon.aws.service import Service, load_service

SUPPORTED = (
    "CreateEndpoint",
    "CreateEndpointConfig",
    "CreateInferenceExperiment",
    "CreateModel",
    "DeleteEndpoint",
    "DescribeEndpoint",
    "DescribeInferenceExperiment",
    "ListInferenceExperiments",
)


@pytest.fixture(scope="session")
def service() -> Service:
    return load_service(SUPPORTED)
