"""Any bytes in any pieces, on the clients' side and on the models': what goes in comes out.

`scripts/fuzz` drives the same two functions by coverage.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.testing.wire import Taken, read, take

pytestmark = pytest.mark.slow

TOKENS = st.text("abcXYZ019-_!#$%&'*+.^`|~", min_size=1, max_size=12).map(str.encode)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30).map(
    str.encode
)
# Of the connection, or with a meaning that a made-up value would break.
MEANINGFUL = {b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"}
HEADERS = st.lists(
    st.tuples(TOKENS.filter(lambda name: name.lower() not in MEANINGFUL), VALUES), max_size=5
)
BODIES = st.binary(max_size=200)
METHODS = st.sampled_from([b"POST", b"GET", b"PUT", b"DELETE"])
URLS = TOKENS.map(lambda token: b"/" + token.replace(b"#", b""))


@st.composite
def cut(draw, data):
    """The same bytes in pieces."""
    at = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=12)))
    ends = [*at, len(data)]
    return [data[start:end] for start, end in zip([0, *at], ends, strict=True) if start < end]


@st.composite
def framed(draw, body):
    """A body with the header that frames it: by length, or in chunks."""
    if draw(st.booleans()):
        return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    extension = draw(st.sampled_from([b"", b";a=b", b";c"]))
    pieces = draw(cut(body)) if body else []
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return b"Transfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks


def lines(headers):
    return b"".join(b"%b: %b\r\n" % header for header in headers)


@st.composite
def requests(draw):
    found = []
    data = b""
    for _ in range(draw(st.integers(1, 5))):
        method, url = draw(METHODS), draw(URLS)
        headers, body = draw(HEADERS), draw(BODIES)
        data += b"%b %b HTTP/1.1\r\n%b" % (method, url, lines(headers)) + draw(framed(body))
        found.append((method, url, headers, body))
    return found, data


@st.composite
def spoilt(draw, well_formed):
    """Bytes that were a message until some of them were changed, left out or put in."""
    data = draw(well_formed)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        until = draw(st.integers(at, min(len(data), at + 8)))
        other = draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from(
                    [b"\r", b"\n", b"\r\n", b"\r\n ", b"\0", b": ", b"0", b"Content-Length: 3\r\n"]
                ),
            )
        )
        data = data[:at] + other + data[until:]
    return data


@given(requests(), st.data())
def test_requests_come_out_as_they_went_in(made, data):
    expected, raw = made
    taken, refusal = take(data.draw(cut(raw)))
    assert refusal is None
    assert [(t.method, t.url, t.body) for t in taken] == [
        (method, url, body) for method, url, _, body in expected
    ]
    for request, (_, _, headers, _) in zip(taken, expected, strict=True):
        own = [h for h in request.headers if h[0].lower() not in MEANINGFUL]
        assert own == headers


@settings(max_examples=400)
@given(st.one_of(spoilt(requests().map(lambda made: made[1])), st.binary(max_size=300)), st.data())
def test_spoilt_requests_are_the_same_in_any_pieces(raw, data):
    if raw:
        assert take(data.draw(cut(raw))) == take([raw])


@settings(max_examples=200)
@given(spoilt(requests().map(lambda made: made[1])))
def test_what_is_taken_of_spoilt_requests_is_not_read_in_two_ways(raw):
    # Written anew from what was understood, it is understood in the same way.
    taken, _ = take([raw])
    again = b"".join(
        b"%b %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b"
        % (
            t.method,
            t.url,
            lines(h for h in t.headers if h[0].lower() not in MEANINGFUL),
            len(t.body),
            t.body,
        )
        for t in taken
    )
    found, refusal = take([again])
    assert refusal is None
    assert [plain(t) for t in found] == [plain(t) for t in taken]


def plain(taken):
    headers = tuple(h for h in taken.headers if h[0].lower() not in MEANINGFUL)
    return Taken(taken.method, taken.url, headers, taken.body)


@st.composite
def answers(draw):
    status, headers, body = draw(st.integers(200, 599)), draw(HEADERS), draw(BODIES)
    if status in {204, 304}:
        body = b""
    interim = b"".join(
        b"HTTP/1.1 %d I\r\nA: b\r\n\r\n" % code
        for code in draw(st.lists(st.sampled_from([100, 102, 103]), max_size=2))
    )
    framing = draw(framed(body)) if status not in {204, 304} else b"\r\n"
    return interim + b"HTTP/1.1 %d S\r\n%b" % (status, lines(headers)) + framing, (
        status,
        headers,
        body,
    )


@pytest.mark.parametrize("is_streamed", [False, True])
@given(made=answers(), data=st.data(), ends=st.booleans())
def test_answers_come_out_as_they_went_in(is_streamed, made, data, ends):
    raw, (status, headers, body) = made
    found = read(data.draw(cut(raw)), ends=ends, is_streamed=is_streamed)
    assert (found.failure, found.status, found.body) == (None, status, body)
    assert [h for h in found.headers if h[0].lower() not in MEANINGFUL] == headers


@pytest.mark.parametrize("is_streamed", [False, True])
@settings(max_examples=300)
@given(
    raw=st.one_of(spoilt(answers().map(lambda made: made[0])), st.binary(max_size=300)),
    data=st.data(),
    ends=st.booleans(),
)
def test_spoilt_answers_are_the_same_in_any_pieces(is_streamed, raw, data, ends):
    pieces = data.draw(cut(raw)) if raw else []
    found = read(pieces, ends=ends, is_streamed=is_streamed)
    whole = read([raw] if raw else [], ends=ends, is_streamed=is_streamed)
    # Whether bytes behind an answer came with it or after it is all that pieces may change.
    assert (found.failure, found.status, found.headers, found.body) == (
        whole.failure,
        whole.status,
        whole.headers,
        whole.body,
    )
    if ends:
        assert found.failure or found.status


@given(answers(), answers())
def test_what_stands_behind_an_answer_is_never_another(first, second):
    raw, (status, _, body) = first
    found = read([raw + second[0]], ends=False)
    assert (found.status, found.body, found.is_reusable) == (status, body, False)
