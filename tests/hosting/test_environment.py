from pathlib import Path

import pytest

from gnomon.hosting.environment import environment_of
from gnomon.hosting.host import InstanceSpec
from gnomon.hosting.images import ModelServer


def environment(of_user=None, parent=None, *, listen_fd=None, port=None, threads=2):
    spec = InstanceSpec(
        instance_id="i",
        endpoint_name="e",
        variant_name="v",
        runtime=ModelServer(),
        model_dir=Path("/data/models/abc/model"),
        environment=of_user or {},
        threads=threads,
    )
    return environment_of(spec, parent or {}, listen_fd=listen_fd, port=port)


def test_the_contract():
    made = environment(listen_fd=7)

    assert made["SM_MODEL_DIR"] == "/data/models/abc/model"
    assert made["SAGEMAKER_BASE_DIR"] == "/data/models/abc"
    assert made["GNOMON_LISTEN_FD"] == "7"
    assert (made["GNOMON_INSTANCE_ID"], made["GNOMON_ENDPOINT_NAME"]) == ("i", "e")
    assert made["GNOMON_VARIANT_NAME"] == "v"
    assert "SAGEMAKER_BIND_TO_PORT" not in made


def test_a_port_takes_the_place_of_a_descriptor():
    made = environment(port=21000)

    assert made["SAGEMAKER_BIND_TO_PORT"] == "21000"
    assert "GNOMON_LISTEN_FD" not in made


def test_little_of_the_parent_is_passed_on():
    parent = {"PATH": "/p", "HOME": "/h", "PYTHONPATH": "/g", "AWS_PROFILE": "x", "GNOMON_A": "y"}

    made = environment(parent=parent)

    assert (made["PATH"], made["HOME"]) == ("/p", "/h")
    assert not {"PYTHONPATH", "AWS_PROFILE", "GNOMON_A"} & set(made)


def test_a_way_round_a_processor_fault_is_passed_on():
    assert environment(parent={"OPENBLAS_CORETYPE": "Haswell"})["OPENBLAS_CORETYPE"] == "Haswell"
    assert "OPENBLAS_CORETYPE" not in environment()


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"])
def test_threads_are_capped_unless_the_user_says_otherwise(name):
    assert environment(threads=3)[name] == "3"
    assert environment({name: "8"}, threads=3)[name] == "8"


@pytest.mark.parametrize(
    "name", ["SM_MODEL_DIR", "SAGEMAKER_BASE_DIR", "GNOMON_INSTANCE_ID", "GNOMON_LISTEN_FD"]
)
def test_the_user_cannot_change_the_contract(name):
    assert environment({name: "99"}, listen_fd=7)[name] != "99"
    assert environment({name: "99"}, port=21000).get(name) != "99"
