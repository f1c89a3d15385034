"""What is posted and what comes back: JSON of exact sizes, and the headers that an SDK sends."""

from __future__ import annotations

from bench.kit.load import Payload

_JSON = "application/json"
_REQUEST = '{"instances": [[2013, 1, 5.25, 1400, "UA", "EWR"]]'


def json_of(opening: str, length_bytes: int) -> str:
    """An object of exactly so many bytes that begins like this."""
    bare = f'{opening}, "note": ""}}'
    return f'{opening}, "note": "{"x" * (length_bytes - len(bare))}"}}'


# With Host, Content-Type and Content-Length, which the load generators send anyway, they are 14:
# as many as boto3 and the JavaScript SDK come to with an inference id and a trace id.
_SDK_HEADERS = {
    "Accept": _JSON,
    "Accept-Encoding": "identity",
    "User-Agent": "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux md/arch#x86_64 lang/python#3.11",
    "X-Amz-Date": "20260101T000000Z",
    "X-Amz-Security-Token": "t" * 320,
    "X-Amz-Content-SHA256": "e" * 64,
    "X-Amzn-SageMaker-Inference-Id": "3f0d9b8e-6a3e-4a43-9d4f-0a4a2b1f7c55",
    "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/sagemaker/"
    "aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=" + "f" * 64,
    "amz-sdk-invocation-id": "8a4f6d1e-0d8b-4c0f-8f43-5d0b0a5d2f11",
    "amz-sdk-request": "attempt=1; max=1",
    "X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678",
}

ANSWER = json_of('{"predictions": [{"label": "late", "score": 0.8125}]', 99)
SMALL = Payload(json_of(_REQUEST, 200), _JSON)
LARGE = Payload(json_of(_REQUEST, 64 * 1024), _JSON)
LIKE_AN_SDK = Payload(SMALL.body, _JSON, _SDK_HEADERS)
