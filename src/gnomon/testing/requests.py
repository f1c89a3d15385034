"""Requests that most tests of control begin with."""

from __future__ import annotations

from typing import Any

from gnomon.testing.control import ControlClient

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
ROLE = "arn:aws:iam::000000000000:role/gnomon"


async def make_model(
    control: ControlClient, name: str, url: str = "s3://bucket/model.tar.gz", role: str = ROLE
) -> None:
    await control.call(
        "CreateModel",
        ModelName=name,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": url},
        ExecutionRoleArn=role,
    )


async def make_config(control: ControlClient, name: str, model: str, **members: Any) -> None:
    """A configuration with one production variant, AllTraffic."""
    count = members.pop("count", 1)
    await control.call(
        "CreateEndpointConfig",
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": model,
                "InstanceType": "ml.m5.xlarge",
                "InitialInstanceCount": count,
                "InitialVariantWeight": 1.0,
            }
        ],
        **members,
    )


async def make_endpoint(
    control: ControlClient, name: str = "ep", count: int = 1, model: str = "prod"
) -> dict[str, Any]:
    """Model, configuration and endpoint, in service."""
    await make_model(control, model)
    await make_config(control, f"{name}-config", model, count=count)
    await control.call("CreateEndpoint", EndpointName=name, EndpointConfigName=f"{name}-config")
    return await control.until_endpoint(name, "InService")


def experiment_request(name: str = "exp", **members: Any) -> dict[str, Any]:
    """CreateInferenceExperiment on `ep`: model `prod` beside model `shad`, 50 %."""
    return {
        "Name": name,
        "Type": "ShadowMode",
        "RoleArn": ROLE,
        "EndpointName": "ep",
        "ModelVariants": [
            model_variant("prod", "AllTraffic"),
            model_variant("shad", "Shadow-01"),
        ],
        "ShadowModeConfig": shadow_mode(50),
    } | members


def shadow_mode(percentage: int) -> dict[str, Any]:
    return {
        "SourceModelVariantName": "AllTraffic",
        "ShadowModelVariants": [
            {"ShadowModelVariantName": "Shadow-01", "SamplingPercentage": percentage}
        ],
    }


def model_variant(model: str, variant: str, count: int = 1) -> dict[str, Any]:
    return {
        "ModelName": model,
        "VariantName": variant,
        "InfrastructureConfig": {
            "InfrastructureType": "RealTimeInference",
            "RealTimeInferenceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": count},
        },
    }
