"""The table of instance types has what SageMaker has, and what it says of some is AWS's."""

from pathlib import Path

import pytest

from gnomon.aws.service import load_service
from gnomon.model.instance_types import InstanceSize, memory_bytes, size_of, threads

GIB = 1024**3
MANUAL = Path(__file__).parents[1] / "aws" / "manual_instance_types.txt"
# Its size is not published as the others'.
UNKNOWN = {"ml.geospatial.interactive"}


def test_every_type_of_the_model_has_its_size():
    types = load_service(()).instance_types
    assert {type_ for type_ in types if size_of(type_) is None} == UNKNOWN & types


def test_every_type_of_the_manual_page_has_its_size():
    assert [type_ for type_ in MANUAL.read_text().split() if size_of(type_) is None] == []


@pytest.mark.parametrize(
    ("type_", "vcpus", "gib", "gpus"),
    [
        ("ml.t2.medium", 2, 4, 0),
        ("ml.m5.xlarge", 4, 16, 0),
        ("ml.m4.10xlarge", 40, 160, 0),
        ("ml.c4.8xlarge", 36, 60, 0),
        ("ml.c5.18xlarge", 72, 144, 0),
        ("ml.c5n.large", 2, 5.25, 0),
        ("ml.c5n.9xlarge", 36, 96, 0),
        ("ml.g7.24xlarge", 96, 384, 4),
        ("ml.r5.24xlarge", 96, 768, 0),
        ("ml.m6g.medium", 1, 4, 0),
        ("ml.inf1.6xlarge", 24, 48, 0),
        ("ml.g4dn.12xlarge", 48, 192, 4),
        ("ml.g5.48xlarge", 192, 768, 8),
        ("ml.p2.16xlarge", 64, 732, 16),
        ("ml.p3.2xlarge", 8, 61, 1),
        ("ml.p4d.24xlarge", 96, 1152, 8),
    ],
)
def test_sizes_are_those_of_ec2(type_, vcpus, gib, gpus):
    assert size_of(type_) == InstanceSize(vcpus, int(gib * GIB), gpus)
    assert memory_bytes(type_) == gib * GIB


def test_a_type_without_a_size_bounds_nothing():
    assert memory_bytes("ml.geospatial.interactive") is None
    assert threads("ml.geospatial.interactive", cores=16) == 8


@pytest.mark.parametrize(
    ("type_", "cores", "expected"),
    [
        ("ml.m6g.medium", 64, 1),
        ("ml.t2.medium", 64, 2),
        ("ml.m5.4xlarge", 64, 16),
        ("ml.m5.4xlarge", 8, 4),
        ("ml.m5.4xlarge", 1, 1),
    ],
)
def test_threads_are_the_vcpus_and_half_the_machine_at_most(type_, cores, expected):
    assert threads(type_, cores) == expected
