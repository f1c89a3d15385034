"""Event-stream messages, as botocore reads them."""

import json

import botocore.session
import pytest
from botocore.eventstream import EventStream, EventStreamBuffer
from botocore.exceptions import EventStreamError
from botocore.parsers import RestJSONParser
from hypothesis import given
from hypothesis import strategies as st

from gnomon.aws.event_stream import internal_stream_failure, model_stream_error, payload_parts

OPERATION = (
    botocore.session.get_session()
    .get_service_model("sagemaker-runtime")
    .operation_model("InvokeEndpointWithResponseStream")
)


class Raw:
    """As much of urllib3's answer as botocore's event stream reads."""

    def __init__(self, data):
        self._data = data

    def stream(self):
        yield self._data

    def close(self):
        pass


def events_in(data):
    parser = RestJSONParser()._event_stream_parser
    shape = OPERATION.output_shape.members["Body"]
    return EventStream(Raw(data), shape, parser, OPERATION.name)


@given(st.lists(st.binary(max_size=300)))
def test_botocore_reads_the_parts_that_were_written(parts):
    events = list(events_in(payload_parts(parts)))
    assert [event["PayloadPart"]["Bytes"] for event in events] == parts


@given(st.lists(st.binary(max_size=50), min_size=1), st.data())
def test_messages_may_be_cut_anywhere(parts, data):
    whole = payload_parts(parts)
    cut = data.draw(st.integers(0, len(whole)))
    buffer = EventStreamBuffer()
    buffer.add_data(whole[:cut])
    found = [message.payload for message in buffer]
    buffer.add_data(whole[cut:])
    assert found + [message.payload for message in buffer] == parts


@pytest.mark.parametrize("code", ["ModelInvocationTimeExceeded", "StreamBroken"])
def test_botocore_reads_a_models_error_behind_what_came(code):
    events = iter(events_in(payload_parts([b"a"]) + model_stream_error("Too slow.", code)))
    assert next(events) == {"PayloadPart": {"Bytes": b"a"}}
    with pytest.raises(EventStreamError) as raised:
        next(events)
    assert raised.value.response["Error"] == {"Code": "ModelStreamError", "Message": "Too slow."}


def test_a_models_error_has_its_code():
    # botocore passes it over; other SDKs show it.
    buffer = EventStreamBuffer()
    buffer.add_data(model_stream_error("Cut.", "StreamBroken"))
    (message,) = buffer
    assert json.loads(message.payload) == {"Message": "Cut.", "ErrorCode": "StreamBroken"}


def test_botocore_reads_a_failure_of_gnomons_own():
    with pytest.raises(EventStreamError) as raised:
        next(iter(events_in(internal_stream_failure("Ours."))))
    assert raised.value.response["Error"] == {"Code": "InternalStreamFailure", "Message": "Ours."}
