"""The main job on real processes, through real boto3."""

import datetime as dt
import math

import pytest
from botocore.exceptions import ClientError

from gnomon.testing.processes import Traffic

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DESTINATION = "s3://captures/here"
STORAGE = {
    "Destination": DESTINATION,
    "ContentType": {"CsvContentTypes": ["text/csv"]},
}


def invoked(report):
    return report["production"]["invocations"]


def settled(echo, invocations):
    """The report, once the routers' counts have arrived."""
    return echo.gnomon.wait(
        lambda: (found := echo.report()) and invoked(found) >= invocations and found,
        f"{invocations} invocations in the report",
    )


def test_half_of_the_traffic_is_mirrored_and_only_production_answers(echo):
    requests = 400
    echo.endpoint(MODEL_SAYS="production")
    echo.model(f"{echo.name}-shad", MODEL_SAYS="shadow")
    echo.experiment(50, DataStorageConfig=STORAGE)
    for number in range(requests):
        answer = echo.invoke(f"{number}\n")
        assert answer["Body"].read() == b"production"
        assert answer["InvokedProductionVariant"] == "AllTraffic"
    echo.stop()

    report = settled(echo, requests)
    mirror = report["mirror"]
    # Five standard deviations of binomial(n, 1/2): one false alarm in two million runs.
    assert abs(mirror["sampled"] - requests / 2) <= 5 * math.sqrt(requests) / 2
    assert mirror["candidates"] == requests
    assert mirror["mirrored"] + sum(mirror["dropped"].values()) == mirror["sampled"]
    assert report["shadow"]["invocations"] == mirror["mirrored"]
    assert report["pairs"]["pairs"] == mirror["mirrored"]
    assert report["pairs"]["different"] == mirror["mirrored"]
    assert echo.answered(f"{echo.name}-prod") == requests
    assert echo.answered(f"{echo.name}-shad") == mirror["mirrored"]


def test_every_pair_joins_the_answers_to_one_request(echo):
    requests = 200
    echo.endpoint()
    echo.model(f"{echo.name}-shad")
    echo.experiment(100, DataStorageConfig=STORAGE)
    with Traffic(lambda number: echo.invoke(f"{number}\n"), threads=8) as traffic:
        echo.gnomon.wait(lambda: traffic.sent >= requests, "traffic")
    assert traffic.failures == []
    echo.stop()

    report = settled(echo, traffic.sent)
    # Each model echoes its input: a pair of two requests' answers would differ.
    assert report["pairs"]["same"] == report["mirror"]["mirrored"] == traffic.sent
    captured = echo.captured(DESTINATION)
    inputs = {
        variant: {
            record["eventMetadata"]["eventId"]: record["captureData"]["endpointInput"]["data"]
            for record in records
        }
        for variant, records in captured.items()
    }
    assert inputs["AllTraffic"] == inputs["Shadow-01"]
    assert len(inputs["AllTraffic"]) == traffic.sent


def test_every_captured_record_is_written_once_and_readable_when_the_test_is_completed(echo):
    requests = 50
    echo.endpoint()
    echo.model(f"{echo.name}-shad")
    echo.experiment(100, DataStorageConfig=STORAGE)
    for number in range(requests):
        echo.invoke(f"{number}\n", InferenceId=f"flight-{number}")
    echo.stop()

    captured = echo.captured(DESTINATION)
    for variant in ("AllTraffic", "Shadow-01"):
        ids = sorted(record["eventMetadata"]["inferenceId"] for record in captured[variant])
        assert ids == sorted(f"flight-{number}" for number in range(requests))


def test_a_shadow_that_is_gone_costs_no_answer_and_every_dropped_copy_is_counted(echo):
    requests = 60
    echo.endpoint()
    echo.model(f"{echo.name}-shad")
    echo.experiment(100)
    status = echo.gnomon.get("/status")
    (shadow,) = (
        i for i in status["instances"] if (i["endpoint"], i["variant"]) == (echo.name, "Shadow-01")
    )
    kill_instance(echo.gnomon.data_dir, shadow["id"])
    for number in range(requests):
        assert echo.invoke(f"{number}\n")["Body"].read() == f"{number}\n".encode()
    mirror = settled(echo, requests)["mirror"]
    assert mirror["sampled"] == requests
    assert sum(mirror["dropped"].values()) > 0
    assert mirror["mirrored"] + sum(mirror["dropped"].values()) == requests


def test_the_end_of_the_schedule_ends_the_test(echo):
    echo.endpoint()
    echo.model(f"{echo.name}-shad")
    end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=8)
    echo.experiment(100, Schedule={"EndTime": end})
    echo.invoke("before\n")
    found = echo.until_experiment("Completed", patience_s=25)
    assert found["CompletionTime"] - end < dt.timedelta(seconds=10)
    echo.invoke("after\n")
    report = settled(echo, 1)
    assert (report["mirror"]["sampled"], report["production"]["invocations"]) == (1, 1)
    endpoint = echo.sagemaker.describe_endpoint(EndpointName=echo.name)
    assert endpoint["EndpointConfigName"] == f"{echo.name}-config"
    assert "ShadowProductionVariants" not in endpoint


def test_a_promotion_under_traffic_loses_no_request_and_three_counts_agree(echo):
    echo.endpoint(count=2, MODEL_SAYS="production")
    echo.model(f"{echo.name}-shad", MODEL_SAYS="shadow")
    echo.experiment(50, count=2)
    with Traffic(lambda number: echo.invoke(f"{number}\n")["Body"].read()) as traffic:
        echo.gnomon.wait(lambda: traffic.sent >= 200, "traffic before")
        echo.stop(shadow="Promote", production="Remove")
        before = traffic.sent
        echo.gnomon.wait(lambda: traffic.sent >= before + 200, "traffic after")
    assert traffic.failures == []
    assert traffic.answers[0] == b"production"
    assert traffic.answers[-1] == b"shadow"

    def counted():
        metrics = echo.gnomon.get(f"/endpoints/{echo.name}/metrics")["variants"]
        mirrored = echo.report()["mirror"]["mirrored"]
        total = sum(variant["invocations"] for variant in metrics.values())
        return total - mirrored == traffic.sent and mirrored

    mirrored = echo.gnomon.wait(counted, "the routers' count of production requests")
    answered = echo.answered(f"{echo.name}-prod") + echo.answered(f"{echo.name}-shad")
    assert answered == traffic.sent + mirrored


def test_a_models_error_is_a_model_error_with_its_message(echo):
    echo.endpoint()
    with pytest.raises(ClientError) as raised:
        echo.invoke("fail\n")
    error = raised.value.response
    assert error["Error"]["Code"] == "ModelError"
    assert error["OriginalStatusCode"] == 500
    assert "asked to fail" in error["OriginalMessage"]
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424


def test_an_endpoint_that_is_not_there_is_a_validation_error(echo):
    with pytest.raises(
        ClientError, match=f"Endpoint {echo.name} of account 000000000000 not found"
    ):
        echo.invoke("1\n")


def kill_instance(data_dir, instance_id):
    """SIGKILLs an instance by the process id in its own lock file."""
    import os
    import re
    import signal

    text = (data_dir / "instances" / instance_id / "lock").read_text()
    os.kill(int(re.search(r"\d+", text).group()), signal.SIGKILL)
