import base64
import json
import re
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.collector.capture import CaptureDefinition, group_of, object_key, record
from gnomon.testing import frames as build

DEFINITION = CaptureDefinition("s3://bucket/captured", ("text/csv",), ("application/json",))


def _sides(exchange, definition=DEFINITION):
    return json.loads(record(exchange, definition))["captureData"]


def test_a_record_is_sagemakers_to_the_letter():
    assert record(build.exchange("8a0b0f9e"), DEFINITION).decode() == (
        '{"captureData":{"endpointInput":{"observedContentType":"text/csv","mode":"INPUT",'
        '"data":"132,25,113.2,96\\n","encoding":"CSV"},"endpointOutput":{"observedContentType":'
        '"text/csv; charset=utf-8","mode":"OUTPUT","data":"0.0107","encoding":"CSV"}},'
        '"eventMetadata":{"eventId":"8a0b0f9e","inferenceTime":"2019-11-20T23:33:12Z"},'
        '"eventVersion":"0"}\n'
    )


def test_an_inference_id_is_there_if_the_client_sent_one():
    line = record(build.exchange("e", inference_id="mine"), DEFINITION)
    assert json.loads(line)["eventMetadata"] == {
        "eventId": "e",
        "inferenceId": "mine",
        "inferenceTime": "2019-11-20T23:33:12Z",
    }


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("text/csv", "CSV"),
        ("Text/CSV ; charset=utf-8", "CSV"),
        ("application/json;x=y", "JSON"),
        ("application/jsonlines", "BASE64"),
        ("text/plain", "BASE64"),
        ("", "BASE64"),
        (None, "BASE64"),
    ],
)
def test_each_side_is_encoded_by_its_own_content_type(content_type, encoding):
    sides = _sides(build.exchange(request_content_type=content_type, request_body=b"1"))
    data = "1" if encoding != "BASE64" else "MQ=="
    assert (sides["endpointInput"]["encoding"], sides["endpointInput"]["data"]) == (encoding, data)
    assert sides["endpointInput"].get("observedContentType") == content_type
    assert sides["endpointOutput"]["encoding"] == "CSV"


def test_without_a_list_of_content_types_everything_is_base64():
    sides = _sides(build.exchange(), CaptureDefinition("s3://bucket/captured"))
    assert {side["encoding"] for side in sides.values()} == {"BASE64"}


def test_a_body_that_is_not_the_text_it_said_is_base64():
    side = _sides(build.exchange(request_body=b"\xff\xfe"))["endpointInput"]
    assert (side["encoding"], base64.b64decode(side["data"])) == ("BASE64", b"\xff\xfe")


@pytest.mark.parametrize(
    ("left_out", "kept"),
    [("request_body", "endpointOutput"), ("response_body", "endpointInput")],
)
def test_a_side_that_is_not_captured_is_left_out(left_out, kept):
    assert list(_sides(build.exchange(**{left_out: None}))) == [kept]


@settings(deadline=None)
@given(st.binary(), st.sampled_from(["text/csv", "application/json", "image/png", None]))
def test_no_byte_of_a_body_is_lost(body, content_type):
    line = record(build.exchange(request_content_type=content_type, request_body=body), DEFINITION)
    assert line.count(b"\n") == 1
    side = json.loads(line)["captureData"]["endpointInput"]
    data = side["data"]
    assert (base64.b64decode(data) if side["encoding"] == "BASE64" else data.encode()) == body


def test_a_key_is_variant_hour_time_of_the_first_record_and_uuid():
    exchange = build.exchange()
    key = object_key(group_of("i1", 3, exchange), exchange.at_s)
    matched = re.fullmatch(r"flights/AllTraffic/2019/11/20/23/33-12-345-(.{36})\.jsonl", key)
    assert matched
    assert uuid.UUID(matched[1]).version == 5


def test_the_uuid_follows_from_what_the_records_share():
    exchange = build.exchange()
    group = group_of("i1", 3, exchange)
    assert object_key(group, 5.0)[-41:] == object_key(group, 5.0)[-41:]
    others = [
        group_of("i2", 3, exchange),
        group_of("i1", 4, exchange),
        group_of("i1", 3, build.exchange(capture_id="capture-2")),
        group_of("i1", 3, build.exchange(endpoint_name="other")),
        group_of("i1", 3, build.exchange(variant_name="other")),
        group_of("i1", 3, build.exchange(at_s=build.AT_S + 3600)),
    ]
    uuids = {object_key(other, 5.0)[-42:] for other in (group, *others)}
    assert len(uuids) == 7


@settings(deadline=None)
@given(st.floats(0, 2**32))
def test_a_group_is_one_utc_hour(at_s):
    hour = group_of("i1", 1, build.exchange(at_s=at_s)).hour
    assert hour.tzinfo is UTC
    assert (hour.minute, hour.second, hour.microsecond) == (0, 0, 0)
    assert 0 <= (datetime.fromtimestamp(at_s, UTC) - hour).total_seconds() < 3600
