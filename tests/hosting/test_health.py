import asyncio
import contextlib
import resource

import pytest

from gnomon.hosting.health import ping


@contextlib.asynccontextmanager
async def serving(answer: bytes | None):
    """The port of a server that gives this answer, or none at all, and what it was asked."""
    asked = []
    handlers = []

    async def handle(reader, writer):
        handlers.append(asyncio.current_task())
        with contextlib.suppress(OSError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked
    await asyncio.gather(*handlers)


@pytest.mark.parametrize(
    ("answer", "is_healthy"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 200\r\n\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH 200\r\n", False),
        (b"HTTP/1.1 200", False),
        (b"", False),
        (b"\r\n", False),
        (b"x" * 5000, False),
    ],
)
async def test_only_a_200_is_healthy(answer, is_healthy):
    async with serving(answer) as (port, _):
        assert await ping("127.0.0.1", port, "/ping", 5.0) is is_healthy


async def test_it_asks_for_the_path():
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n") as (port, asked):
        await ping("127.0.0.1", port, "/v2/health/ready", 5.0)

    assert asked[0].startswith(b"GET /v2/health/ready HTTP/1.1\r\n")


async def test_it_carries_the_headers_of_the_instance():
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n") as (port, asked):
        await ping("127.0.0.1", port, "/", 5.0, (("Host", "model.local"), ("X-Key", "k")))

    assert asked[0] == (
        b"GET / HTTP/1.1\r\nHost: model.local\r\nX-Key: k\r\nConnection: close\r\n\r\n"
    )


async def test_a_server_that_does_not_answer_in_time():
    async with serving(None) as (port, _):
        assert await ping("127.0.0.1", port, "/ping", 0.05) is False


async def test_nobody_listens():
    async with serving(None) as (port, _):
        pass

    assert await ping("127.0.0.1", port, "/ping", 5.0) is False


async def test_a_process_that_cannot_ask_does_not_blame_the_server():
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n") as (port, _):
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, former[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                await ping("127.0.0.1", port, "/ping", 5.0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, former)
