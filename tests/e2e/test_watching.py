"""What people see of a Gnomon at work: its logs and its events."""

import json
import os
import signal
import subprocess
import sys

import pytest

from gnomon.testing.processes import IMAGE, ROLE, archive

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

_TALKER = """
import os


def model_fn(model_dir):
    return None


def transform_fn(model, body, content_type, accept):
    if body.startswith("fail"):
        raise ValueError("asked to fail")
    print("was asked", body, flush=True)
    return body, "text/csv"
"""


def command(gnomon, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "gnomon.app.main", *arguments, "--data-dir", str(gnomon.data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def talking_endpoint(echo, handler=_TALKER):
    packed = archive(echo.directory / "talker.tar.gz", {"code/inference.py": handler})
    echo.sagemaker.create_model(
        ModelName=f"{echo.name}-prod",
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"file://{packed}"},
        ExecutionRoleArn=ROLE,
    )
    echo.sagemaker.create_endpoint_config(
        EndpointConfigName=echo.name,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": f"{echo.name}-prod",
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
    )
    echo.sagemaker.create_endpoint(EndpointName=echo.name, EndpointConfigName=echo.name)


class Follower:
    """`gnomon logs -f` with what it has printed so far."""

    def __init__(self, echo):
        self.echo = echo
        self.path = echo.directory / "followed"
        with self.path.open("wb") as file:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gnomon.app.main", "logs", echo.name, "-f"),
                    *("--data-dir", str(echo.gnomon.data_dir)),
                ],
                stdout=file,
                stderr=subprocess.PIPE,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def until(self, text):
        self.echo.gnomon.wait(lambda: text in self.path.read_text(), text)
        return next(line for line in self.path.read_text().splitlines() if text in line)


def test_logs_are_followed_over_a_restart_of_the_instance_until_ctrl_c(echo):
    talking_endpoint(echo)
    echo.sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=echo.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    with Follower(echo) as follower:
        first = echo.invoke("one")["ResponseMetadata"]["HTTPHeaders"]["x-gnomon-instance"]
        assert follower.until("was asked one") == f"AllTraffic {first} | was asked one"
        lock = echo.gnomon.data_dir / "instances" / first / "lock"
        os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)
        assert follower.until("-- Failed").startswith(f"AllTraffic {first} | ")
        follower.until("-- InService")
        second = echo.invoke("two")["ResponseMetadata"]["HTTPHeaders"]["x-gnomon-instance"]
        assert second != first
        assert follower.until("was asked two") == f"AllTraffic {second} | was asked two"
        with pytest.raises(echo.runtime.exceptions.ModelError) as refused:
            echo.invoke("fail")
        request_id = refused.value.response["ResponseMetadata"]["RequestId"]
        follower.until(f"instance={second} request_id={request_id}: a request failed")
        follower.process.send_signal(signal.SIGINT)
        _, errors = follower.process.communicate(timeout=20)
        assert (follower.process.returncode, errors) == (0, b"")

    shown = command(echo.gnomon, "logs", echo.name, "AllTraffic")
    assert "was asked one" in shown.stdout
    assert "was asked two" in shown.stdout
    none = command(echo.gnomon, "logs", echo.name, "Other")
    assert none.returncode == 1
    assert "no instance of a variant Other" in none.stderr
    # Control's own log has the same ids.
    assert any(
        json.loads(line).get("instance") == second
        for line in echo.gnomon.log.read_text().splitlines()
        if line.startswith("{")
    )


def test_a_failed_endpoint_shows_why_in_its_logs_and_its_events(echo):
    talking_endpoint(echo, "raise RuntimeError('no such weights')\n")

    def failed():
        found = echo.sagemaker.describe_endpoint(EndpointName=echo.name)
        return found["EndpointStatus"] == "Failed"

    echo.gnomon.wait(failed, "Failed")
    shown = command(echo.gnomon, "logs", echo.name)
    assert "RuntimeError: no such weights" in shown.stdout
    assert "| -- Failed: " in shown.stdout.splitlines()[-1]

    events = command(echo.gnomon, "events", echo.name)
    assert events.stdout.splitlines()[-1].split("(")[0].split()[1:] == [
        *("endpoint", echo.name, "Creating", "to", "Failed")
    ]
    (last,) = json.loads(
        command(echo.gnomon, "events", echo.name, "--limit", "1", "--format", "json").stdout
    )
    assert (last["name"], last["after"]) == (echo.name, "Failed")


def test_a_reader_that_leaves_ends_the_following_quietly(echo):
    talking_endpoint(echo)
    echo.sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=echo.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    program = f"{sys.executable} -m gnomon.app.main logs {echo.name} -f"
    done = subprocess.run(
        ["sh", "-c", f"{{ {program} --data-dir {echo.gnomon.data_dir}; echo $? >&2; }} | head -1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "the model was loaded" in done.stdout
    assert done.stderr == "0\n"


def test_doctor_knows_the_gnomon_that_runs(gnomon):
    found = command(gnomon, "doctor")
    assert f"{gnomon.url.removeprefix('http://')} is this Gnomon's." in found.stdout
    assert "It runs, and answered in" in found.stdout
    assert found.returncode == 0, found.stdout
