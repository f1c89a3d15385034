import datetime as dt
import json
from typing import Any

import pytest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.aws.errors import SerializationFailed, UnknownOperation
from gnomon.aws.json_protocol import Request, answer, parse, serialize
from gnomon.aws.service import Service
from gnomon.errors import OperationNotSupported

NOON = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
CREATE: dict[str, Any] = {
    "Name": "test",
    "Type": "ShadowMode",
    "Schedule": {"StartTime": NOON, "EndTime": NOON + dt.timedelta(days=2)},
    "Description": "",
    "RoleArn": "arn:aws:iam::000000000000:role/role",
    "EndpointName": "endpoint",
    "ModelVariants": [
        {
            "ModelName": f"model-{i}",
            "VariantName": f"variant-{i}",
            "InfrastructureConfig": {
                "InfrastructureType": "RealTimeInference",
                "RealTimeInferenceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": i},
            },
        }
        for i in (1, 2)
    ],
    "ShadowModeConfig": {
        "SourceModelVariantName": "variant-1",
        "ShadowModelVariants": [{"ShadowModelVariantName": "variant-2", "SamplingPercentage": 40}],
    },
    "Tags": [{"Key": "empty", "Value": ""}],
}


def read(
    service: Service,
    operation: str,
    body: bytes | dict[str, Any],
    headers: dict[str, str] | None = None,
) -> Request:
    return parse(
        service,
        "POST",
        "/",
        {"x-amz-target": f"SageMaker.{operation}"} | (headers or {}),
        body if isinstance(body, bytes) else json.dumps(body).encode(),
        request_id="id-1",
        default_region="us-east-1",
    )


def schedule_start(service: Service, value: object) -> object:
    body = {"Schedule": {"StartTime": value}}
    return read(service, "CreateInferenceExperiment", body).params["Schedule"]["StartTime"]


# --- requests ----------------------------------------------------------------------------------


def test_what_botocore_sends_is_read_as_it_was_meant(service: Service) -> None:
    operation = service.operation("CreateInferenceExperiment")
    sent = create_serializer("json").serialize_to_request(CREATE, operation)
    headers = {name.lower(): value for name, value in sent["headers"].items()}
    request = parse(
        service,
        sent["method"],
        sent["url_path"],
        headers,
        sent["body"],
        request_id="id-1",
        default_region="us-east-1",
    )
    assert request == Request("CreateInferenceExperiment", CREATE, "us-east-1", "id-1")


def test_the_region_is_that_of_the_credential_scope(service: Service) -> None:
    scope = "AWS4-HMAC-SHA256 Credential=K/20261121/eu-west-3/sagemaker/aws4_request, Signature=0"
    request = read(service, "DescribeEndpoint", {}, {"authorization": scope})
    assert request.region == "eu-west-3"


def test_null_members_are_absent(service: Service) -> None:
    body = {"EndpointName": "e", "EndpointConfigName": None}
    assert read(service, "CreateEndpoint", body).params == {"EndpointName": "e"}


def test_unknown_members_are_dropped_at_every_level(service: Service) -> None:
    body = {"New": 1, "Schedule": {"New": [{}]}, "Tags": [{"Key": "k", "Value": "v", "New": {}}]}
    assert read(service, "CreateInferenceExperiment", body).params == {
        "Schedule": {},
        "Tags": [{"Key": "k", "Value": "v"}],
    }


def test_a_null_item_stays_for_validation_to_name(service: Service) -> None:
    body = {"Tags": [None], "PrimaryContainer": {"Environment": {"A": None}}}
    assert read(service, "CreateModel", body).params == body


def test_an_empty_body_is_an_empty_request(service: Service) -> None:
    assert read(service, "ListInferenceExperiments", b"").params == {}


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (1795262400, NOON),
        (1795262400.0, NOON),
        (1795262400.25, NOON + dt.timedelta(milliseconds=250)),
        (0, dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
        (-1, dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=dt.UTC)),
        ("2026-11-21T12:00:00Z", NOON),
        ("2026-11-21T13:00:00.000+01:00", NOON),
        ("2026-11-21T12:00:00", NOON),
    ],
)
def test_times_become_aware_datetimes_in_utc(service: Service, value: object, time: object) -> None:
    read_time = schedule_start(service, value)
    assert read_time == time
    assert isinstance(read_time, dt.datetime)
    assert read_time.tzinfo is dt.UTC


