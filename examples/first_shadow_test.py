"""A first shadow test, with boto3; only its KMS key is made by the gnomon command.

With Gnomon running, in a shell:

    eval "$(gnomon env)"
    python examples/first_shadow_test.py

Two small models read a flight's delay at departure and say whether it will arrive late. One is in
production; the other, more easily alarmed, is tried in its shadow on half of the traffic and then
promoted. The exit status is 0 only if everything held.
"""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

REQUESTS = 300
SAMPLING_PERCENTAGE = 50
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
ROLE = "arn:aws:iam::000000000000:role/ShadowTest"

# SageMaker's handler convention: code/inference.py in the archive. It needs no library here; a
# scikit-learn model saved as model.joblib would need no handler.
HANDLER = """
import json
import pathlib

def model_fn(model_dir):
    return json.loads(pathlib.Path(model_dir, "model.json").read_text())

def input_fn(body, content_type):
    return [float(line) for line in body.splitlines()]

def predict_fn(delays, model):
    return ["late" if delay > model["late_above"] else "on time" for delay in delays]

def output_fn(labels, accept):
    return "".join(label + "\\n" for label in labels), "text/csv"
"""


def pack_model(path: Path, late_above: float) -> str:
    """Writes a model.tar.gz; returns its URL."""
    files = {"code/inference.py": HANDLER, "model.json": json.dumps({"late_above": late_above})}
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"file://{path}"


def check(holds: bool, what: str) -> None:
    print(f"  {'yes' if holds else 'NO '}  {what}")
    if not holds:
        sys.exit(f"This did not hold: {what}")


def main(directory: Path) -> None:
    # Without this variable boto3 would call AWS.
    url = os.environ.get("AWS_ENDPOINT_URL_SAGEMAKER")
    if not url:
        sys.exit('No endpoint URL is set. Run eval "$(gnomon env)" first.')
    # Retries hide failures; here every one is to be seen.
    config = Config(retries={"total_max_attempts": 1})
    sagemaker = boto3.client("sagemaker", config=config)
    runtime = boto3.client("sagemaker-runtime", config=config)
    # A name of its own for each run.
    name = f"first-{int(time.time())}"

    def invoke(delay: int) -> tuple[str, str]:
        """What was answered, and by which variant."""
        answer = runtime.invoke_endpoint(
            EndpointName=name, Body=f"{delay}\n", ContentType="text/csv", Accept="text/csv"
        )
        return answer["Body"].read().decode().strip(), answer["InvokedProductionVariant"]

    def wait_for_experiment(wanted: str) -> None:
        for _ in range(240):
            experiment = sagemaker.describe_inference_experiment(Name=name)
            if experiment["Status"] == wanted:
                return
            if experiment["Status"] in {"Completed", "Cancelled"}:
                break
            time.sleep(0.25)
        sys.exit(f"The experiment is {experiment['Status']}: {experiment.get('StatusReason')}")

    print("Production: a model, a configuration and an endpoint.")
    for variant, late_above in (("production", 15), ("shadow", 10)):
        sagemaker.create_model(
            ModelName=f"{name}-{variant}",
            ExecutionRoleArn=ROLE,
            PrimaryContainer={
                "Image": IMAGE,
                "ModelDataUrl": pack_model(directory / f"{variant}.tar.gz", late_above),
            },
        )
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "production",
                "ModelName": f"{name}-production",
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
                "InitialVariantWeight": 1.0,
            }
        ],
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    check(invoke(12) == ("on time", "production"), "the endpoint answers from production")

    print("The shadow test: every parameter of the operation, with a KMS key of its own.")
    subprocess.run(["gnomon", "keys", "create", "--alias", name], check=True)
    now = datetime.now(UTC)
    sagemaker.create_inference_experiment(
        Name=name,
        Type="ShadowMode",
        Schedule={"StartTime": now, "EndTime": now + timedelta(hours=1)},
        Description="Is a lower threshold better?",
        RoleArn=ROLE,
        EndpointName=name,
        ModelVariants=[
            {
                "ModelName": f"{name}-{variant}",
                "VariantName": variant,
                "InfrastructureConfig": {
                    "InfrastructureType": "RealTimeInference",
                    "RealTimeInferenceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
                },
            }
            for variant in ("production", "shadow")
        ],
        DataStorageConfig={
            "Destination": "s3://captures/first-shadow-test",
            "KmsKey": f"alias/{name}",
            "ContentType": {
                "CsvContentTypes": ["text/csv"],
                "JsonContentTypes": ["application/json"],
            },
        },
        ShadowModeConfig={
            "SourceModelVariantName": "production",
            "ShadowModelVariants": [
                {"ShadowModelVariantName": "shadow", "SamplingPercentage": SAMPLING_PERCENTAGE}
            ],
        },
        KmsKey=f"alias/{name}",
        Tags=[{"Key": "project", "Value": "first-shadow-test"}],
    )
    wait_for_experiment("Running")

    # From 11 to 15 minutes the two models differ; the client sees production's answer to all.
    delays = [number % 20 for number in range(REQUESTS)]
    answers = [invoke(delay) for delay in delays]
    expected = [("late" if delay > 15 else "on time", "production") for delay in delays]
    check(answers == expected, f"all {REQUESTS} answers are production's")

    print("The end: the shadow is promoted.")
    sagemaker.stop_inference_experiment(
        Name=name,
        ModelVariantActions={"production": "Remove", "shadow": "Promote"},
        DesiredState="Completed",
        Reason="The lower threshold is better.",
    )
    wait_for_experiment("Completed")
    check(invoke(12) == ("late", "shadow"), "the endpoint answers from the promoted variant")

    with urllib.request.urlopen(f"{url}/gnomon/v1/experiments/{name}/report") as answer:
        report: dict[str, Any] = json.load(answer)
    mirror, pairs = report["mirror"], report["pairs"]
    print(f"  {'':14}{'invocations':>12}{'errors':>8}{'p50':>10}{'p99':>10}")
    for side in ("production", "shadow"):
        figures, latency = report[side], report[side]["latency_ms"]
        print(
            f"  {side:14}{figures['invocations']:12}{figures['model_errors']:8}"
            f"{latency['p50']:7.1f} ms{latency['p99']:7.1f} ms"
        )
    print(f"  mirrored {mirror['mirrored']} of {mirror['candidates']}; dropped {mirror['dropped']}")
    print(f"  the two models agree on {pairs['agreement']:.1%} of {pairs['pairs']} pairs")
    check(report["production"]["invocations"] == REQUESTS, "every request was counted")
    share = SAMPLING_PERCENTAGE / 100
    bound = 5 * math.sqrt(REQUESTS * share * (1 - share))
    check(abs(mirror["mirrored"] - REQUESTS * share) <= bound, "about half was mirrored")
    check(pairs["pairs"] == mirror["mirrored"], "each copy's answer was compared")
    check(0 < pairs["different"] < pairs["same"], "the models differ, as they should")

    # The experiment and its report stay, until delete_inference_experiment.
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    for variant in ("production", "shadow"):
        sagemaker.delete_model(ModelName=f"{name}-{variant}")
    print(f"Captured records: gnomon capture cat {name}")
    print(f"The report again: gnomon report {name}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
