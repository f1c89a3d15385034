import uuid
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gnomon.router.call import UpstreamAnswer
from gnomon.router.exchange import EventIds
from gnomon.router.replies import passed_on, request_to_pass_on
from gnomon.router.request import Request


def request(*headers: tuple[bytes, bytes]) -> Request:
    return Request(b"POST", b"/", list(headers), keeps_alive=True)


def test_only_headers_that_invoke_endpoint_knows_reach_the_model():
    parsed = request(
        (b"content-TYPE", b"text/csv"),
        (b"Authorization", b"secret"),
        (b"Cookie", b"secret"),
        (b"Connection", b"keep-alive"),
        (b"X-Amzn-SageMaker-Unknown", b"1"),
        (b"x-amzn-sagemaker-session-id", b"s"),
        (b"accept", b"*/*"),
    )
    assert parsed.model_lines == [
        b"Content-Type: text/csv\r\n",
        b"X-Amzn-SageMaker-Session-Id: s\r\n",
        b"Accept: */*\r\n",
    ]


def test_what_the_router_acts_upon_is_noted():
    parsed = request(
        (b"Content-Type", b"text/csv"),
        (b"X-Amzn-SageMaker-Inference-Id", b"i"),
        (b"X-Amzn-SageMaker-Target-Variant", b"v"),
        (b"Content-Length", b"12"),
        (b"Expect", b"100-Continue"),
    )
    assert parsed.content_type == b"text/csv"
    assert parsed.inference_id == b"i"
    assert parsed.target_variant == b"v"
    assert parsed.content_length == 12
    assert parsed.expects_continue
    assert not parsed.upgrades


@given(st.integers())
def test_event_ids_are_uuids_and_differ(seed):
    ids = EventIds(Random(seed))
    made = [uuid.UUID(ids.next().decode()) for _ in range(3)]
    assert {(one.version, one.variant) for one in made} == {(4, uuid.RFC_4122)}
    assert len(set(made)) == 3


def test_event_ids_of_two_routers_differ():
    assert EventIds(Random(1)).next()[:24] != EventIds(Random(2)).next()[:24]


def test_a_request_goes_on_without_what_concerned_its_connection():
    head = request_to_pass_on(
        b"POST",
        b"/?a=b",
        [
            (b"Host", b"sagemaker.local"),
            (b"Connection", b"close, X-Hop"),
            (b"X-Hop", b"1"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Expect", b"100-continue"),
            (b"X-Amz-Target", b"SageMaker.ListModels"),
        ],
        b"{}",
    )
    assert head == (
        b"POST /?a=b HTTP/1.1\r\nHost: sagemaker.local\r\n"
        b"X-Amz-Target: SageMaker.ListModels\r\nContent-Length: 2\r\n\r\n"
    )


def test_an_answer_goes_on_with_a_length_of_its_own():
    answer = UpstreamAnswer(
        200, [(b"Transfer-Encoding", b"chunked"), (b"Date", b"now"), (b"Set-Cookie", b"a")], b"abc"
    )
    assert passed_on(answer, to_head_request=False) == (
        b"HTTP/1.1 200 OK\r\nDate: now\r\nSet-Cookie: a\r\nContent-Length: 3\r\n"
    )