@pytest.mark.parametrize(
    "value", ["noon", "", True, [], {}, 1e18, -1e18, 10**400, "9999-12-31T23:59:59-01:00"]
)
def test_what_is_no_time_is_refused(service: Service, value: object) -> None:
    with pytest.raises(SerializationFailed, match=r"schedule\.startTime"):
        schedule_start(service, value)


def test_a_whole_number_may_be_written_with_a_point(service: Service) -> None:
    params = read(service, "ListInferenceExperiments", b'{"MaxResults": 10.0}').params
    assert params == {"MaxResults": 10}
    assert isinstance(params["MaxResults"], int)


def test_a_float_may_be_written_without_a_point(service: Service) -> None:
    body = {"ProductionVariants": [{"InitialVariantWeight": 1}]}
    variants = read(service, "CreateEndpointConfig", body).params["ProductionVariants"]
    assert isinstance(variants[0]["InitialVariantWeight"], float)


@pytest.mark.parametrize(
    ("operation", "body", "text"),
    [
        (
            "ListInferenceExperiments",
            {"MaxResults": "10"},
            "STRING_VALUE can not be converted to an Integer at 'maxResults'.",
        ),
        (
            "ListInferenceExperiments",
            {"MaxResults": True},
            "TRUE_VALUE can not be converted to an Integer at 'maxResults'.",
        ),
        (
            "ListInferenceExperiments",
            {"MaxResults": 1.5},
            "NUMBER_VALUE can not be converted to an Integer at 'maxResults'.",
        ),
        (
            "ListInferenceExperiments",
            {"MaxResults": 2**31},
            "NUMBER_VALUE can not be converted to an Integer at 'maxResults'.",
        ),
        (
            "DescribeEndpoint",
            {"EndpointName": 1},
            "NUMBER_VALUE can not be converted to a String at 'endpointName'.",
        ),
        (
            "DescribeEndpoint",
            {"EndpointName": {}},
            "Start of structure or map found where not expected, at 'endpointName'.",
        ),
        (
            "CreateEndpointConfig",
            {"ProductionVariants": [{}, []]},
            "Start of list found where not expected, at 'productionVariants.2.member'.",
        ),
        (
            "CreateEndpointConfig",
            {"ProductionVariants": "AllTraffic"},
            "STRING_VALUE can not be converted to a List at 'productionVariants'.",
        ),
        (
            "CreateEndpointConfig",
            {"DataCaptureConfig": {"EnableCapture": "true"}},
            "STRING_VALUE can not be converted to a Boolean at 'dataCaptureConfig.enableCapture'.",
        ),
        (
            "CreateEndpointConfig",
            {"ProductionVariants": [{"InitialVariantWeight": 10**400}]},
            (
                "NUMBER_VALUE can not be converted to a Float at "
                "'productionVariants.1.member.initialVariantWeight'."
            ),
        ),
        (
            "CreateModel",
            {"PrimaryContainer": {"Environment": {"A": 1}}},
            (
                "NUMBER_VALUE can not be converted to a String at "
                "'primaryContainer.environment.A.member'."
            ),
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_named(
    service: Service, operation: str, body: dict[str, Any], text: str
) -> None:
    with pytest.raises(SerializationFailed) as caught:
        read(service, operation, body)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"{}{}",
        b"\xff",
        b'{"EndpointName": "\xed\xa0\x80"}',
        b'{"EndpointName": NaN}',
        b'{"EndpointName": 1e999}',
        b"[" * 100_000,
        b'{"EndpointName":' * 100_000,
    ],
)
def test_what_is_no_json_object_is_refused(service: Service, body: bytes) -> None:
    with pytest.raises(SerializationFailed):
        read(service, "DescribeEndpoint", body)


def test_a_shape_that_contains_itself_is_followed_to_a_bound_only() -> None:
    from gnomon.aws.service import load_service

    expression: dict[str, Any] = {}
    for _ in range(100):
        expression = {"SubExpressions": [expression]}
    with pytest.raises(SerializationFailed, match="nested deeper"):
        read(load_service(("Search",)), "Search", {"SearchExpression": expression})


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {"x-amz-target": "SageMaker.DescribeEndpoint"}),
        ("POST", "/other", {"x-amz-target": "SageMaker.DescribeEndpoint"}),
        ("POST", "/", {}),
        ("POST", "/", {"x-amz-target": ""}),
        ("POST", "/", {"x-amz-target": "SageMaker."}),
        ("POST", "/", {"x-amz-target": "SageMaker.Nothing"}),
        ("POST", "/", {"x-amz-target": "DynamoDB_20120810.DescribeEndpoint"}),
    ],
)
def test_what_names_no_operation_is_unknown(
    service: Service, method: str, path: str, headers: dict[str, str]
) -> None:
    with pytest.raises(UnknownOperation):
        parse(service, method, path, headers, b"{}", request_id="i", default_region="r")


