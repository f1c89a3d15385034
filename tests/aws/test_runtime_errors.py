import json
import subprocess
import sys
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.aws import runtime_errors
from gnomon.aws.runtime_errors import RuntimeFailure

WHERE: Any = {"endpoint_name": "ep", "region": "eu-west-3", "account_id": "000000000000"}
LOG = "arn:aws:logs:eu-west-3:000000000000:log-group:/aws/sagemaker/Endpoints/ep"


@pytest.fixture(scope="session")
def runtime() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("sagemaker-runtime", "service-2"))


def read_back(runtime: ServiceModel, failure: RuntimeFailure) -> dict[str, Any]:
    """The error as a client of boto3 sees it, modelled members included."""
    parser = create_parser("rest-json")
    headers = {name.decode().lower(): value.decode() for name, value in failure.headers("id-1")}
    raw = {"status_code": failure.status, "headers": headers, "body": failure.body}
    parsed = parser.parse(raw, runtime.operation_model("InvokeEndpoint").output_shape)
    shape = runtime.shape_for_error_code(parsed["Error"]["Code"])
    return parsed | parser.parse(raw, shape)  # type: ignore[no-any-return]


CASES = [
    (
        runtime_errors.endpoint_not_found("ep", "000000000000"),
        400,
        "ValidationError",
        "Endpoint ep of account 000000000000 not found.",
    ),
    (
        runtime_errors.variant_not_found("v", "ep", "000000000000"),
        400,
        "ValidationError",
        "Variant v of endpoint ep of account 000000000000 not found.",
    ),
    (
        runtime_errors.body_too_long(1024),
        413,
        "ValidationError",
        "The request's body is longer than the 1024 bytes that are allowed.",
    ),
    (runtime_errors.validation_error("bad"), 400, "ValidationError", "bad"),
    (runtime_errors.model_not_ready("soon"), 429, "ModelNotReadyException", "soon"),
    (runtime_errors.service_unavailable("none"), 503, "ServiceUnavailable", "none"),
    (runtime_errors.internal_dependency("none"), 530, "InternalDependencyException", "none"),
    (
        runtime_errors.internal_failure("id-1"),
        500,
        "InternalFailure",
        "Gnomon failed on this request. Its log has more under request id id-1.",
    ),
]


@pytest.mark.parametrize(("failure", "status", "code", "text"), CASES)
def test_botocore_reads_status_code_and_text(
    runtime: ServiceModel, failure: RuntimeFailure, status: int, code: str, text: str
) -> None:
    parsed = read_back(runtime, failure)
    assert failure.status == status
    assert parsed["Error"]["Code"] == code
    assert parsed["Error"]["Message"] == text
    assert parsed["Message"] == text
    assert parsed["ResponseMetadata"]["RequestId"] == "id-1"


@pytest.mark.parametrize(("failure", "status", "code", "text"), CASES)
def test_code_and_text_are_in_the_body_under_each_spelling(
    failure: RuntimeFailure, status: int, code: str, text: str
) -> None:
    assert json.loads(failure.body) == {"__type": code, "Message": text, "message": text}
    assert (b"content-length", str(len(failure.body)).encode()) in failure.headers("id-1")


def test_the_codes_and_statuses_are_the_models(runtime: ServiceModel) -> None:
    shown = {failure.code: failure.status for failure, *_ in CASES if failure.status != 413}
    shown["ModelError"] = runtime_errors.model_error(500, b"", **WHERE).status
    modelled = runtime.operation_model("InvokeEndpoint").error_shapes
    assert shown == {s.name: s.metadata["error"]["httpStatusCode"] for s in modelled}


@pytest.mark.parametrize(
    ("status", "blame", "error_code"),
    [
        (400, "client", "CLIENT_ERROR_FROM_MODEL"),
        (404, "client", "CLIENT_ERROR_FROM_MODEL"),
        (500, "server", "SERVER_ERROR_FROM_MODEL"),
        (302, "server", "SERVER_ERROR_FROM_MODEL"),
    ],
)
def test_an_error_of_the_model_is_passed_on_with_its_members(
    runtime: ServiceModel, status: int, blame: str, error_code: str
) -> None:
    failure = runtime_errors.model_error(status, b'no "x"', **WHERE)
    parsed = read_back(runtime, failure)
    assert failure.status == 424
    assert parsed["Error"]["Code"] == "ModelError"
    assert parsed["OriginalStatusCode"] == status
    assert parsed["OriginalMessage"] == 'no "x"'
    assert parsed["LogStreamArn"] == LOG
    assert json.loads(failure.body)["ErrorCode"] == error_code
    assert parsed["Error"]["Message"] == (
        f'Received {blame} error ({status}) from primary with message "no "x"". '
        f"See {LOG} in account 000000000000 for more information."
    )


def test_a_model_that_does_not_answer_in_time_has_status_0(runtime: ServiceModel) -> None:
    parsed = read_back(runtime, runtime_errors.model_timed_out(**WHERE))
    assert parsed["Error"]["Code"] == "ModelError"
    assert parsed["OriginalStatusCode"] == 0
    assert parsed["OriginalMessage"].startswith(
        "Your invocation timed out while waiting for a response from container primary."
    )
    assert parsed["Error"]["Message"].startswith(
        'Received server error (0) from primary with message "Your invocation timed out while '
        "waiting for a response from container primary. Review the latency metrics for each "
        'container in Amazon CloudWatch, resolve the issue, and try again."'
    )


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_answer_of_a_model_makes_an_error_of_valid_json(answer: bytes) -> None:
    body = json.loads(runtime_errors.model_error(500, answer, **WHERE).body)
    assert body["OriginalMessage"] == answer.decode("utf-8", "replace")


@pytest.mark.parametrize("answer", [b"x" * 1_000_000, "\u20ac".encode() * 1_000_000])
def test_an_endless_message_of_the_model_is_cut(answer: bytes) -> None:
    body = json.loads(runtime_errors.model_error(500, answer, **WHERE).body)
    assert body["OriginalMessage"] == answer.decode()[:4096]


@settings(deadline=None)
@given(st.text('aZ/"\\\x00\u20ac\ud800\U0001f600'))
def test_any_name_in_a_path_makes_an_error_of_valid_json(name: str) -> None:
    json.loads(runtime_errors.endpoint_not_found(name, "000000000000").body)


def test_botocore_is_not_loaded_for_the_routers_part() -> None:
    script = (
        "import sys, gnomon.aws.runtime_errors, gnomon.aws.sigv4_scope, gnomon.aws.errors\n"
        "sys.exit('botocore' in sys.modules or 'regex' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
