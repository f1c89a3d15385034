"""Both first shadow tests work as they stand, and give every parameter."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import botocore.session
import pytest

from gnomon.testing.processes import running_gnomon

EXAMPLES = Path(__file__).parents[2] / "examples"
PYTHON = EXAMPLES / "first_shadow_test.py"
SHELL = EXAMPLES / "first_shadow_test.sh"


@pytest.fixture(scope="module")
def operation():
    session = botocore.session.get_session()
    return session.get_service_model("sagemaker").operation_model("CreateInferenceExperiment")


@pytest.fixture(scope="module")
def environ(tmp_path_factory):
    """The environment of a shell that has evaluated `gnomon env`, and of nothing else."""
    home = tmp_path_factory.mktemp("home")
    base = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "AWS_EC2_METADATA_DISABLED": "true",
        **{name: os.environ[name] for name in ("OPENBLAS_CORETYPE",) if name in os.environ},
    }
    with running_gnomon(
        tmp_path_factory.mktemp("gnomon"), GNOMON_ROUTER_DRAIN_IDLE_S="0.2"
    ) as gnomon:
        base["GNOMON_DATA_DIR"] = str(gnomon.data_dir)
        said = ran(["gnomon", "env"], base).stdout
        exported = dict(re.findall(r"^export (\w+)=(\S+)$", said, re.MULTILINE))
        assert exported["AWS_ENDPOINT_URL_SAGEMAKER"] == gnomon.url
        yield {**base, **exported}


def ran(command, environ):
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, timeout=200
    )


def members(shape):
    """Names of a structure's members at all depths."""
    if shape.type_name == "list":
        return members(shape.member)
    if shape.type_name != "structure":
        return set()
    return set(shape.members).union(*map(members, shape.members.values()))


def options(shape):
    return {"--" + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower() for name in shape.members}


def test_the_program_gives_every_parameter(operation):
    (call,) = (
        node
        for node in ast.walk(ast.parse(PYTHON.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "create_inference_experiment"
    )
    nested = {
        key.value
        for node in ast.walk(call)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    given = {keyword.arg for keyword in call.keywords}
    assert given == set(operation.input_shape.members)
    assert members(operation.input_shape) <= given | nested


def test_the_script_gives_every_option_in_each_form(operation):
    script = SHELL.read_text()
    forms = re.findall(
        r"^aws sagemaker create-inference-experiment \\\n((?:    .*\n)+)", script, re.MULTILINE
    )
    assert len(forms) == 2
    for form in forms:
        assert set(re.findall(r"^    (--[\w-]+)", form, re.MULTILINE)) == options(
            operation.input_shape
        )
    (document,) = re.findall(
        r"^cat >\"\$work/test.json\" <<JSON\n(.*?)^JSON$", script, re.MULTILINE | re.DOTALL
    )
    given = set(re.findall(r"^  \"(\w+)\":", document, re.MULTILINE))
    assert given == set(operation.input_shape.members)
    for shown in ("--generate-cli-skeleton", "--cli-input-json", "--query", "--output table"):
        assert shown in script


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("command", [["python", str(PYTHON)], ["sh", str(SHELL)]], ids=["py", "sh"])
def test_the_example_works(command, environ):
    done = ran(command, environ)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [["python", str(PYTHON)], ["sh", str(SHELL)]], ids=["py", "sh"])
def test_without_the_environment_of_gnomon_env_nothing_is_called(command, tmp_path):
    done = ran(command, {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": "/"})
    assert done.returncode != 0
    assert "gnomon env" in done.stderr


@pytest.mark.e2e
@pytest.mark.slow
def test_gnomon_aws_needs_no_environment_of_aws(environ):
    bare = {name: value for name, value in environ.items() if not name.startswith("AWS_")}
    done = ran(["gnomon", "aws", "sagemaker", "list-models", "--query", "Models"], bare)
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize(
    ("storage", "options"),
    [("Destination=s3://captures,KmsKey=key", []), ("Destination=s3://c", ["--kms-key", "key"])],
    ids=["storage", "option"],
)
def test_a_key_that_is_not_there_is_refused_by_name(storage, options, environ):
    shadow_test = (
        "--type ShadowMode --role-arn arn:aws:iam::000000000000:role/Shadow --name keyed"
        f" --endpoint-name keyed --data-storage-config {storage} --shadow-mode-config"
        " SourceModelVariantName=keyed-a,"
        "ShadowModelVariants=[{ShadowModelVariantName=keyed-b,SamplingPercentage=50}]"
        " --model-variants"
    ).split()
    for name in ("keyed-a", "keyed-b"):
        # The second run of this test finds the models of the first.
        ran(
            f"aws sagemaker create-model --model-name {name} --primary-container Image=x".split(),
            environ,
        )
        shadow_test.append(
            f"ModelName={name},VariantName={name},InfrastructureConfig={{InfrastructureType="
            "RealTimeInference,RealTimeInferenceConfig={InstanceType=ml.m5.large,InstanceCount=1}}"
        )
    create = ["aws", "sagemaker", "create-inference-experiment", *shadow_test, *options]
    done = ran(create, environ)
    assert done.returncode != 0
    assert "ValidationException" in done.stderr
    assert "KmsKey: The KMS key key cannot be used: it does not exist." in done.stderr
