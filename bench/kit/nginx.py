"""A trivial upstream: an nginx of the bench's own with one worker, which counts what it answers."""

from __future__ import annotations

import contextlib
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.kit.process import running, wait_until
from bench.kit.report import CannotMeasure

HOST = "127.0.0.1"
# How long nginx keeps an idle connection (s).
KEEP_ALIVE_S = 75.0
_STATUS_TIME_LIMIT_S = 5.0

# The paths are below a directory of the bench's own. By default nginx closes a connection after
# its 1,000th request, which models do not.
_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_timeout {keep_alive_s:.0f}s;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {host}:{port} backlog=4096;
        default_type application/json;
        location = /invocations {{ return 200 '{answer}'; }}
        location = /ping {{ return 200; }}
        location = /status {{ stub_status; }}
    }}
}}
"""
# "server accepts handled requests", then the three numbers (ngx_http_stub_status_module).
_REQUESTS = re.compile(r"requests\s+\d+\s+\d+\s+(\d+)")

# The bench's own servers: a proxy for the world outside has no part in it.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Upstream:
    """One nginx. `answered` counts its requests from the start of the bench."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._own_reads = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/invocations"

    def answered(self) -> int:
        """Requests so far, without the ones by which this is asked."""
        with _opener.open(
            f"http://{HOST}:{self.port}/status", timeout=_STATUS_TIME_LIMIT_S
        ) as answer:
            found = _REQUESTS.search(answer.read().decode())
        if found is None:
            raise CannotMeasure(f"What listens on port {self.port} is not this bench's nginx.")
        self._own_reads += 1
        return int(found[1]) - self._own_reads


@contextlib.contextmanager
def running_upstream(directory: Path, cores: frozenset[int], answer: str) -> Iterator[Upstream]:
    """An nginx that answers every invocation with `answer` (JSON without quotes ' in it)."""
    directory.mkdir()
    upstream = Upstream(free_port())
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            directory=directory,
            host=HOST,
            port=upstream.port,
            keep_alive_s=KEEP_ALIVE_S,
            answer=answer,
        )
    )
    log = directory / "nginx.log"
    command = ["nginx", "-e", str(log), "-p", str(directory), "-c", str(configuration)]
    with running(command, cores, log) as process:
        wait_until(process, log, "nginx", lambda: _answers(upstream))
        yield upstream


def _answers(upstream: Upstream) -> bool:
    try:
        return upstream.answered() >= 0
    except (urllib.error.URLError, ConnectionError):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
