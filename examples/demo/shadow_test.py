"""What a user of SageMaker does for a shadow test, by boto3 alone; nothing here knows Gnomon."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.literals import InferenceExperimentStatusType
    from types_boto3_sagemaker.type_defs import CreateInferenceExperimentRequestTypeDef
    from types_boto3_sagemaker_runtime import SageMakerRuntimeClient

ENDPOINT = "flights"
ENDPOINT_CONFIG = "flights-logistic"
EXPERIMENT = "flights-boosting"
PRODUCTION_MODEL = "flights-logistic"
SHADOW_MODEL = "flights-boosting"
PRODUCTION = "logistic"
SHADOW = "boosting"
PRODUCTION_INSTANCES = 2
SAMPLING_PERCENTAGE = 50

MODELS = "s3://flights-models"
CAPTURES = "s3://flights-captures/shadow-test"

_ROLE = "arn:aws:iam::000000000000:role/FlightsDemo"
KEY_ALIAS = "flights"
_KEY = f"alias/{KEY_ALIAS}"
# Nobody has made it.
_NO_KEY = "arn:aws:kms:us-east-1:000000000000:key/0d8f5c3e-0000-4000-8000-000000000000"
_IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
_INSTANCE_TYPE: Final = "ml.m5.large"

# boto3 fails where one of them names a profile that is not there, whether it is needed or not.
_PROFILE_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")

# Long enough for the demo, which stops the test itself.
_SPAN = timedelta(hours=1)

# Two models have to start on a machine that may be busy; it takes seconds.
_WAIT_DELAY_S = 1
_WAIT_TIME_LIMIT_S = 120


class ShadowTestFailed(Exception):
    """The endpoint or the test went where it should not; the text says where."""


@dataclass(frozen=True)
class Clients:
    """boto3's clients for SageMaker and its runtime."""

    sagemaker: "SageMakerClient"
    runtime: "SageMakerRuntimeClient"


def connect(environment: Mapping[str, str], connections: int) -> Clients:
    """Clients by the variables of `gnomon env`; nothing else of the user's AWS settings counts."""
    for variable in _PROFILE_VARIABLES:
        os.environ.pop(variable, None)
    session = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )
    config = Config(
        # A failure that a retry hides is a failure that nobody counts.
        retries={"total_max_attempts": 1},
        max_pool_connections=connections,
        # Gnomon is on this machine: a proxy for the world outside has no part in it.
        proxies={},
    )
    return Clients(
        sagemaker=session.client(
            "sagemaker", endpoint_url=environment["AWS_ENDPOINT_URL_SAGEMAKER"], config=config
        ),
        runtime=session.client(
            "sagemaker-runtime",
            endpoint_url=environment["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"],
            config=config,
        ),
    )


def create_models(
    sagemaker: "SageMakerClient", archives: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    """One model for each name in `archives`, from the archive at its URL."""
    for name, url in archives.items():
        sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=_ROLE,
            PrimaryContainer={
                "Image": _IMAGE,
                "ModelDataUrl": url,
                "Environment": dict(environment),
            },
        )


def create_endpoint(sagemaker: "SageMakerClient") -> None:
    """The endpoint, in service, with the production model alone."""
    sagemaker.create_endpoint_config(
        EndpointConfigName=ENDPOINT_CONFIG,
        ProductionVariants=[
            {
                "VariantName": PRODUCTION,
                "ModelName": PRODUCTION_MODEL,
                "InstanceType": _INSTANCE_TYPE,
                "InitialInstanceCount": PRODUCTION_INSTANCES,
                "InitialVariantWeight": 1.0,
            }
        ],
    )
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=ENDPOINT_CONFIG)
    wait_in_service(sagemaker)


def wait_in_service(sagemaker: "SageMakerClient") -> None:
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=ENDPOINT,
        WaiterConfig={"Delay": _WAIT_DELAY_S, "MaxAttempts": _WAIT_TIME_LIMIT_S},
    )


def experiment_request(now: datetime) -> "CreateInferenceExperimentRequestTypeDef":
    """Every parameter that CreateInferenceExperiment has."""
    return {
        "Name": EXPERIMENT,
        "Type": "ShadowMode",
        "Schedule": {"StartTime": now, "EndTime": now + _SPAN},
        "Description": "Does gradient boosting see late flights better?",
        "RoleArn": _ROLE,
        "EndpointName": ENDPOINT,
        "ModelVariants": [
            {
                "ModelName": model,
                "VariantName": variant,
                "InfrastructureConfig": {
                    "InfrastructureType": "RealTimeInference",
                    "RealTimeInferenceConfig": {
                        "InstanceType": _INSTANCE_TYPE,
                        "InstanceCount": instances,
                    },
                },
            }
            for model, variant, instances in (
                (PRODUCTION_MODEL, PRODUCTION, PRODUCTION_INSTANCES),
                (SHADOW_MODEL, SHADOW, 1),
            )
        ],
        "DataStorageConfig": {
            "Destination": CAPTURES,
            "KmsKey": _KEY,
            "ContentType": {
                "CsvContentTypes": ["text/csv"],
                "JsonContentTypes": ["application/json"],
            },
        },
        "ShadowModeConfig": {
            "SourceModelVariantName": PRODUCTION,
            "ShadowModelVariants": [
                {"ShadowModelVariantName": SHADOW, "SamplingPercentage": SAMPLING_PERCENTAGE}
            ],
        },
        "KmsKey": _KEY,
        "Tags": [{"Key": "project", "Value": "flights"}],
    }


def refusals_of_keys(sagemaker: "SageMakerClient") -> dict[str, str]:
    """What is said to a key that is not there: each of the two key parameters to the error's code
    and message.
    """
    refusals = {}
    for member in ("KmsKey", "DataStorageConfig.KmsKey"):
        request = experiment_request(datetime.now(UTC))
        if member == "KmsKey":
            request["KmsKey"] = _NO_KEY
        else:
            request["DataStorageConfig"]["KmsKey"] = _NO_KEY
        try:
            sagemaker.create_inference_experiment(**request)
        except ClientError as error:
            said = error.response["Error"]
            refusals[member] = f"{said['Code']}: {said['Message']}"
        else:
            raise ShadowTestFailed(
                f"The parameter {member} was taken; a key that is not there was to be refused."
            )
    return refusals


def start_experiment(sagemaker: "SageMakerClient") -> None:
    """Creates the experiment and returns when it is Running."""
    sagemaker.create_inference_experiment(**experiment_request(datetime.now(UTC)))
    wait_experiment(sagemaker, "Running")


def promote_shadow(sagemaker: "SageMakerClient") -> None:
    """Asks for the test's end, with the shadow in production's place; does not wait."""
    sagemaker.stop_inference_experiment(
        Name=EXPERIMENT,
        ModelVariantActions={SHADOW: "Promote", PRODUCTION: "Remove"},
        DesiredState="Completed",
        Reason="It sees late flights better.",
    )


def wait_experiment(sagemaker: "SageMakerClient", wanted: "InferenceExperimentStatusType") -> None:
    """Returns when the experiment has that status. Raises ShadowTestFailed when it cannot come."""
    deadline_s = time.monotonic() + _WAIT_TIME_LIMIT_S
    while True:
        experiment = sagemaker.describe_inference_experiment(Name=EXPERIMENT)
        status = experiment["Status"]
        if status == wanted:
            return
        if status in ("Completed", "Cancelled") or time.monotonic() > deadline_s:
            reason = experiment.get("StatusReason", "no reason given")
            raise ShadowTestFailed(f"The experiment is {status}, not {wanted}: {reason}.")
        time.sleep(_WAIT_DELAY_S / 4)
