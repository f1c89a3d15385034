"""Envoy with `request_mirror_policies`: one worker, no access log, no tracing, no request ids."""

from __future__ import annotations

import contextlib
import functools
import json
from pathlib import Path
from typing import Any

from bench.kit.nginx import HOST
from bench.peers.peer import Peer, program, running_peer

_TYPES = "type.googleapis.com/envoy.extensions.filters"
# Its default of 1,024 requests and connections would leave copies out.
_NO_BOUND = 1_000_000


def configuration(production: int, shadow: int, port: int) -> str:
    """Envoy's configuration for a listener on `port` and upstreams on the other two."""
    route = {
        "cluster": "production",
        "timeout": "60s",
        "request_mirror_policies": [{"cluster": "shadow"}],
    }
    manager = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "generate_request_id": False,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": route}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{_TYPES}.http.router.v3.Router",
                    "dynamic_stats": False,
                    "suppress_envoy_headers": True,
                },
            }
        ],
    }
    listener = {
        "name": "bench",
        "address": _address(port),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }
    clusters = [_cluster("production", production), _cluster("shadow", shadow)]
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}})


def running_envoy(
    directory: Path, cores: frozenset[int], production: int, shadow: int
) -> contextlib.AbstractContextManager[Peer]:
    """Envoy from the wheel, which listens on a port of its own."""
    envoy = program("envoy", "_bin/envoy")
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return running_peer(
        "Envoy",
        directory,
        cores,
        functools.partial(configuration, production, shadow),
        lambda file: [envoy, "--config-yaml", file.read_text(), *options],
    )


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    bound = {
        "max_connections": _NO_BOUND,
        "max_pending_requests": _NO_BOUND,
        "max_requests": _NO_BOUND,
    }
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "circuit_breakers": {"thresholds": [bound]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}
