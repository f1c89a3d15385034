from pathlib import Path

import pytest

from gnomon.serving.environment import Environment


def test_where_aws_has_the_model():
    assert Environment({}).model_dir == Path("/opt/ml/model")
    assert Environment({"SAGEMAKER_BASE_DIR": "/base"}).model_dir == Path("/base/model")
    assert Environment({"SM_MODEL_DIR": "/m", "SAGEMAKER_BASE_DIR": "/b"}).model_dir == Path("/m")


@pytest.mark.parametrize(
    ("submitted", "code"),
    [
        ("", "/m/code"),
        ("src", "/m/src"),
        ("/elsewhere", "/elsewhere"),
        ("/opt/ml/model/code", "/m/code"),
        ("/opt/ml/model", "/m"),
        ("s3://bucket/sourcedir.tar.gz", "/m/code"),
    ],
)
def test_where_the_code_is(submitted, code):
    variables = {"SM_MODEL_DIR": "/m", "SAGEMAKER_SUBMIT_DIRECTORY": submitted}

    assert Environment(variables).code_dir == Path(code)


def test_the_program():
    assert Environment({"SM_MODEL_DIR": "/m"}).program_path == Path("/m/code/inference.py")
    assert Environment({"SM_MODEL_DIR": "/m", "SAGEMAKER_PROGRAM": "p.py"}).program_path == Path(
        "/m/code/p.py"
    )


def test_the_socket():
    assert Environment({}).port == 8080
    assert Environment({"SAGEMAKER_BIND_TO_PORT": "9000"}).port == 9000
    assert Environment({}).listen_fd is None
    assert Environment({"GNOMON_LISTEN_FD": "5"}).listen_fd == 5
