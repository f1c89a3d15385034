import copy
import datetime as dt
from typing import Any

import pytest
from botocore.model import ShapeResolver
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.aws.service import Service
from gnomon.aws.validation import validate
from gnomon.errors import ValidationFailed

CONFIG: dict[str, Any] = {
    "EndpointConfigName": "config",
    "ProductionVariants": [
        {
            "VariantName": "AllTraffic",
            "ModelName": "model",
            "InstanceType": "ml.m5.xlarge",
            "InitialInstanceCount": 1,
        }
    ],
}


def message(service: Service, operation: str, params: dict[str, Any]) -> str:
    shape = service.operation(operation).input_shape
    with pytest.raises(ValidationFailed) as caught:
        validate(shape, params, service.instance_types)
    return str(caught.value)


def config_with(**members: Any) -> dict[str, Any]:
    """The configuration above with members of its variant replaced."""
    params = copy.deepcopy(CONFIG)
    params["ProductionVariants"][0].update(members)
    return params


def test_a_request_without_fault_passes(service: Service) -> None:
    validate(service.operation("CreateEndpointConfig").input_shape, CONFIG, service.instance_types)


def test_a_required_member_that_is_absent_is_null(service: Service) -> None:
    assert message(service, "CreateEndpoint", {"EndpointName": "e"}) == (
        "1 validation error detected: Value null at 'endpointConfigName' failed to satisfy "
        "constraint: Member must not be null"
    )


def test_a_list_item_that_is_null_is_named_by_its_place(service: Service) -> None:
    params = CONFIG | {"ProductionVariants": [*CONFIG["ProductionVariants"], None]}
    assert message(service, "CreateEndpointConfig", params) == (
        "1 validation error detected: Value null at 'productionVariants.2.member' failed to "
        "satisfy constraint: Member must not be null"
    )


PATTERN = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"


@pytest.mark.parametrize(
    ("params", "failure"),
    [
        (
            config_with(ModelName="a" * 64),
            (
                f"Value '{'a' * 64}' at 'productionVariants.1.member.modelName' failed to satisfy "
                "constraint: Member must have length less than or equal to 63"
            ),
        ),
        (
            config_with(ModelName="a_b"),
            (
                "Value 'a_b' at 'productionVariants.1.member.modelName' failed to satisfy "
                r"constraint: Member must satisfy regular expression pattern: "
                r"[a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?"
            ),
        ),
        (
            config_with(InitialInstanceCount=-1),
            (
                "Value '-1' at 'productionVariants.1.member.initialInstanceCount' failed to "
                "satisfy constraint: Member must have value greater than or equal to 1"
            ),
        ),
        (
            config_with(ModelDataDownloadTimeoutInSeconds=3601),
            (
                "Value '3601' at 'productionVariants.1.member.modelDataDownloadTimeoutInSeconds' "
                "failed to satisfy constraint: Member must have value less than or equal to 3600"
            ),
        ),
        (
            config_with(InitialVariantWeight=-0.5),
            (
                "Value '-0.5' at 'productionVariants.1.member.initialVariantWeight' failed to "
                "satisfy constraint: Member must have value greater than or equal to 0"
            ),
        ),
        (
            config_with(ManagedInstanceScaling={"Status": "ON"}),
            (
                "Value 'ON' at 'productionVariants.1.member.managedInstanceScaling.status' failed "
                "to satisfy constraint: Member must satisfy enum value set: [ENABLED, DISABLED]"
            ),
        ),
        (
            CONFIG | {"ProductionVariants": []},
            (
                "Value '[]' at 'productionVariants' failed to satisfy constraint: Member must have "
                "length greater than or equal to 1"
            ),
        ),
        (
            CONFIG | {"Tags": [{"Key": "k", "Value": "v"}] * 51},
            (
                f"Value '[{', '.join(['{Key=k, Value=v}'] * 51)}]' at 'tags' failed to satisfy "
                "constraint: Member must have length less than or equal to 50"
            ),
        ),
    ],
)
def test_one_fault_is_said_in_sagemakers_words(
    service: Service, params: dict[str, Any], failure: str
) -> None:
    assert message(service, "CreateEndpointConfig", params) == (
        f"1 validation error detected: {failure}"
    )


def test_a_value_that_breaks_two_constraints_gives_two_errors(service: Service) -> None:
    name = "_" * 64
    params = {"EndpointName": name, "EndpointConfigName": "config"}
    assert message(service, "CreateEndpoint", params) == (
        f"2 validation errors detected: Value '{name}' at 'endpointName' failed to satisfy "
        f"constraint: Member must have length less than or equal to 63; Value '{name}' at "
        "'endpointName' failed to satisfy constraint: Member must satisfy regular expression "
        f"pattern: {PATTERN}"
    )


def test_a_pattern_must_match_the_whole_value(service: Service) -> None:
    params = {"EndpointName": "good\n", "EndpointConfigName": "config"}
    assert "regular expression pattern" in message(service, "CreateEndpoint", params)


