"""Servers that Gnomon did not start, through a whole experiment."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from gnomon.testing.processes import ROLE, EchoModels, Traffic, running_gnomon

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# Says its name to whoever has the key, and counts; on port argv[1], with a path before all others.
SERVER = """
import http.server, json, sys, threading

lock = threading.Lock()
count = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/count":
            self.answer(200, str(count).encode())
        elif self.path == "/base/ready" and self.headers["X-Key"] == "secret":
            self.answer(200)
        else:
            self.answer(404)

    def do_POST(self):
        global count
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/base/infer" or self.headers["X-Key"] != "secret":
            return self.answer(404)
        with lock:
            count += 1
        self.answer(200, sys.argv[2].encode())

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer.daemon_threads = True
# Connections that may wait for a busy machine; its own 5 are soon refused.
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@dataclass
class Server:
    """A process of the test's own."""

    says: str
    port: int
    processes: list = field(default_factory=list)

    @property
    def url(self):
        return f"http://localhost:{self.port}/base"

    def start(self):
        self.processes.append(
            subprocess.Popen([sys.executable, "-c", SERVER, str(self.port), self.says])
        )

    def stop(self):
        self.processes[-1].kill()
        self.processes[-1].wait()

    def runs(self):
        """Whether the process that the test began is the one that runs."""
        return self.processes[-1].poll() is None

    def answered(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/count", timeout=10) as answer:
            return int(answer.read())


@pytest.fixture
def servers():
    """Three servers: two for one image, one for another."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    started = [Server(says, port) for says, port in zip(("one", "one", "two"), ports, strict=True)]
    for server in started:
        server.start()
    yield started
    for server in started:
        server.stop()


@pytest.fixture
def echo(servers, tmp_path):
    data_dir = tmp_path / "gnomon"
    data_dir.mkdir()
    write_table(data_dir, {"served:one": servers[:2], "served:two": servers[2:]})
    with running_gnomon(
        data_dir, GNOMON_ROUTER_DRAIN_IDLE_S="0.2", GNOMON_HOSTING_PING_INTERVAL_S="0.2"
    ) as gnomon:
        yield EchoModels(gnomon, tmp_path, "outside")


def write_table(data_dir: Path, images: dict[str, list[Server]]):
    tables = (
        f'[hosting.external."{image}"]\n'
        f"urls = {json.dumps([server.url for server in servers])}\n"
        'health = "/ready"\ninvocations = "/infer"\nheaders = { X-Key = "secret" }\n'
        for image, servers in images.items()
    )
    (data_dir / "gnomon.toml").write_text("\n".join(tables))


def model(echo, name, image):
    """A model without an archive."""
    echo.sagemaker.create_model(
        ModelName=name, PrimaryContainer={"Image": image}, ExecutionRoleArn=ROLE
    )


def endpoint(echo, count):
    """An endpoint on the first image, begun; and a model of the second for its shadow."""
    model(echo, f"{echo.name}-prod", "served:one")
    model(echo, f"{echo.name}-shad", "served:two")
    echo.sagemaker.create_endpoint_config(
        EndpointConfigName=echo.name,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": f"{echo.name}-prod",
                "InstanceType": "ml.m5.xlarge",
                "InitialInstanceCount": count,
            }
        ],
    )
    echo.sagemaker.create_endpoint(EndpointName=echo.name, EndpointConfigName=echo.name)


def until_endpoint(echo, status):
    def reached():
        found = echo.sagemaker.describe_endpoint(EndpointName=echo.name)
        return found if found["EndpointStatus"] == status else None

    return echo.gnomon.wait(reached, f"endpoint {status}")


def answers(echo):
    """Whether production answers: a router learns what is InService a moment later."""
    try:
        return echo.invoke("1\n")["Body"].read() == b"one"
    except ClientError:
        return False


def instances(echo):
    """Address and id of each instance that serves."""
    return {
        (instance["address"], instance["id"])
        for instance in echo.gnomon.get("/status")["instances"]
        if instance["status"] == "InService"
    }


def test_two_servers_go_through_a_whole_experiment_and_run_on(echo, servers):
    endpoint(echo, count=2)
    until_endpoint(echo, "InService")
    echo.experiment(50, count=2)
    before = instances(echo)
    assert len(before) == 3
    assert {address for address, _ in before} == {f"localhost:{server.port}" for server in servers}

    with Traffic(lambda number: echo.invoke(f"{number}\n")["Body"].read()) as traffic:
        echo.gnomon.wait(lambda: traffic.sent >= 200, "traffic before control dies")
        running = json.loads((echo.gnomon.data_dir / "gnomon.json").read_text())
        (control,) = (p["pid"] for p in running["processes"] if p["name"] == "control")
        os.kill(control, signal.SIGKILL)
        echo.gnomon.wait(lambda: has_come_back(echo, control), "another control")
        # It has adopted all three: nothing was claimed anew.
        assert instances(echo) == before
        echo.stop(shadow="Promote", production="Remove")
        sent = traffic.sent
        echo.gnomon.wait(lambda: traffic.sent >= sent + 100, "traffic after")
    assert traffic.failures == []
    assert set(traffic.answers) == {b"one", b"two"}
    assert (traffic.answers[0], traffic.answers[-1]) == (b"one", b"two")

    def counted():
        metrics = echo.gnomon.get(f"/endpoints/{echo.name}/metrics")["variants"]
        mirrored = echo.report()["mirror"]["mirrored"]
        total = sum(variant["invocations"] for variant in metrics.values())
        return total - mirrored == traffic.sent and mirrored

    mirrored = echo.gnomon.wait(counted, "the routers' count of production requests")
    assert sum(server.answered() for server in servers) == traffic.sent + mirrored
    assert echo.report()["pairs"]["different"] == echo.report()["pairs"]["pairs"] == mirrored

    echo.sagemaker.delete_endpoint(EndpointName=echo.name)
    echo.gnomon.wait(lambda: instances(echo) == set(), "nothing in use")
    assert all(server.runs() for server in servers)


def has_come_back(echo, former):
    running = json.loads((echo.gnomon.data_dir / "gnomon.json").read_text())
    now = {p["name"]: p["pid"] for p in running["processes"]}
    try:
        return now["control"] != former and echo.gnomon.get("/status")
    except OSError:
        return False


def test_a_server_that_dies_is_passed_over_and_comes_back(echo, servers):
    endpoint(echo, count=2)
    until_endpoint(echo, "InService")
    before = instances(echo)
    dead = servers[0]
    with Traffic(lambda number: echo.invoke(f"{number}\n")["Body"].read()) as traffic:
        echo.gnomon.wait(lambda: dead.answered() > 20, "traffic to it")
        dead.stop()
        echo.gnomon.wait(lambda: len(instances(echo)) == 1, "three pings failed")
        sent = traffic.sent
        echo.gnomon.wait(lambda: traffic.sent > sent + 50, "traffic without it")
        dead.start()
        echo.gnomon.wait(lambda: len(instances(echo)) == 2, "two instances again")
        echo.gnomon.wait(lambda: dead.answered() > 20, "traffic to it again")
    # What was in flight in it when it was killed, at most one for each sender.
    assert len(traffic.failures) <= 4
    assert {address for address, _ in instances(echo)} == {address for address, _ in before}
    reasons = {i["reason"] for i in echo.gnomon.get("/status")["instances"]}
    assert "3 pings in a row failed" in reasons
    assert echo.sagemaker.describe_endpoint(EndpointName=echo.name)["EndpointStatus"] == "InService"


def test_more_instances_than_servers_fail_the_endpoint_with_what_to_do(echo):
    endpoint(echo, count=3)
    reason = until_endpoint(echo, "Failed")["FailureReason"]
    assert '3 instances are wanted, and hosting.external."served:one" has 2 in urls' in reason


def test_one_server_can_be_production_and_shadow(echo, servers):
    endpoint(echo, count=1)
    until_endpoint(echo, "InService")
    echo.sagemaker.delete_model(ModelName=f"{echo.name}-shad")
    model(echo, f"{echo.name}-shad", "served:one")
    echo.experiment(100)
    assert len(instances(echo)) == 2
    assert len({address for address, _ in instances(echo)}) == 1
    for number in range(20):
        echo.invoke(f"{number}\n")
    pairs = echo.gnomon.wait(
        lambda: (found := echo.report()["pairs"])["pairs"] == 20 and found, "20 pairs"
    )
    assert pairs["same"] == 20
    assert servers[0].answered() == 40


def test_going_down_and_coming_up_leaves_the_servers_alone(servers, tmp_path):
    data_dir = tmp_path / "gnomon"
    data_dir.mkdir()
    write_table(data_dir, {"served:one": servers[:1], "served:two": servers[2:]})
    settings = {"GNOMON_ROUTER_DRAIN_IDLE_S": "0.2"}
    with running_gnomon(data_dir, **settings) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "again")
        endpoint(echo, count=1)
        until_endpoint(echo, "InService")
        gnomon.wait(lambda: answers(echo), "an answer")
    with running_gnomon(data_dir, **settings) as gnomon:
        echo.gnomon = gnomon
        gnomon.wait(lambda: answers(echo), "an answer again")
    assert servers[0].answered() == 2
    assert servers[0].runs()


def test_a_table_that_cannot_be_used_is_said_before_anything_starts(tmp_path):
    (tmp_path / "gnomon.toml").write_text('[hosting.external.a]\nurls = ["https://a"]\n')
    done = subprocess.run(
        [sys.executable, "-m", "gnomon.app.main", "up", "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert 'hosting.external."a"' in done.stderr
    assert "plain HTTP to servers, not https yet" in done.stderr
    assert "Traceback" not in done.stderr
