"""A shadow test in front of a service that runs already.

Gnomon finds servers that it does not start by a table in gnomon.toml, read when `gnomon up` starts:

    [hosting.external."scorer:v1"]
    urls = ["http://127.0.0.1:18081"]
    health = "/healthz"
    invocations = "/v1/score"

    [hosting.external."scorer:v2"]
    urls = ["http://127.0.0.1:18082"]
    health = "/healthz"
    invocations = "/v1/score"

Then, with Gnomon running, in a shell:

    eval "$(gnomon env)"
    python examples/in_front_of_a_service.py

So that it can be run anywhere, it brings a stand-in for the service in two versions, on the ports
that the table names (or those that `--ports` does). For a service of your own, leave `stand_in` out
and let the table say where it answers. For Triton:

    [hosting.external."scorer:v1"]
    urls = ["http://triton-1:8000", "http://triton-2:8000"]
    health = "/v2/health/ready"
    invocations = "/v2/models/scorer/versions/1/infer"

and for vLLM, whose key no client needs to know then:

    [hosting.external."scorer:v1"]
    urls = ["http://vllm:8000"]
    health = "/health"
    invocations = "/v1/completions"
    headers = { Authorization = "Bearer ..." }

The exit status is 0 only if everything held.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
from botocore.config import Config

REQUESTS = 200
SAMPLING_PERCENTAGE = 50
ROLE = "arn:aws:iam::000000000000:role/ShadowTest"


class Service(ThreadingHTTPServer):
    """The stand-in: says whether a flight that departs so late will arrive late."""

    # Connections that may wait for a busy machine.
    request_queue_size = 128

    def __init__(self, port: int, late_above: float) -> None:
        super().__init__(("127.0.0.1", port), ServiceHandler)
        self.late_above = late_above


class ServiceHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A small answer is not to wait for the acknowledgement of its head.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/healthz" else 404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Service)
        if self.path == "/v1/score":
            self._answer(200, {"late": json.loads(body)["delay"] > self.server.late_above})
        else:
            self._answer(404, {})

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def stand_in(port: int, late_above: float) -> Iterator[None]:
    """One version of the service, until the block ends."""
    with Service(port, late_above) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        try:
            yield
        finally:
            service.shutdown()
            thread.join()


def check(holds: bool, what: str) -> None:
    print(f"  {'yes' if holds else 'NO '}  {what}")
    if not holds:
        sys.exit(f"This did not hold: {what}")


def main() -> None:
    # Without this variable boto3 would call AWS.
    url = os.environ.get("AWS_ENDPOINT_URL_SAGEMAKER")
    if not url:
        sys.exit('No endpoint URL is set. Run eval "$(gnomon env)" first.')
    # Retries hide failures; here every one is to be seen.
    config = Config(retries={"total_max_attempts": 1})
    sagemaker = boto3.client("sagemaker", config=config)
    runtime = boto3.client("sagemaker-runtime", config=config)
    # A name of its own for each run.
    name = f"service-{int(time.time())}"

    def invoke(delay: int) -> tuple[bool, str]:
        """What was answered, and by which variant."""
        answer = runtime.invoke_endpoint(
            EndpointName=name, Body=json.dumps({"delay": delay}), ContentType="application/json"
        )
        return json.load(answer["Body"])["late"], answer["InvokedProductionVariant"]

    def wait_for_experiment(wanted: str) -> None:
        for _ in range(240):
            experiment = sagemaker.describe_inference_experiment(Name=name)
            if experiment["Status"] == wanted:
                return
            if experiment["Status"] in {"Completed", "Cancelled"}:
                break
            time.sleep(0.25)
        sys.exit(f"The experiment is {experiment['Status']}: {experiment.get('StatusReason')}")

    print("The service as it is, behind an endpoint: models without an archive.")
    for version in ("v1", "v2"):
        sagemaker.create_model(
            ModelName=f"{name}-{version}",
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": f"scorer:{version}"},
        )
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "v1",
                "ModelName": f"{name}-v1",
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    check(invoke(12) == (False, "v1"), "the endpoint answers from the service")

    print("The next version in its shadow, on half of the traffic.")
    sagemaker.create_inference_experiment(
        Name=name,
        Type="ShadowMode",
        RoleArn=ROLE,
        EndpointName=name,
        ModelVariants=[
            {
                "ModelName": f"{name}-{version}",
                "VariantName": version,
                "InfrastructureConfig": {
                    "InfrastructureType": "RealTimeInference",
                    "RealTimeInferenceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
                },
            }
            for version in ("v1", "v2")
        ],
        ShadowModeConfig={
            "SourceModelVariantName": "v1",
            "ShadowModelVariants": [
                {"ShadowModelVariantName": "v2", "SamplingPercentage": SAMPLING_PERCENTAGE}
            ],
        },
    )
    wait_for_experiment("Running")
    # From 11 to 15 minutes the two versions differ; the client sees production's answer to all.
    delays = [number % 20 for number in range(REQUESTS)]
    answers = [invoke(delay) for delay in delays]
    check(answers == [(delay > 15, "v1") for delay in delays], "all answers are version 1's")

    print("The end: version 2 is promoted.")
    sagemaker.stop_inference_experiment(
        Name=name, ModelVariantActions={"v1": "Remove", "v2": "Promote"}, DesiredState="Completed"
    )
    wait_for_experiment("Completed")
    check(invoke(12) == (True, "v2"), "the endpoint answers from version 2")
    with urllib.request.urlopen(f"{url}/gnomon/v1/experiments/{name}/report") as answer:
        report: dict[str, Any] = json.load(answer)
    mirror, pairs = report["mirror"], report["pairs"]
    print(f"  mirrored {mirror['mirrored']} of {mirror['candidates']}; dropped {mirror['dropped']}")
    print(f"  the versions agree on {pairs['agreement']:.1%} of {pairs['pairs']} pairs")
    check(report["production"]["invocations"] == REQUESTS, "every request was counted")
    check(0 < pairs["different"] < pairs["same"], "the versions differ, as they should")

    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    for version in ("v1", "v2"):
        sagemaker.delete_model(ModelName=f"{name}-{version}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A shadow test in front of a running service.")
    parser.add_argument("--ports", type=int, nargs=2, default=(18081, 18082))
    first, second = parser.parse_args().ports
    with stand_in(first, late_above=15), stand_in(second, late_above=10):
        main()
