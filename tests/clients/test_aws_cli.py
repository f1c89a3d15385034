"""The AWS CLI on a real Gnomon, with every global option that the installed versions have.

Version 1 comes with the extra `cli`. Version 2 is tried where it is installed (on Debian and
Ubuntu: apt install awscli), else its tests are skipped. TLS's two options are tried where TLS is.
"""

import contextlib
import datetime as dt
import json
import re
import socket
import time
from functools import partial

import pytest

from gnomon.testing.aws_cli import Cli, version_1, version_2
from gnomon.testing.processes import IMAGE, ROLE, EchoModels

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# Tried where there is TLS to be told of: tests/e2e/test_tls.py.
OF_TLS = {"ca-bundle", "no-verify-ssl"}
# More than a page of List's has by default.
MODELS = [f"cli-{number:02d}" for number in range(12)]
LIST = ("sagemaker", "list-models", "--name-contains", "cli-", "--sort-by", "Name")
LIST = (*LIST, "--sort-order", "Ascending")
CREATE = ("sagemaker", "create-inference-experiment")


@pytest.fixture(scope="module")
def echo(gnomon, tmp_path_factory):
    """An endpoint that echoes, and twelve models."""
    echo = EchoModels(gnomon, tmp_path_factory.mktemp("echo"), "said")
    echo.endpoint()
    for name in MODELS:
        echo.sagemaker.create_model(
            ModelName=name, PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE
        )
    return echo


@pytest.fixture(scope="module", params=[version_1, version_2], ids=["v1", "v2"])
def program(request):
    program = request.param()
    if program is None:
        pytest.skip("the AWS CLI 2 is not installed (on Debian and Ubuntu: apt install awscli)")
    return program


@pytest.fixture(scope="module")
def aws(program, environ, gnomon, echo):
    bare = {name: value for name, value in environ.items() if "ENDPOINT_URL" not in name}
    return Cli(program, bare, gnomon.url)