def test_faults_stand_in_the_order_of_the_shape_whatever_the_request_has(service: Service) -> None:
    one = message(service, "CreateEndpoint", {"EndpointName": "_", "EndpointConfigName": "_"})
    two = message(service, "CreateEndpoint", {"EndpointConfigName": "_", "EndpointName": "_"})
    assert one == two
    assert one.index("endpointName") < one.index("endpointConfigName")


def test_the_members_of_each_list_item_are_looked_at(service: Service) -> None:
    params = CONFIG | {"ProductionVariants": [*CONFIG["ProductionVariants"], {}]}
    assert message(service, "CreateEndpointConfig", params) == (
        "1 validation error detected: Value null at 'productionVariants.2.member.variantName' "
        "failed to satisfy constraint: Member must not be null"
    )


def test_map_keys_and_values_are_checked(service: Service) -> None:
    environment = {"9": "x" * 20_000, "A": "b"}
    params = {
        "ModelName": "m",
        "ExecutionRoleArn": "arn:aws:iam::000000000000:role/role",
        "PrimaryContainer": {"Image": "image", "Environment": environment},
    }
    limit = service.model.shape_for("EnvironmentValue").metadata["max"]
    at = "at 'primaryContainer.environment' failed to satisfy constraint:"
    text = message(service, "CreateModel", params)
    assert text.startswith("2 validation errors detected: Value '{9=xxx")
    assert (
        f"{at} Map keys must satisfy constraint: [Member must satisfy regular expression pattern: "
        "[a-zA-Z_][a-zA-Z0-9_]*]" in text
    )
    assert (
        f"{at} Map value must satisfy constraint: [Member must have length less than or equal to "
        f"{limit}]" in text
    )


def test_a_long_value_is_cut_where_it_is_shown(service: Service) -> None:
    params = {"EndpointName": "x" * 100_000, "EndpointConfigName": "config"}
    assert len(message(service, "CreateEndpoint", params)) < 10_000


def test_an_instance_type_of_another_enum_is_taken(service: Service) -> None:
    own = service.model.shape_for("ProductionVariantInstanceType").metadata["enum"]
    assert "ml.t3.medium" not in own
    shape = service.operation("CreateEndpointConfig").input_shape
    validate(shape, config_with(InstanceType="ml.t3.medium"), service.instance_types)


def test_an_instance_type_of_no_enum_is_refused_with_all_that_are_taken(service: Service) -> None:
    text = message(service, "CreateEndpointConfig", config_with(InstanceType="ml.t3.tiny"))
    assert "'productionVariants.1.member.instanceType'" in text
    assert "Member must satisfy enum value set: [" in text
    assert "ml.t3.medium" in text


def test_an_instance_type_is_no_accelerator_type(service: Service) -> None:
    text = message(service, "CreateEndpointConfig", config_with(AcceleratorType="ml.m5.xlarge"))
    assert "acceleratorType" in text


def test_a_request_of_countless_faults_gets_a_bounded_answer(service: Service) -> None:
    text = message(service, "CreateEndpointConfig", CONFIG | {"ProductionVariants": [{}] * 100_000})
    assert text.startswith("50 validation errors detected: ")
    assert len(text) < 50_000


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "true"),
        (0.5, "0.5"),
        ({"a": None}, "{a=null}"),
        (["a", ["b"]], "[a, [b]]"),
        (dt.datetime(2026, 11, 21, tzinfo=dt.UTC), "2026-11-21T00:00:00+00:00"),
    ],
)
def test_values_are_shown_as_java_prints_them(value: Any, shown: str) -> None:
    anything = {"type": "structure", "members": {}}
    empty_list = {"type": "list", "max": 0, "member": {"shape": "Anything"}}
    shape = ShapeResolver({"List": empty_list, "Anything": anything}).get_shape_by_name("List")
    with pytest.raises(ValidationFailed) as caught:
        validate(shape, [value], frozenset())
    assert f"Value '[{shown}]' at" in str(caught.value)


def test_a_pattern_that_backtracks_without_end_counts_as_not_matched() -> None:
    shape = ShapeResolver({"S": {"type": "string", "pattern": "(x+x+)+y"}}).get_shape_by_name("S")
    with pytest.raises(ValidationFailed, match="regular expression pattern"):
        validate(shape, "x" * 5000, frozenset())


@settings(deadline=None)
@given(length=st.integers(0, 130))
def test_the_length_limits_are_exact(length: int, service: Service) -> None:
    shape = service.operation("DescribeInferenceExperiment").input_shape
    params = {"Name": "a" * length}
    if 1 <= length <= 120:
        validate(shape, params, service.instance_types)
    else:
        with pytest.raises(ValidationFailed):
            validate(shape, params, service.instance_types)


def test_an_archive_on_disk_is_a_model_data_url(service: Service) -> None:
    shape = service.operation("CreateModel").input_shape
    request: dict[str, Any] = {
        "ModelName": "m",
        "PrimaryContainer": {"ModelDataUrl": "file:///models/m.tar.gz"},
    }
    validate(shape, request, service.instance_types)
    request["PrimaryContainer"]["ModelDataUrl"] = "ftp://models/m.tar.gz"
    with pytest.raises(ValidationFailed, match="modelDataUrl"):
        validate(shape, request, service.instance_types)
