"""What the container contract says by environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Optional

# Where AWS unpacks a model archive. Users' Environment may name paths below it.
_CONTAINER_MODEL_DIR = "/opt/ml/model"

_DEFAULT_PORT = 8080


class Environment:
    """The variables that the model server reads, read once."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        base = variables.get("SAGEMAKER_BASE_DIR", "/opt/ml")
        self.model_dir = Path(variables.get("SM_MODEL_DIR") or Path(base, "model"))
        self.program = variables.get("SAGEMAKER_PROGRAM") or "inference.py"
        self.code_dir = self._code_dir(variables.get("SAGEMAKER_SUBMIT_DIRECTORY", ""))
        # Who this is: empty outside Gnomon.
        self.instance_id = variables.get("GNOMON_INSTANCE_ID", "")
        self.default_accept = variables.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "")
        self.port = int(variables.get("SAGEMAKER_BIND_TO_PORT") or _DEFAULT_PORT)
        descriptor = variables.get("GNOMON_LISTEN_FD")
        self.listen_fd: Optional[int] = int(descriptor) if descriptor else None

    @property
    def program_path(self) -> Path:
        return self.code_dir / self.program

    def _code_dir(self, submitted: str) -> Path:
        """The directory of the user's code: SAGEMAKER_SUBMIT_DIRECTORY, or `code/`.

        Tools of AWS set it to a path in the container, or to the s3:// address of code that they
        have also packed into the archive: the archive's `code/` then has it.
        """
        if submitted.startswith(_CONTAINER_MODEL_DIR) and not Path(submitted).is_dir():
            below = submitted[len(_CONTAINER_MODEL_DIR) :].lstrip("/")
            return self.model_dir / below
        if submitted and "://" not in submitted:
            return self.model_dir / submitted
        return self.model_dir / "code"
