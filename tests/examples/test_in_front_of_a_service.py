"""The example works as it stands, with the table that it shows, in front of a Gnomon."""

import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gnomon import settings_reading
from gnomon.hosting import servers
from gnomon.testing.processes import running_gnomon

EXAMPLE = Path(__file__).parents[2] / "examples" / "in_front_of_a_service.py"


def tables():
    """Every piece of gnomon.toml that the example shows."""
    docstring = EXAMPLE.read_text().split('"""')[1]
    shown = re.findall(r"(?:^    .*\n|^\n(?=    \[))+", docstring, re.MULTILINE)
    return [re.sub("^    ", "", text, flags=re.MULTILINE) for text in shown if "[hosting." in text]


@pytest.mark.parametrize("table", tables(), ids=["stand-in", "triton", "vllm"])
def test_gnomon_reads_every_table_that_it_shows(table, tmp_path):
    (tmp_path / "gnomon.toml").write_text(table)
    external = settings_reading.load(tmp_path, {}).hosting.external
    servers.check(external)
    assert "scorer:v1" in external


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_example_works(tmp_path):
    data_dir = tmp_path / "gnomon"
    data_dir.mkdir()
    ports = free_ports(2)
    table = tables()[0]
    assert len(tomllib.loads(table)["hosting"]["external"]) == 2
    for shown, port in zip(("18081", "18082"), ports, strict=True):
        table = table.replace(shown, port)
    (data_dir / "gnomon.toml").write_text(table)
    with running_gnomon(data_dir, GNOMON_ROUTER_DRAIN_IDLE_S="0.2") as gnomon:
        done = subprocess.run(
            [sys.executable, str(EXAMPLE), "--ports", *ports],
            env={
                "HOME": str(tmp_path),
                "PATH": os.environ["PATH"],
                "AWS_ENDPOINT_URL_SAGEMAKER": gnomon.url,
                "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": gnomon.url,
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "gnomon",
                "AWS_SECRET_ACCESS_KEY": "gnomon",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
    assert done.returncode == 0, done.stdout + done.stderr


def free_ports(count):
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
