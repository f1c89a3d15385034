"""Requests and answers as bytes: as much of HTTP/1.1 as the container contract needs.

Written by hand because `http.server` spends most of a small request in a mail parser, and because
what runs in a model's environment is the standard library alone. Malformed input raises; what
becomes of the connection is `server.py`'s.
"""

from __future__ import annotations

import re
import socket
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

# As large a head as Gnomon's router takes, in bytes.
MAX_HEAD_BYTES = 64 * 1024

# Ten times what a router takes by default: bounds what one request can hold in memory.
MAX_BODY_BYTES = 256 * 1024 * 1024

# Below the size from which malloc maps and unmaps memory for every single receive.
_RECEIVE_BYTES = 64 * 1024

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# These end with their head (RFC 9110, 15.3.5 and 15.4.5); a body would be read as the next answer.
_BODILESS = frozenset({204, 304})

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


class MalformedRequest(Exception):
    """A request that cannot be read; the connection is of no more use."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


class PartsBroken(Exception):
    """The rest of a body that is sent in parts will not come; whoever raises it has said why."""


class Request:
    """One request. Header names are in lower case; `path` has no query."""

    __slots__ = ("body", "headers", "keep_alive", "method", "path", "takes_chunks")

    def __init__(
        self,
        method: str,
        path: str,
        headers: Dict[str, str],
        body: bytes,
        keep_alive: bool,
        takes_chunks: bool = True,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.takes_chunks = takes_chunks

    @property
    def announces_body(self) -> bool:
        """Whether a body comes after the head, be it an empty one."""
        return "content-length" in self.headers or "transfer-encoding" in self.headers


class Response:
    """One answer. With `parts` these are its body, each sent once it is there."""

    __slots__ = ("body", "content_type", "headers", "parts", "status")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = "",
        headers: Optional[Mapping[str, str]] = None,
        parts: Optional[Iterator[bytes]] = None,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers or {}
        self.parts = parts

    def encode(self, keep_alive: bool) -> bytes:
        """Head and body in one piece, so that they leave in one write."""
        body = b"" if self.status in _BODILESS else self.body
        framing = [] if self.status in _BODILESS else ["Content-Length: %d" % len(body)]
        return self._head(framing, keep_alive) + body

    def encode_in_parts(self, keep_alive: bool, in_chunks: bool) -> Iterator[bytes]:
        """Head and body piece by piece. Without chunks the connection's end is the body's."""
        is_bodiless = self.status in _BODILESS
        framing = ["Transfer-Encoding: chunked"] if in_chunks and not is_bodiless else []
        yield self._head(framing, keep_alive)
        for part in self.parts or ():
            # An empty chunk would end the body.
            if part and not is_bodiless:
                yield b"%x\r\n%b\r\n" % (len(part), part) if in_chunks else part
        if framing:
            yield b"0\r\n\r\n"

    def _head(self, framing: List[str], keep_alive: bool) -> bytes:
        lines = ["HTTP/1.1 %d %s" % (self.status, _REASONS.get(self.status, ""))]
        if self.content_type:
            lines.append("Content-Type: " + self.content_type)
        lines.extend(framing)
        lines.extend("%s: %s" % item for item in self.headers.items())
        if not keep_alive:
            lines.append("Connection: close")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


class RequestReader:
    """Reads requests from one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def wait(self) -> bool:
        """Wait for the first byte of a request; False at the end of the connection.

        The byte is left where it is, so that at every moment somebody can see the request: a drain
        looks for unread bytes, and for requests that are counted.
        """
        return bool(self._buffer) or bool(self._connection.recv(1, socket.MSG_PEEK))

    def read(self) -> Request:
        """The next request, whole.

        Raises MalformedRequest, or OSError for the connection's sake, as the two below do.
        """
        request = self.read_head()
        self.read_body(request)
        return request

    def read_head(self) -> Request:
        """The next request without its body, which `read_body` must read before the next."""
        method, path, version, headers = _parse_head(self._read_head())
        connection = headers.get("connection", "").lower()
        keep_alive = "close" not in connection and (
            version == b"HTTP/1.1" or "keep-alive" in connection
        )
        return Request(method, path, headers, b"", keep_alive, version == b"HTTP/1.1")

    def read_body(self, request: Request) -> None:
        request.body = self._read_body(request.headers)

    def _read_head(self) -> bytes:
        searched = 0
        while True:
            end = self._buffer.find(b"\r\n\r\n", searched)
            if end >= 0:
                return self._take(end + 4)
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise MalformedRequest(431, "the request's head is too long")
            searched = max(0, len(self._buffer) - 3)
            self._need()

    def _read_body(self, headers: Dict[str, str]) -> bytes:
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if coding is None and length is None:
            return b""
        if coding is not None and length is not None:
            raise MalformedRequest(400, "Content-Length and Transfer-Encoding exclude each other")
        if coding is not None and coding.lower() != "chunked":
            raise MalformedRequest(501, "the transfer coding %s is not known" % coding)
        if headers.get("expect", "").lower() == "100-continue" and not self._buffer:
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if length is None:
            return self._read_chunks()
        if not (length.isascii() and length.isdigit()):
            raise MalformedRequest(400, "Content-Length is not a number")
        return self._read_exactly(_bounded(int(length)))

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while True:
            size_text = self._read_line().partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", size_text):
                raise MalformedRequest(400, "a chunk's size is not a number")
            size = int(size_text, 16)
            if size == 0:
                break
            _bounded(len(body) + size)
            body += self._read_exactly(size)
            if self._read_exactly(2) != b"\r\n":
                raise MalformedRequest(400, "a chunk is longer than it says")
        trailer_bytes = 0
        while True:
            line = self._read_line()
            if not line:
                return bytes(body)
            trailer_bytes += len(line)
            if trailer_bytes > MAX_HEAD_BYTES:
                raise MalformedRequest(431, "the request's trailer is too long")

    def _read_line(self) -> bytes:
        while True:
            end = self._buffer.find(b"\r\n")
            if end >= 0:
                return self._take(end + 2)[:-2]
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise MalformedRequest(400, "a line of a chunked body is too long")
            self._need()

    def _read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._need()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _need(self) -> None:
        if not self._receive():
            raise MalformedRequest(400, "the connection ended within a request")

    def _receive(self) -> bool:
        data = self._connection.recv(_RECEIVE_BYTES)
        self._buffer += data
        return bool(data)


def _bounded(length: int) -> int:
    if length > MAX_BODY_BYTES:
        raise MalformedRequest(413, "the request's body is over %d bytes" % MAX_BODY_BYTES)
    return length


def _parse_head(head: bytes) -> Tuple[str, str, bytes, Dict[str, str]]:
    lines: List[bytes] = head.lstrip(b"\r\n").split(b"\r\n")
    request_line = lines[0].split(b" ")
    if len(request_line) != 3 or not _TOKEN.fullmatch(request_line[0]):
        raise MalformedRequest(400, "the request line is malformed")
    method, target, version = request_line
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise MalformedRequest(400, "the version of HTTP is not known")
    headers: Dict[str, str] = {}
    for line in lines[1:]:
        if not line:
            continue
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise MalformedRequest(400, "a header is malformed")
        key = name.decode("ascii").lower()
        text = value.strip(b" \t").decode("latin-1")
        if key in headers:
            if key == "content-length" and headers[key] != text:
                raise MalformedRequest(400, "Content-Length is given twice")
            if key != "content-length":
                text = headers[key] + ", " + text
        headers[key] = text
    path = target.partition(b"?")[0].decode("latin-1")
    return method.decode("ascii"), path, version, headers
