"""Two tests whose records share a spool, one of which has a destination that went away."""

import pytest

from gnomon.testing.processes import EchoModels

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CSV = {"CsvContentTypes": ["text/csv"]}
REQUESTS = 5


def begin(echo, destination):
    echo.endpoint()
    echo.model(f"{echo.name}-shad")
    storage = {"Destination": destination, "ContentType": CSV}
    echo.experiment(100, DataStorageConfig=storage)


def invoke(*echoes):
    for number in range(REQUESTS):
        for echo in echoes:
            echo.invoke(f"{number}\n")


def stop(echo):
    echo.sagemaker.stop_inference_experiment(
        Name=echo.name,
        ModelVariantActions={"AllTraffic": "Retain", "Shadow-01": "Remove"},
        DesiredState="Completed",
    )


def test_a_test_is_completed_though_anothers_destination_is_away(gnomon, echo, tmp_path):
    (tmp_path / "ill").mkdir()
    well, ill = echo, EchoModels(gnomon, tmp_path / "ill", f"{echo.name}-ill")
    well_at, ill_at = f"s3://{well.name}/captured", f"s3://{ill.name}/captured"
    begin(well, well_at)
    begin(ill, ill_at)
    bucket = gnomon.data_dir / "objects" / ill.name
    away = bucket.rename(bucket.with_name(f"{ill.name}-away"))
    bucket.write_text("A file is no bucket.")
    invoke(well, ill)
    stop(ill)
    stop(well)
    ended = well.until_experiment("Completed")
    assert not ended.get("StatusReason")
    records = well.captured(well_at)
    assert {name: len(found) for name, found in records.items()} == {
        "AllTraffic": REQUESTS,
        "Shadow-01": REQUESTS,
    }
    assert ill.until_experiment("Stopping")
    bucket.unlink()
    away.rename(bucket)
    assert not ill.until_experiment("Completed").get("StatusReason")
    assert [len(found) for found in ill.captured(ill_at).values()] == [REQUESTS, REQUESTS]
