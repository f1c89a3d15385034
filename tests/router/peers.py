"""Client, model and shadow of a router whose costs are counted, in a process of their own.

What they allocate, read and write must not be counted with the router's. Run as
`python peers.py`: it says the ports of model and shadow, is told the router's, and then obeys a
line at a time, each answered by a line: `ask ROUNDS CONNECTIONS BYTES` (requests one after another
on each connection), `hold CONNECTIONS BYTES` (requests that model and shadow do not answer yet),
`release` (now they do).
"""

import asyncio
import re
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: 4\r\n\r\n0.5\n"


class Server:
    def __init__(self):
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.waiting = 0

    async def connected(self, reader, writer):
        try:
            while True:
                await read_message(reader)
                self.waiting += 1
                await self.may_answer.wait()
                self.waiting -= 1
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def read_message(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))


async def ask(connection, rounds, length):
    reader, writer = connection
    for _ in range(rounds):
        writer.write(
            b"POST /endpoints/demo/invocations HTTP/1.1\r\nHost: test\r\nContent-Type: text/csv\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (length, b"x" * length)
        )
        await read_message(reader)


async def main():
    model, shadow = Server(), Server()
    listening = [await asyncio.start_server(s.connected, "127.0.0.1", 0) for s in (model, shadow)]
    print(*(server.sockets[0].getsockname()[1] for server in listening), flush=True)
    loop = asyncio.get_running_loop()
    port = int(await loop.run_in_executor(None, sys.stdin.readline))
    connections = []

    def asking(count, rounds, length):
        return asyncio.gather(
            *(ask(connection, rounds, length) for connection in connections[:count])
        )

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command, *numbers = line.split()
        numbers = [int(number) for number in numbers]
        if command != "release":
            while len(connections) < numbers[-2]:
                connections.append(await asyncio.open_connection("127.0.0.1", port))
        if command == "ask":
            rounds, count, length = numbers
            await asking(count, rounds, length)
        elif command == "hold":
            for server in (model, shadow):
                server.may_answer.clear()
            held = asyncio.ensure_future(asking(numbers[0], 1, numbers[1]))
            while model.waiting < numbers[0] or shadow.waiting < numbers[0]:
                await asyncio.sleep(0.002)
        else:
            for server in (model, shadow):
                server.may_answer.set()
            await held
        print(command, flush=True)


asyncio.run(main())
