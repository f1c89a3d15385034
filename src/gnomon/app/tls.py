"""TLS between a socket's transport and a protocol that speaks HTTP.

The loop's own TLS can neither close one direction nor say how much of an answer is unwritten, and a
router's draining, its slow readers' time limits and the answers that outlive a refused body rest on
both. Here the ciphers are OpenSSL's, the bytes the transport's, and everything else is as without
TLS: the protocol behind has the connection from the moment in which it was accepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import Any, cast

# A TLS record holds as much at most, in bytes (RFC 8446, 5.1).
_RECORD_BYTES = 16 * 1024
# What OpenSSL says of a client that speaks HTTP without TLS.
_PLAIN_HTTP = "HTTP_REQUEST"
_NOT_TLS = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: 51\r\n\r\nGnomon speaks TLS here: begin the URL with https://"
)


class TlsConnection(asyncio.Transport, asyncio.Protocol):
    """A protocol to the socket's transport, and a transport to the protocol behind it."""

    _raw: asyncio.Transport

    def __init__(self, behind: asyncio.Protocol, context: ssl.SSLContext) -> None:
        super().__init__()
        self._behind = behind
        self._context = context
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_up = False
        self._is_reading_held = False
        self._eof_has_come = False
        # No more is read from the client, and no more goes to it.
        self._has_ended = False
        self._is_ended = False

    # --- For the loop -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)
        self._behind.connection_made(self)

    def data_received(self, data: bytes) -> None:
        if self._is_ended:
            # Who has said its last word throws away what still comes, and wants to know that it
            # does; after its own end TLS does not decrypt it.
            self._behind.data_received(data)
            return
        self._incoming.write(data)
        if not self._is_up:
            self._shake_hands()
        if self._is_up:
            self._read()

    def eof_received(self) -> bool:
        self._eof_has_come = True
        if self._is_up and not self._is_ended:
            # Behind what has come and is not wanted yet.
            self._read()
        else:
            self._end_reading()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._behind.connection_lost(exc)

    def pause_writing(self) -> None:
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        self._behind.resume_writing()

    # --- Reading ------------------------------------------------------------------------------

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            # The alert that says why, or, to one who knows no TLS, plain words.
            self._flush()
            if error.reason == _PLAIN_HTTP:
                self._raw.write(_NOT_TLS)
            self._raw.close()
        else:
            self._is_up = True
            self._flush()

    def _read(self) -> None:
        """Hand over what is there, as long as it is wanted."""
        try:
            while not (self._is_reading_held or self._is_ended or self._raw.is_closing()):
                data = self._tls.read(_RECORD_BYTES)
                if not data:
                    self._end_reading()
                    break
                self._behind.data_received(data)
        except ssl.SSLWantReadError:
            if self._eof_has_come:
                # Many clients close without TLS's farewell; that a body is whole is HTTP's to say.
                self._end_reading()
        except ssl.SSLError:
            # Not what the client had sent, or not all of it.
            self._raw.abort()
            return
        # Reading may have answers of its own, such as to new keys.
        self._flush()

    def _end_reading(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            if not self._behind.eof_received():
                self.close()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    # --- For the protocol behind --------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        if not self._is_up or self._is_ended or self._raw.is_closing():
            return
        for data in list_of_data:
            rest = memoryview(data)
            while rest:
                rest = rest[self._tls.write(rest) :]
        self._flush()

    def write_eof(self) -> None:
        """No more is written; what the client still sends is not decrypted any more."""
        if not self._is_ended:
            self._say_farewell()
            if not self._raw.is_closing():
                self._raw.write_eof()

    def can_write_eof(self) -> bool:
        return True

    def _say_farewell(self) -> None:
        self._is_ended = True
        if self._is_up:
            # The client's own farewell has yet to come, or something else stands before it.
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()

    def close(self) -> None:
        if not self._raw.is_closing():
            if not self._is_ended:
                self._say_farewell()
            self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def is_reading(self) -> bool:
        return not self._is_reading_held

    def pause_reading(self) -> None:
        self._is_reading_held = True
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._is_reading_held = False
        self._raw.resume_reading()
        if self._is_up and not self._is_ended:
            # What was decrypted or had come before reading was held; not within the caller.
            asyncio.get_running_loop().call_soon(self._read)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._context if name == "sslcontext" else self._raw.get_extra_info(name, default)
