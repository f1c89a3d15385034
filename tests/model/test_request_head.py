import pytest

from gnomon.model.request_head import header_lines


@pytest.mark.parametrize(
    ("host", "port", "line"),
    [
        ("127.0.0.1", 9000, b"Host: 127.0.0.1:9000\r\n"),
        ("triton.local", 80, b"Host: triton.local\r\n"),
        ("::1", 9000, b"Host: [::1]:9000\r\n"),
    ],
)
def test_the_host_is_named_as_in_a_url(host, port, line):
    assert header_lines(host, port) == line


def test_headers_stand_behind_the_host():
    assert header_lines("a", 1, (("X-Key", "k"),)) == b"Host: a:1\r\nX-Key: k\r\n"


def test_a_host_among_the_headers_takes_its_place():
    lines = header_lines("10.0.0.1", 80, (("host", "model.example"), ("X-Key", "k")))
    assert lines == b"host: model.example\r\nX-Key: k\r\n"