def shown(output):
    """Without what colours it."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)


def debug(aws, _):
    said = aws(*LIST, "--debug")
    assert json.loads(said.out)["Models"]
    assert "x-amzn-requestid" in said.err.lower()
    assert "OperationModel(name=ListModels)" in said.err


def endpoint_url(aws, _):
    elsewhere = Cli(aws.program, aws.environ, "http://127.0.0.1:1")
    said = elsewhere(*LIST)
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:1/"' in said.err


def no_paginate(aws, _):
    everything = aws.json(*LIST)
    page = aws.json(*LIST, "--no-paginate")
    assert [model["ModelName"] for model in everything["Models"]] == MODELS
    assert len(page["Models"]) == 10
    assert page["NextToken"]


def output(aws, _):
    asked = (*LIST, "--no-paginate", "--query", "Models[:2].[ModelName]", "--output")
    assert json.loads(aws(*asked, "json").out) == [["cli-00"], ["cli-01"]]
    assert aws(*asked, "text").out.split() == ["cli-00", "cli-01"]
    table = aws(*asked, "table").out
    assert table.startswith("---")
    assert "|  cli-00" in table


def query(aws, _):
    said = aws(*LIST, "--query", "Models[?ends_with(ModelName, `07`)].ModelName | [0]")
    assert json.loads(said.out) == "cli-07"


def profile(aws, tmp_path):
    """Its own credentials, region and form of output."""
    config = tmp_path / "config"
    config.write_text(
        "[profile there]\nregion = eu-west-3\noutput = text\n"
        "aws_access_key_id = there\naws_secret_access_key = there\n"
    )
    bare = {name: value for name, value in aws.environ.items() if not name.startswith("AWS_")}
    there = Cli(aws.program, {**bare, "AWS_CONFIG_FILE": str(config)}, aws.url)
    said = there(*created("profiled"), "--profile", "there")
    assert said.out == "arn:aws:sagemaker:eu-west-3:000000000000:model/profiled\n"
    there("sagemaker", "delete-model", "--model-name", "profiled", "--profile", "there")


def region(aws, _):
    arn = aws.json(*created("regional"), "--region", "ap-south-1")
    assert arn == "arn:aws:sagemaker:ap-south-1:000000000000:model/regional"
    aws("sagemaker", "delete-model", "--model-name", "regional")


def created(name):
    return (
        *("sagemaker", "create-model", "--model-name", name, "--execution-role-arn", ROLE),
        *("--primary-container", f"Image={IMAGE}", "--query", "ModelArn"),
    )


def version(aws, _):
    assert aws("--version").out.startswith("aws-cli/")


def color(aws, _):
    asked = (*LIST, "--output", "table", "--color")
    coloured, plain = aws(*asked, "on").out, aws(*asked, "off").out
    assert "\x1b[" in coloured
    assert shown(coloured) == plain


def no_sign_request(aws, _):
    bare = {name: value for name, value in aws.environ.items() if "_KEY" not in name}
    unsigned = Cli(aws.program, bare, aws.url)
    assert "Unable to locate credentials" in unsigned(*LIST).err
    assert unsigned.json(*LIST, "--no-sign-request")["Models"]


def cli_read_timeout(aws, _):
    assert aws.json(*LIST, "--cli-read-timeout", "30")["Models"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = Cli(aws.program, aws.environ, f"http://127.0.0.1:{silent.getsockname()[1]}")
        said = slow(*LIST, "--cli-read-timeout", "1")
    assert "Read timeout on endpoint URL" in said.err


def cli_connect_timeout(aws, _):
    assert aws.json(*LIST, "--cli-connect-timeout", "30")["Models"]
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        contextlib.ExitStack() as others,
    ):
        # What waits to be accepted is one connection; whoever comes after it is not answered.
        others.enter_context(socket.create_connection(full.getsockname()))
        slow = Cli(aws.program, aws.environ, f"http://127.0.0.1:{full.getsockname()[1]}")
        said = slow(*LIST, "--cli-connect-timeout", "1")
    assert "Connect timeout on endpoint URL" in said.err


def v2_debug(aws, _):
    """Says what version 2 would do otherwise."""
    assert aws(*LIST, "--v2-debug").status == 0


def cli_binary_format(aws, tmp_path):
    answer = tmp_path / "answer"
    asked = (
        *("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "said"),
        *("--content-type", "text/csv", str(answer), "--body"),
    )
    for body, form in (("aGVsbG8=", "base64"), ("hello", "raw-in-base64-out")):
        said = aws.json(*asked, body, "--cli-binary-format", form)
        assert said["InvokedProductionVariant"] == "AllTraffic"
        assert answer.read_text() == "hello"


PAGER = {"AWS_PAGER": "sed s/^/paged:/"}


def no_cli_pager(aws, _):
    assert "paged:" in aws.at_a_terminal(*LIST, **PAGER)
    assert "paged:" not in aws.at_a_terminal(*LIST, "--no-cli-pager", **PAGER)


def cli_auto_prompt(aws, _):
    asked = (*LIST, "--no-cli-pager", "--cli-auto-prompt")
    said = aws.at_a_terminal(*asked, prompt="list-models", typed="\r")
    assert "cli-11" in said


def no_cli_auto_prompt(aws, _):
    said = aws.at_a_terminal(
        *LIST, "--no-cli-pager", "--no-cli-auto-prompt", AWS_CLI_AUTO_PROMPT="on"
    )
    assert [model["ModelName"] for model in json.loads(shown(said))["Models"]] == MODELS


# By the option; of both versions, of the first alone, of the second alone.
TRIED = {
    trial.__name__.replace("_", "-"): trial
    for trial in (
        *(debug, endpoint_url, no_paginate, output, query, profile, region, version, color),
        *(no_sign_request, cli_read_timeout, cli_connect_timeout),
        *(v2_debug,),
        *(cli_binary_format, no_cli_pager, cli_auto_prompt, no_cli_auto_prompt),
    )
}


@pytest.fixture(scope="module")
def options(aws):
    return aws.global_options()


def test_every_global_option_is_tried(options):
    assert options - OF_TLS <= set(TRIED)


@pytest.mark.parametrize("option", TRIED)
def test_the_option_does_what_it_says(option, aws, options, tmp_path):
    if option not in options:
        pytest.skip(f"{aws('--version').out.split()[0]} has no --{option}")
    TRIED[option](aws, tmp_path)


def test_version_2_writes_yaml(aws, options):
    if "no-cli-pager" not in options:
        pytest.skip("version 1 writes no YAML")
    asked = (*LIST, "--query", "Models[:2].ModelName", "--output")
    assert aws(*asked, "yaml").out == "- cli-00\n- cli-01\n"
    stream = aws(*LIST, "--output", "yaml-stream").out
    # An item of the stream is a page, as it came.
    assert stream.count("- Models:") == 2


def test_the_clis_waiters_see_what_is_there_and_what_is_not(aws):
    wait = ("sagemaker", "wait")
    there, gone = ("--endpoint-name", "said"), ("--endpoint-name", "nobody")
    assert aws(*wait, "endpoint-in-service", *there).status == 0
    assert aws(*wait, "endpoint-deleted", *gone).status == 0
    given_up = aws(*wait, "endpoint-in-service", *gone)
    assert given_up.status == 255
    assert "Matched expected service error code: ValidationException" in given_up.err


def test_items_are_listed_in_portions(aws):
    first = aws.json(*LIST, "--page-size", "5", "--max-items", "7")
    rest = aws.json(*LIST, "--page-size", "5", "--starting-token", first["NextToken"])
    assert [model["ModelName"] for model in first["Models"] + rest["Models"]] == MODELS
    assert len(first["Models"]) == 7


def shadow_test():
    """Every member of CreateInferenceExperiment but the two keys."""
    size = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1}
    return {
        "Name": "whole",
        "Type": "ShadowMode",
        "Schedule": {"StartTime": int(time.time()) + 3600, "EndTime": int(time.time()) + 7200},
        "Description": "a test",
        "RoleArn": ROLE,
        "EndpointName": "said",
        "ModelVariants": [
            {
                "ModelName": model,
                "VariantName": variant,
                "InfrastructureConfig": {
                    "InfrastructureType": "RealTimeInference",
                    "RealTimeInferenceConfig": size,
                },
            }
            for variant, model in (("AllTraffic", "said-prod"), ("Shadow-01", "cli-00"))
        ],
        "DataStorageConfig": {
            "Destination": "s3://captures/cli",
            "ContentType": {
                "CsvContentTypes": ["text/csv"],
                "JsonContentTypes": ["application/json"],
            },
        },
        "ShadowModeConfig": {
            "SourceModelVariantName": "AllTraffic",
            "ShadowModelVariants": [
                {"ShadowModelVariantName": "Shadow-01", "SamplingPercentage": 25}
            ],
        },
        "Tags": [{"Key": "form", "Value": "whole"}],
    }


def members(value):
    """The names of an object's members at all depths, but for those of keys."""
    if isinstance(value, list):
        return set().union(*map(members, value))
    if not isinstance(value, dict):
        return set()
    named = {name: member for name, member in value.items() if name != "KmsKey"}
    return set(named).union(*map(members, named.values()))


