"""Fuzzes the router's two sides by coverage, for a bounded time: `scripts/fuzz [--seconds N]`.

What is looked for is what `tests/router/test_fuzz.py` looks for: an exception, or bytes that mean
something else when they come in other pieces. An input that does is left in the working directory.
"""

import argparse
import subprocess
import sys

SECONDS = 60
SEEDS = {
    "client": [
        b"POST /e HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\n\r\n",
        b"POST /e HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nab\r\n0\r\nA: b\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
    ],
    "model": [
        b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nab\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nab",
        b"HTTP/1.1 204 N\r\nConnection: close\r\n\r\n",
    ],
}


def main():
    parser = argparse.ArgumentParser(prog="scripts/fuzz")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each side (default 60)")
    parser.add_argument("--side", choices=SEEDS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        fuzz(asked.side, asked.seconds)
        return
    for side in SEEDS:
        print(f"{side}: {asked.seconds} s", flush=True)
        # A process each: libFuzzer ends the one that it runs in.
        done = subprocess.run(
            [sys.executable, __file__, "--side", side, "--seconds", str(asked.seconds)], check=False
        )
        if done.returncode:
            sys.exit(done.returncode)


def fuzz(side, seconds):
    import tempfile
    from pathlib import Path

    import atheris

    with atheris.instrument_imports(include=["gnomon"]):
        from gnomon.testing import wire

    def pieces_of(data, seed):
        size = seed % 17 + 1
        return [data[start : start + size] for start in range(0, len(data), size)]

    def look(given):
        if len(given) < 2 or len(given) > wire.MAX_INPUT_BYTES:
            return
        data = given[1:]
        cut = pieces_of(data, given[0])
        if side == "client":
            assert wire.take(cut) == wire.take([data]), data
            return
        for is_streamed in (False, True):
            for ends in (False, True):
                found = wire.read(cut, ends=ends, is_streamed=is_streamed)
                whole = wire.read([data], ends=ends, is_streamed=is_streamed)
                assert (found.failure, found.status, found.headers, found.body) == (
                    whole.failure,
                    whole.status,
                    whole.headers,
                    whole.body,
                ), data

    with tempfile.TemporaryDirectory(prefix="gnomon-fuzz-") as corpus:
        for number, seed in enumerate(SEEDS[side]):
            Path(corpus, str(number)).write_bytes(b"\x02" + seed)
        options = [f"-max_total_time={seconds}", "-max_len=4096", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, corpus], look)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