def test_an_operation_that_gnomon_does_not_have_is_said_so(service: Service) -> None:
    with pytest.raises(OperationNotSupported):
        read(service, "CreateTrainingJob", b"not even JSON")


TEXT = st.text('aZ0 "\\\n\x00\u20ac\ud800\U0001f600', max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
MEMBERS = st.dictionaries(
    st.sampled_from(["Name", "Schedule", "ModelVariants", "DataStorageConfig", "Tags"]), JSON
)


@settings(deadline=None)
@given(st.binary() | MEMBERS.map(lambda document: json.dumps(document).encode()))
def test_any_body_is_read_or_refused_and_nothing_else(service: Service, body: bytes) -> None:
    try:
        request = read(service, "CreateInferenceExperiment", body)
    except SerializationFailed:
        return
    assert request.operation == "CreateInferenceExperiment"


# --- answers -----------------------------------------------------------------------------------


def test_botocore_reads_an_answer_as_it_was_meant(service: Service) -> None:
    operation = service.operation("DescribeInferenceExperiment")
    result = {
        "Arn": "arn:aws:sagemaker:us-east-1:000000000000:inference-experiment/test",
        "Name": "test",
        "Type": "ShadowMode",
        "Schedule": {"StartTime": NOON, "EndTime": NOON + dt.timedelta(milliseconds=1)},
        "Status": "Running",
        "CreationTime": NOON,
        "ModelVariants": [variant | {"Status": "InService"} for variant in CREATE["ModelVariants"]],
        "ShadowModeConfig": CREATE["ShadowModeConfig"],
    }
    response = answer(operation, result, "id-1")
    headers = {name.lower(): value for name, value in response.headers}
    raw = {"status_code": response.status, "headers": headers, "body": response.body}
    parsed = create_parser("json").parse(raw, operation.output_shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == "id-1"
    assert parsed == result
    assert headers["content-type"] == "application/x-amz-json-1.1"


def test_none_and_empty_structures_are_left_out(service: Service) -> None:
    operation = service.operation("DescribeInferenceExperiment")
    result = {"Name": "test", "Description": None, "Schedule": {"StartTime": None}}
    assert json.loads(serialize(operation, result)) == {"Name": "test"}


def test_an_empty_list_and_an_empty_text_stay(service: Service) -> None:
    operation = service.operation("ListInferenceExperiments")
    assert serialize(operation, {"InferenceExperiments": []}) == b'{"InferenceExperiments":[]}'
    operation = service.operation("DescribeInferenceExperiment")
    assert serialize(operation, {"Description": ""}) == b'{"Description":""}'


def test_times_are_numbers_of_epoch_seconds(service: Service) -> None:
    operation = service.operation("DescribeEndpoint")
    later = NOON + dt.timedelta(milliseconds=250)
    assert (
        serialize(operation, {"CreationTime": NOON, "LastModifiedTime": later})
        == b'{"CreationTime":1795262400,"LastModifiedTime":1795262400.25}'
    )


def test_an_operation_without_output_answers_an_empty_body(service: Service) -> None:
    response = answer(service.operation("DeleteEndpoint"), {}, "id-1")
    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ("DescribeEndpoint", {"Name": "e"}),
        ("DescribeEndpoint", {"Name": None}),
        ("DescribeInferenceExperiment", {"Schedule": {"Start": NOON}}),
        ("DescribeEndpoint", {"CreationTime": NOON.replace(tzinfo=None)}),
        ("DeleteEndpoint", {"EndpointArn": "arn"}),
    ],
)
def test_a_result_that_the_shape_does_not_know_is_our_mistake(
    service: Service, operation: str, result: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"no member|zone|no output"):
        serialize(service.operation(operation), result)
