"""An endpoint's own DataCaptureConfig, without any experiment."""

import pytest

from gnomon.testing.processes import EchoModels, running_gnomon

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_an_endpoint_captures_what_its_configuration_says(tmp_path):
    settings = {"GNOMON_ROUTER_DRAIN_IDLE_S": "0.2", "GNOMON_SPOOL_SEGMENT_AGE_S": "1"}
    with running_gnomon(tmp_path / "g", **settings) as gnomon:
        echo = EchoModels(gnomon, tmp_path, "capturing")
        echo.model("capturing-prod")
        echo.sagemaker.create_endpoint_config(
            EndpointConfigName="capturing-config",
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": "capturing-prod",
                    "InstanceType": "ml.m5.xlarge",
                    "InitialInstanceCount": 1,
                }
            ],
            DataCaptureConfig={
                "EnableCapture": True,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": "s3://captures/endpoint",
                "CaptureOptions": [{"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
            },
        )
        echo.sagemaker.create_endpoint(
            EndpointName="capturing", EndpointConfigName="capturing-config"
        )
        echo.sagemaker.get_waiter("endpoint_in_service").wait(
            EndpointName="capturing", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        for number in range(5):
            echo.invoke(f"{number}\n")
        captured = gnomon.wait(
            lambda: (
                (found := echo.captured("s3://captures/endpoint"))
                and len(found["AllTraffic"]) == 5
                and found["AllTraffic"]
            ),
            "five records",
        )
    data = [record["captureData"] for record in captured]
    assert sorted(d["endpointOutput"]["data"] for d in data) == [f"{n}\n" for n in range(5)]
    assert not any("endpointInput" in d for d in data)
