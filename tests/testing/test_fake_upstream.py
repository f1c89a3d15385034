"""The server that tests talk to ends whatever its clients leave unread."""

import asyncio

from gnomon.testing.fake_upstream import FakeUpstream, raw

# More than the kernel's buffers hold between two sockets.
MUCH = b"x" * 50_000_000


async def test_a_client_that_does_not_read_keeps_nothing_open():
    async with asyncio.timeout(5):
        async with FakeUpstream(raw(MUCH, ends=True)) as upstream:
            reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.readexactly(1)
        writer.transport.abort()
    assert upstream.connections == 1
