import json
from typing import Any

import pytest
from botocore.parsers import create_parser

from gnomon.aws.errors import SerializationFailed, UnknownOperation, control_error
from gnomon.aws.response import Response
from gnomon.aws.service import Service
from gnomon.errors import (
    Conflict,
    DatabaseFailed,
    GnomonError,
    MachineExhausted,
    ModelDataUnavailable,
    OperationNotSupported,
    ResourceInUse,
    ResourceLimitExceeded,
    ResourceNotFound,
    SettingsError,
    ValidationFailed,
)

# error, code, and the member of the body that has the text
CALLERS = [
    (ValidationFailed("text"), "ValidationException", "message"),
    (ModelDataUnavailable("s3://b/k", "gone"), "ValidationException", "message"),
    (SerializationFailed("text"), "SerializationException", "message"),
    (UnknownOperation("text"), "UnknownOperationException", "message"),
    (OperationNotSupported("CreateApp", ("A",)), "UnknownOperationException", "message"),
    (ResourceNotFound("text"), "ResourceNotFound", "Message"),
    (ResourceInUse("text"), "ResourceInUse", "Message"),
    (Conflict("text"), "ConflictException", "Message"),
    (ResourceLimitExceeded("text"), "ResourceLimitExceeded", "Message"),
]


def read_back(service: Service, response: Response) -> dict[str, Any]:
    """What botocore makes of the answer; it looks headers up in lower case."""
    headers = {name.lower(): value for name, value in response.headers}
    operation = service.operation("CreateInferenceExperiment")
    raw = {"status_code": response.status, "headers": headers, "body": response.body}
    return create_parser("json").parse(raw, operation.output_shape)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("error", "code", "member"), CALLERS)
def test_botocore_reads_the_code_and_the_text(
    service: Service, error: GnomonError, code: str, member: str
) -> None:
    response = control_error(error, "id-1")
    parsed = read_back(service, response)
    assert response.status == 400
    assert parsed["Error"]["Code"] == code
    assert parsed["Error"]["Message"] == str(error)
    assert parsed["ResponseMetadata"]["RequestId"] == "id-1"


@pytest.mark.parametrize(("error", "code", "member"), CALLERS)
def test_the_text_stands_once_under_the_name_that_its_shape_gives_it(
    error: GnomonError, code: str, member: str
) -> None:
    response = control_error(error, "id-1")
    assert json.loads(response.body) == {"__type": code, member: str(error)}
    assert dict(response.headers) == {
        "Content-Type": "application/x-amz-json-1.1",
        "x-amzn-RequestId": "id-1",
        "x-amzn-errortype": code,
    }


def test_the_text_member_of_modelled_errors_is_the_models(service: Service) -> None:
    modelled = {shape.name: list(shape.members) for shape in service.model.error_shapes}
    for error, code, member in CALLERS:
        if code in modelled:
            assert modelled[code] == [member], error
        else:
            assert member == "message", error


def test_an_error_derived_from_one_of_the_table_has_its_code() -> None:
    class NameTaken(ResourceInUse):
        pass

    assert b"ResourceInUse" in control_error(NameTaken("taken"), "id-1").body


@pytest.mark.parametrize(
    "error", [ValueError("secret"), SettingsError("secret"), GnomonError("secret")]
)
def test_an_unexpected_error_shows_nothing_of_its_text(service: Service, error: Exception) -> None:
    response = control_error(error, "id-1")
    parsed = read_back(service, response)
    assert response.status == 500
    assert parsed["Error"]["Code"] == "InternalFailure"
    assert "id-1" in parsed["Error"]["Message"]
    assert b"secret" not in response.body


@pytest.mark.parametrize("error", [MachineExhausted("text"), DatabaseFailed("f", "read", "text")])
def test_what_the_machine_is_out_of_is_told_and_passes(service: Service, error: Exception) -> None:
    response = control_error(error, "id-1")
    assert response.status == 503
    assert read_back(service, response)["Error"] == {
        "Code": "ServiceUnavailable",
        "Message": str(error),
    }
