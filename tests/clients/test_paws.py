"""R's paws: a whole shadow test, in the requests that paws sends.

paws_requests.jsonl was recorded from paws.machine.learning 0.10.0 with paws.common 0.8.10 on R
4.2.2, one request a line, in the order in which a script made them. They are sent as they are; to
real processes, but for the schedule, whose days are over, and for the archive's bucket, whose name
is shorter than AWS lets a bucket's be.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
from datetime import datetime
from pathlib import Path

import pytest

from gnomon.control import api
from gnomon.model.arn import Account
from gnomon.objects.local_keys import LocalKeys
from gnomon.testing.control import FakeClock, running_control
from gnomon.testing.fake_host import FakeMachine
from gnomon.testing.processes import archive, running_gnomon
from gnomon.testing.raw_http import RawClient

RECORDED = [
    json.loads(line)
    for line in Path(__file__).with_name("paws_requests.jsonl").read_text().splitlines()
]
ACCOUNT = "123456789012"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/x:1"
# The one request without a target.
INVOCATION = ""
HANDLER = """
def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    return body, content_type
"""
UNDER_WAY = {"Creating", "Updating", "Starting", "Stopping"}
PATIENCE_S = 60.0
LOOK_S = 0.02


def target_of(request):
    return request["headers"].get("X-Amz-Target", "").removeprefix("SageMaker.")


class Replay:
    """Sends what was recorded by `send`, which answers with a status and a JSON document."""

    def __init__(self, send):
        self._send = send
        self._left = list(RECORDED)

    async def next(self, target, change=lambda body: body):
        """What the next request, which is to `target`, is answered with. A Describe is repeated
        until nothing that it shows is under way, and the recorded repetitions are left out.
        """
        request = self._left.pop(0)
        assert target_of(request) == target
        while target.startswith("Describe") and self._left and target_of(self._left[0]) == target:
            assert self._left.pop(0)["body"] == request["body"]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status, found = await self._send({**request, "body": change(request["body"])})
            assert status == 200, found
            if not target.startswith("Describe"):
                return found
            if not {found.get("Status"), found.get("EndpointStatus")} & UNDER_WAY:
                return found
            assert time.monotonic() < deadline, found
            await asyncio.sleep(LOOK_S)

    async def refused(self, target, *, is_sent_again=False):
        """The error's code and its text, which has one name: by two, R fails on it."""
        request = self._left[0]
        if not is_sent_again:
            self._left.pop(0)
        assert target_of(request) == target
        status, found = await self._send(request)
        assert status == 400, found
        (text,) = {"message", "Message"} & set(found)
        return found["__type"], found[text]

    def is_over(self):
        return not self._left


def unchanged(body):
    return body


async def whole_test(replay, keys, change=unchanged):
    """`change` makes the recorded CreateInferenceExperiment one that is taken; its keys are made in
    `keys` when it has been refused for want of them.
    """
    arn = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}"
    for model in ("prod", "shad"):
        found = await replay.next("CreateModel")
        assert found == {"ModelArn": f"{arn}:model/{model}-r222638995"}
    await replay.next("CreateEndpointConfig")
    await replay.next("CreateEndpoint")
    found = await replay.next("DescribeEndpoint")
    assert found["EndpointStatus"] == "InService", found["FailureReason"]

    code, text = await replay.refused("CreateInferenceExperiment", is_sent_again=True)
    assert code == "ValidationException"
    assert text == "KmsKey: The KMS key alias/volume cannot be used: it does not exist."
    for alias in ("alias/volume", "alias/capture"):
        await asyncio.to_thread(keys.create, time.time(), "", alias)
    created = await replay.next("CreateInferenceExperiment", change)
    assert created == {"InferenceExperimentArn": f"{arn}:inference-experiment/exp-r222638995"}
    found = await replay.next("DescribeInferenceExperiment")
    assert (found["Status"], found["Description"]) == ("Created", "made by R's paws")
    (listed,) = (await replay.next("ListInferenceExperiments"))["InferenceExperiments"]
    assert listed["Name"] == "exp-r222638995"
    tags = (await replay.next("ListTags"))["Tags"]
    assert tags == [{"Key": "from", "Value": "R"}, {"Key": "empty", "Value": ""}]

    assert (await replay.refused("CreateInferenceExperiment"))[0] == "ResourceInUse"
    await replay.next("UpdateInferenceExperiment")
    found = await replay.next("DescribeInferenceExperiment")
    assert (found["Status"], found["Description"]) == ("Created", "changed")
    (shadow,) = found["ShadowModeConfig"]["ShadowModelVariants"]
    assert shadow["SamplingPercentage"] == 100
    await replay.next("StartInferenceExperiment")
    assert (await replay.next("DescribeInferenceExperiment"))["Status"] == "Running"
    assert await replay.next(INVOCATION) == [[1, 2, 3, 4]]

    assert (await replay.refused("DeleteInferenceExperiment"))[0] == "ConflictException"
    await replay.next("StopInferenceExperiment")
    found = await replay.next("DescribeInferenceExperiment")
    assert (found["Status"], found["StatusReason"]) == ("Completed", "good")
    await replay.next("DeleteInferenceExperiment")
    assert (await replay.refused("DescribeInferenceExperiment"))[0] == "ResourceNotFound"
    (variant,) = (await replay.next("DescribeEndpoint"))["ProductionVariants"]
    assert variant["VariantName"] == "Shadow-01"
    for target in ("DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel", "DeleteModel"):
        await replay.next(target)
    assert replay.is_over()


