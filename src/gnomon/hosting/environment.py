"""The environment of an instance: a clean one, with the container contract in it.

Nothing of Gnomon's own environment goes in, PYTHONPATH and credentials least of all: a model gets
what its user gave it by CreateModel, and what any program needs.
"""

from collections.abc import Mapping

from gnomon.hosting.host import InstanceSpec

# What every program on this machine may need to know, with what stands in for it.
_PASSED_ON = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/",
    "TMPDIR": "/tmp",  # noqa: S108 - POSIX's own default
}

# Passed on only where it is set. OPENBLAS_CORETYPE: the machine's owner works round a processor
# on which OpenBLAS chooses wrongly, and a model's OpenBLAS needs it as much as ours.
_PASSED_ON_IF_SET = ("OPENBLAS_CORETYPE",)

_THREAD_CAPS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

# As in AWS's images: what a model prints is in its log at once, and a model directory that
# several instances share is not written to.
_PYTHON = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def environment_of(
    spec: InstanceSpec, parent: Mapping[str, str], *, listen_fd: int | None, port: int | None
) -> dict[str, str]:
    """The environment to start `spec` with; `parent` is Gnomon's own.

    The user's Environment wins over everything but the contract itself, which says where the
    instance is and how it is reached.
    """
    environment = {name: parent.get(name) or default for name, default in _PASSED_ON.items()}
    environment |= {name: parent[name] for name in _PASSED_ON_IF_SET if name in parent}
    environment |= dict.fromkeys(_THREAD_CAPS, str(spec.threads))
    environment |= _PYTHON
    environment |= spec.environment
    environment |= {
        "SM_MODEL_DIR": str(spec.model_dir),
        "SAGEMAKER_BASE_DIR": str(spec.model_dir.parent),
        "GNOMON_INSTANCE_ID": spec.instance_id,
        "GNOMON_ENDPOINT_NAME": spec.endpoint_name,
        "GNOMON_VARIANT_NAME": spec.variant_name,
    }
    environment.pop("GNOMON_LISTEN_FD", None)
    if listen_fd is not None:
        environment["GNOMON_LISTEN_FD"] = str(listen_fd)
    if port is not None:
        environment["SAGEMAKER_BIND_TO_PORT"] = str(port)
    return environment
