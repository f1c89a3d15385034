import msgspec
import pytest

from gnomon.model.ids import ulid
from gnomon.model.spec import Container, EndpointSpec, VariantSpec

VARIANT = VariantSpec(
    id="V",
    name="AllTraffic",
    model_name="m",
    model_id="M",
    container=Container("image", "s3://b/m.tar.gz", {"A": "1"}),
    instance_type="ml.m5.xlarge",
    count=2,
    weight=1.0,
)


@pytest.mark.parametrize(
    "change",
    [
        {"model_id": "N"},
        {"container": Container("other", "s3://b/m.tar.gz", {"A": "1"})},
        {"container": Container("image", "s3://b/m.tar.gz", {"A": "2"})},
        {"instance_type": "ml.m5.large"},
        {"kms_key": "alias/volumes"},
    ],
    ids=str,
)
def test_what_an_instance_runs_is_its_identity(change):
    assert msgspec.structs.replace(VARIANT, **change).fingerprint != VARIANT.fingerprint


def test_without_a_key_it_is_as_it_was_before_there_were_keys():
    # Else an update of Gnomon restarted every instance.
    assert VARIANT.fingerprint == "05610d9ca117ca9b81f77b46b300b20e"


@pytest.mark.parametrize("change", [{"count": 5}, {"weight": 0.25}, {"name": "B"}], ids=str)
def test_size_and_share_are_not(change):
    assert msgspec.structs.replace(VARIANT, **change).fingerprint == VARIANT.fingerprint


@pytest.mark.parametrize(
    ("production", "shadow", "share"),
    [(1.0, 0.5, 0.5), (2.0, 0.5, 0.25), (1.0, 3.0, 1.0), (0, 1, 0)],
)
def test_a_shadows_share_is_its_weight_over_productions(production, shadow, share):
    spec = EndpointSpec(
        config_name="c",
        production=(msgspec.structs.replace(VARIANT, weight=production),),
        shadow=msgspec.structs.replace(VARIANT, weight=shadow),
    )
    assert spec.shadow_share == share


def test_ulids_sort_by_time():
    assert ulid(1.0, b"\xff" * 10) < ulid(1.001, b"\x00" * 10)
    assert len(ulid(1.0, b"\0" * 10)) == 26


def test_a_ulid_is_the_one_of_the_specification():
    # 1469918176385 ms is the specification's own example of a time part.
    assert ulid(1469918176.385, b"\0" * 10).startswith("01ARYZ6S41")