@pytest.fixture
def machine():
    machine = FakeMachine(listens=True)
    yield machine
    for instance in machine.instances.values():
        if instance.server is not None:
            instance.server.close()


async def test_with_controls_clock_at_their_date(tmp_path, machine):
    clock = FakeClock()
    first = datetime.strptime(RECORDED[0]["headers"]["X-Amz-Date"] + "+0000", "%Y%m%dT%H%M%SZ%z")
    clock.shift_s = first.timestamp() - clock.now_s()

    async def send(request):
        if not target_of(request):
            # Routers', of which there is none here.
            return 200, json.loads(request["body"])
        headers = {name.lower(): value for name, value in request["headers"].items()}
        answer = await control.api.handle(
            "POST", request["path"], headers, request["body"].encode()
        )
        return answer.status, json.loads(answer.body or b"{}")

    account = Account("us-east-1", ACCOUNT)
    runs = {IMAGE: sys.executable}
    async with running_control(
        tmp_path, machine, clock, account=account, interpreters=runs
    ) as control:
        await whole_test(Replay(send), LocalKeys(tmp_path / "keys.json", account))


def a_day_from_now(body):
    """With the schedule's two days beginning tomorrow."""
    document = json.loads(body)
    begins = int(time.time()) + 86_400
    document["Schedule"] = {"StartTime": begins, "EndTime": begins + 2 * 86_400}
    return json.dumps(document)


@pytest.mark.e2e
@pytest.mark.slow
async def test_by_http_with_image_and_archive_mapped_to_what_is_here(tmp_path):
    (tmp_path / "gnomon.toml").write_text(
        f'[hosting.interpreters]\n"{IMAGE}" = "{sys.executable}"\n'
    )
    bucket = tmp_path / "objects" / "bucket"
    bucket.mkdir(parents=True)
    archive(bucket / "m.tar.gz", {"code/inference.py": HANDLER})
    with running_gnomon(tmp_path, GNOMON_AWS_ACCOUNT_ID=ACCOUNT) as gnomon:
        port = urllib.parse.urlsplit(gnomon.url).port

        async def send(request):
            body = request["body"].replace("s3://b/", "s3://bucket/")
            head = request["headers"] | {"Content-Length": len(body.encode())}
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            begin = f"{request['method']} {request['path']} HTTP/1.1\r\n"
            async with RawClient(port) as client:
                answer = await client.ask(f"{begin}{lines}\r\n{body}".encode())
            return answer.status, json.loads(answer.body or b"{}")

        keys = LocalKeys(tmp_path / "keys.json", Account("us-east-1", ACCOUNT))
        await whole_test(Replay(send), keys, a_day_from_now)


EXAMPLE = Path(__file__).parents[2] / "examples" / "first_shadow_test.R"


@pytest.fixture(scope="module")
def rscript():
    """Runs an expression, or a file, and says what it printed."""
    program = shutil.which("Rscript")
    if program is None:
        pytest.skip("R is not installed (on Debian and Ubuntu: apt install r-base-core)")

    def rscript(*arguments, environ=None):
        return subprocess.run(
            [program, "--no-init-file", *arguments],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )

    return rscript


def test_the_example_is_r(rscript):
    done = rscript("-e", f'invisible(parse("{EXAMPLE}"))')
    assert done.returncode == 0, done.stderr


def test_the_example_calls_nothing_without_the_environment_of_gnomon_env(rscript):
    done = rscript(str(EXAMPLE), environ={"PATH": os.environ["PATH"]})
    assert done.returncode != 0
    assert "gnomon env" in done.stderr


def test_the_example_gives_every_parameter_but_the_keys():
    operation = api.load().operation("CreateInferenceExperiment")
    (call,) = re.findall(
        r"^created <- sagemaker\$create_inference_experiment\(\n(.*?)^\)$",
        EXAMPLE.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    given = set(re.findall(r"^  (\w+) = ", call, re.MULTILINE))
    assert given == set(operation.input_shape.members) - {"KmsKey"}


@pytest.mark.e2e
@pytest.mark.slow
def test_the_example_works(rscript, request):
    found = rscript("-e", 'cat(.libPaths(), sep = ":"); library(paws.machine.learning)')
    if found.returncode != 0:
        pytest.skip("R has no paws.machine.learning here: the example is only parsed")
    environ = request.getfixturevalue("environ") | {"R_LIBS": found.stdout}
    done = rscript(str(EXAMPLE), environ=environ)
    assert done.returncode == 0, done.stdout + done.stderr
