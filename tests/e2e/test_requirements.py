"""A model that brings its own libraries, served beside Gnomon's."""

import importlib.metadata
import json

import pytest

from gnomon.testing.processes import IMAGE, ROLE, archive

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# Runs on every Python that Gnomon does, and is not what constraints.txt gives Gnomon's own.
OTHER_NUMPY = "2.3.5"

HANDLER = """
import numpy


def model_fn(model_dir):
    return numpy.ones(3)


def input_fn(body, content_type):
    return body


def predict_fn(data, model):
    return [numpy.__version__, float((model * 2).sum())]
"""


def endpoint(gnomon, name, packed):
    """An endpoint of one instance, as it is when it is no longer Creating."""
    sagemaker = gnomon.client("sagemaker")
    sagemaker.create_model(
        ModelName=name,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"file://{packed}"},
        ExecutionRoleArn=ROLE,
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "production",
                "ModelName": name,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def came_about():
        found = sagemaker.describe_endpoint(EndpointName=name)
        return found if found["EndpointStatus"] != "Creating" else None

    return gnomon.wait(came_about, f"endpoint {name}", patience_s=100.0)


def answer_of(gnomon, name):
    answer = gnomon.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name, Body=b"{}", ContentType="application/json", Accept="application/json"
    )
    return json.loads(answer["Body"].read())


def test_a_model_with_another_numpy_is_served_beside_one_with_gnomons(gnomon, tmp_path):
    ours = importlib.metadata.version("numpy")
    assert ours != OTHER_NUMPY
    code = {"code/inference.py": HANDLER}
    plain = archive(tmp_path / "plain.tar.gz", code)
    requirements = {"code/requirements.txt": f"numpy=={OTHER_NUMPY}\n"}
    needy = archive(tmp_path / "needy.tar.gz", code | requirements)

    assert endpoint(gnomon, "numpy-of-gnomon", plain)["EndpointStatus"] == "InService"
    found = endpoint(gnomon, "numpy-of-its-own", needy)
    assert found["EndpointStatus"] == "InService", found["FailureReason"]

    assert answer_of(gnomon, "numpy-of-gnomon") == [ours, 6.0]
    assert answer_of(gnomon, "numpy-of-its-own") == [OTHER_NUMPY, 6.0]
