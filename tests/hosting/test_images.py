import pytest

from gnomon.errors import SettingsError
from gnomon.hosting.images import Command, ImageUnknown, ModelServer, runtime_of
from gnomon.hosting.servers import external_of
from gnomon.settings import ExternalSettings

_ECR = "763104351884.dkr.ecr.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    "image",
    [
        "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3",
        "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
        f"{_ECR}/pytorch-inference:2.3.0-cpu-py311-ubuntu20.04-sagemaker",
        f"{_ECR}/huggingface-pytorch-inference:2.1.0-transformers4.37.0-cpu-py310-ubuntu22.04",
    ],
)
def test_aws_own_images_run_the_model_server(image):
    assert runtime_of(image, {}) == ModelServer()


@pytest.mark.parametrize("image", ["pytorch/torchserve:latest", "docker.io/pytorch/pytorch:2"])
def test_other_images_of_the_same_makers_do_not(image):
    with pytest.raises(ImageUnknown):
        runtime_of(image, {})


def test_settings_give_a_command():
    patterns = {"*/my-image:*": "python -m server --name 'two words'"}

    assert runtime_of("registry/my-image:1", patterns) == Command(
        ("python", "-m", "server", "--name", "two words")
    )


def test_settings_win_over_the_table():
    assert runtime_of("x/sagemaker-xgboost:1", {"*xgboost*": "mine"}) == Command(("mine",))


def test_the_first_pattern_of_the_settings_wins():
    assert runtime_of("a:1", {"a:*": "first", "*": "second"}) == Command(("first",))


def test_settings_name_the_interpreter_of_an_image():
    interpreters = {"*:1.2-*": "/py39/bin/python", "*scikit*": "/py312/bin/python"}

    assert runtime_of("x/sagemaker-scikit-learn:1.2-1", {}, interpreters) == ModelServer(
        "/py39/bin/python"
    )
    assert runtime_of("x/sagemaker-scikit-learn:1.4-1", {}, interpreters) == ModelServer(
        "/py312/bin/python"
    )
    assert runtime_of("x/sagemaker-xgboost:1.7-1", {}, interpreters) == ModelServer()


def test_any_image_with_an_interpreter_runs_the_model_server():
    assert runtime_of("mine:1", {}, {"mine:*": "python3.12"}) == ModelServer("python3.12")


def test_a_command_wins_over_an_interpreter():
    assert runtime_of("mine:1", {"mine:*": "serve"}, {"*": "python3.12"}) == Command(("serve",))


def test_servers_that_run_already_win_over_a_command():
    servers = ExternalSettings(urls=("http://127.0.0.1:9000",))

    runtime = runtime_of("triton:24.01", {"triton:*": "serve"}, external={"triton:*": servers})

    assert runtime == external_of("triton:*", servers)


def test_an_unknown_image_is_named_with_what_to_do():
    with pytest.raises(ImageUnknown) as caught:
        runtime_of("registry/unknown:1", {})

    assert "registry/unknown:1" in str(caught.value)
    assert "[hosting.images]" in str(caught.value)
    assert "[hosting.interpreters]" in str(caught.value)
    assert '[hosting.external."registry/unknown:1"]' in str(caught.value)


@pytest.mark.parametrize("line", ["", "   ", "sh -c 'open"])
def test_a_command_line_that_is_none(line):
    with pytest.raises(SettingsError, match=r"hosting\.images"):
        runtime_of("a", {"a": line})