def by_options(wanted):
    for name, value in wanted.items():
        yield "--" + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
        yield value if isinstance(value, str) else json.dumps(value)


def shorthand(value):
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}={shorthand(item)}" for name, item in value.items()) + "}"
    return "[" + ",".join(map(shorthand, value)) + "]" if isinstance(value, list) else str(value)


def by_shorthand(wanted):
    """The outermost brackets are left out: a list's items are arguments of their own."""
    for name, value in zip(list(by_options(wanted))[::2], wanted.values(), strict=True):
        yield name
        for item in value if isinstance(value, list) else [value]:
            yield shorthand(item)[1:-1] if isinstance(item, dict) else item


def by_input(wanted):
    return ("--cli-input-json", json.dumps(wanted))


def by_yaml(wanted):
    # JSON is YAML.
    return ("--cli-input-yaml", json.dumps(wanted))


@pytest.mark.parametrize("form", [by_options, by_shorthand, by_input, by_yaml])
def test_a_test_is_made_with_every_option_of_the_manual(form, aws, options, echo):
    if form is by_yaml and "no-cli-pager" not in options:
        pytest.skip("version 1 reads no YAML")
    skeleton = json.loads(aws(*CREATE, "--generate-cli-skeleton").out)
    wanted = shadow_test()
    assert members(wanted) == members(skeleton)
    assert set(wanted) == set(skeleton) - {"KmsKey"}

    arn = aws.json(*CREATE, *form(wanted))["InferenceExperimentArn"]
    described = ("sagemaker", "describe-inference-experiment", "--name", wanted["Name"])
    status = partial(echo.sagemaker.describe_inference_experiment, Name=wanted["Name"])
    echo.gnomon.wait(lambda: status()["Status"] == "Created", "status Created")
    found = aws.json(*described)
    for name in ("Type", "Description", "RoleArn", "DataStorageConfig", "ShadowModeConfig"):
        assert found[name] == wanted[name]
    variants = [{k: v[k] for k in v if k != "Status"} for v in found["ModelVariants"]]
    assert variants == wanted["ModelVariants"]
    # Times are written in each version's own way.
    times = {name: int(time.timestamp()) for name, time in status()["Schedule"].items()}
    assert times == wanted["Schedule"]
    assert found["EndpointMetadata"]["EndpointName"] == wanted["EndpointName"]
    assert aws.json("sagemaker", "list-tags", "--resource-arn", arn)["Tags"] == wanted["Tags"]
    aws.json("sagemaker", "delete-inference-experiment", "--name", wanted["Name"])


def test_statistics_of_a_metric_are_those_of_cloudwatch(aws, echo):
    for body in ("a", "b", "c"):
        echo.invoke(body)
    now = dt.datetime.now(dt.UTC)
    asked = (
        *("cloudwatch", "get-metric-statistics", "--namespace", "AWS/SageMaker"),
        *("--metric-name", "Invocations", "--period", "3600"),
        *(
            "--dimensions",
            f"Name=EndpointName,Value={echo.name}",
            "Name=VariantName,Value=AllTraffic",
        ),
        *("--start-time", (now - dt.timedelta(hours=1)).isoformat()),
        *("--end-time", (now + dt.timedelta(hours=1)).isoformat()),
        *("--statistics", "Sum", "Average"),
    )

    def counted():
        found = aws.json(*asked)
        assert found["Label"] == "Invocations"
        return sum(point["Sum"] for point in found["Datapoints"]) >= 3 and found["Datapoints"]

    for point in echo.gnomon.wait(counted, "the invocations"):
        assert (point["Average"], point["Unit"]) == (1.0, "None")
