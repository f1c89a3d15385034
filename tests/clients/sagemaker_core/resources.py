"""A shadow test through sagemaker-core's resources, in an environment that has sagemaker-core.

    python resources.py NAME

The models NAME-prod and NAME-shad are there. An answer that sagemaker-core cannot read, or that is
not as expected, ends this with an error.
"""

import datetime as dt
import sys

import boto3
from botocore.exceptions import ClientError
from sagemaker.core.resources import Endpoint, EndpointConfig, InferenceExperiment
from sagemaker.core.shapes import (
    InferenceExperimentDataStorageConfig,
    InferenceExperimentSchedule,
    ModelInfrastructureConfig,
    ModelVariantConfig,
    ProductionVariant,
    RealTimeInferenceConfig,
    ShadowModeConfig,
    ShadowModelVariantConfig,
    Tag,
)

ROLE = "arn:aws:iam::000000000000:role/gnomon"
TYPE = "ml.m5.xlarge"
# How often to look, and for how long (s).
PATIENCE = {"poll": 1, "timeout": 60}


def make_config(name, model, count):
    return EndpointConfig.create(
        endpoint_config_name=name,
        production_variants=[
            ProductionVariant(
                variant_name="AllTraffic",
                model_name=model,
                instance_type=TYPE,
                initial_instance_count=count,
                initial_variant_weight=1.0,
            )
        ],
    )


def sampling(percentage):
    shadow = ShadowModelVariantConfig(
        shadow_model_variant_name="Shadow-01", sampling_percentage=percentage
    )
    return ShadowModeConfig(source_model_variant_name="AllTraffic", shadow_model_variants=[shadow])


def variant(model, name):
    size = RealTimeInferenceConfig(instance_type=TYPE, instance_count=1)
    return ModelVariantConfig(
        model_name=model,
        variant_name=name,
        infrastructure_config=ModelInfrastructureConfig(
            infrastructure_type="RealTimeInference", real_time_inference_config=size
        ),
    )


def refused(call):
    """The code of the error that `call` is answered with."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError(f"{call} was not refused")


def serve(name):
    """An endpoint that was created, read, updated and answers."""
    make_config(f"{name}-one", f"{name}-prod", 1)
    make_config(f"{name}-two", f"{name}-prod", 2)
    endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=f"{name}-one")
    endpoint.wait_for_status("InService", **PATIENCE)
    assert Endpoint.get(endpoint_name=name).production_variants[0].current_instance_count == 1
    assert name in [found.endpoint_name for found in Endpoint.get_all(name_contains=name)]

    endpoint.endpoint_config_name = f"{name}-two"
    endpoint.update()
    endpoint.wait_for_status("InService", **PATIENCE)
    assert endpoint.refresh().production_variants[0].current_instance_count == 2
    answer = endpoint.invoke(body=b"hello", content_type="text/csv")
    assert (answer.body.read(), answer.invoked_production_variant) == (b"hello", "AllTraffic")
    return endpoint


def shadow_test(name):
    """An experiment that was created, read, updated, started and stopped."""
    now = dt.datetime.now(dt.UTC)
    experiment = InferenceExperiment.create(
        name=name,
        type="ShadowMode",
        role_arn=ROLE,
        endpoint_name=name,
        model_variants=[
            variant(f"{name}-prod", "AllTraffic"),
            variant(f"{name}-shad", "Shadow-01"),
        ],
        shadow_mode_config=sampling(50),
        schedule=InferenceExperimentSchedule(
            start_time=now + dt.timedelta(hours=1), end_time=now + dt.timedelta(hours=2)
        ),
        description="by sagemaker-core",
        data_storage_config=InferenceExperimentDataStorageConfig(destination="s3://captures/core"),
        tags=[Tag(key="by", value="sagemaker-core")],
    )
    experiment.wait_for_status("Created", **PATIENCE)
    experiment.update(description="changed", shadow_mode_config=sampling(100))
    experiment.wait_for_status("Created", **PATIENCE)
    found = InferenceExperiment.get(name=name)
    assert found.description == "changed"
    assert found.shadow_mode_config.shadow_model_variants[0].sampling_percentage == 100
    assert found.data_storage_config.destination == "s3://captures/core"
    (summary,) = InferenceExperiment.get_all(name_contains=name)
    assert summary.name == name

    experiment.start()
    experiment.wait_for_status("Running", **PATIENCE)
    assert refused(experiment.delete) == "ConflictException"
    # sagemaker-core's own stop() reads members of itself that it does not have.
    boto3.client("sagemaker").stop_inference_experiment(
        Name=name,
        ModelVariantActions={"AllTraffic": "Retain", "Shadow-01": "Remove"},
        DesiredState="Completed",
    )
    experiment.wait_for_status("Completed", **PATIENCE)
    experiment.delete()
    assert refused(experiment.refresh) == "ResourceNotFound"


def main(name):
    endpoint = serve(name)
    shadow_test(name)
    endpoint.delete()
    endpoint.wait_for_delete(**PATIENCE)
    for config in ("one", "two"):
        EndpointConfig.get(endpoint_config_name=f"{name}-{config}").delete()
    assert refused(endpoint.refresh) == "ValidationException"


if __name__ == "__main__":
    main(sys.argv[1])
