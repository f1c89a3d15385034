"""The root of Gnomon's errors, and the few that several packages handle.

Facts are attributes; the message is built from them. No error here knows an HTTP status or an
AWS error code: the one table from errors to codes is in `gnomon.aws.errors`.
"""

from __future__ import annotations

import errno
from pathlib import Path

_MIB = 1024 * 1024


class GnomonError(Exception):
    """Root of every error that Gnomon raises on purpose. Its text is one sentence for a person."""


class SettingsError(GnomonError):
    """A setting that cannot be used; the sentence says which, and what it may be."""


class DataDirectoryError(GnomonError):
    """The data directory cannot be used: not writable, held by another Gnomon, or not there."""


# --- Blame: the caller of SageMaker's API -----------------------------------------------------


class ValidationFailed(GnomonError):
    """A request that SageMaker answers with ValidationException."""


class ResourceNotFound(GnomonError):
    """An experiment, or a tagged resource, that does not exist."""


class ResourceInUse(GnomonError):
    """A name, or an endpoint, that something else holds."""


class Conflict(GnomonError):
    """An operation that the resource's present status does not allow."""


class ResourceLimitExceeded(GnomonError):
    """A quota that the request would pass."""


class OperationNotSupported(GnomonError):
    """An operation of SageMaker's that Gnomon does not have."""

    def __init__(self, operation: str, supported: tuple[str, ...]) -> None:
        self.operation = operation
        self.supported = supported
        super().__init__(
            f"Gnomon does not support the operation {operation}. It supports: "
            f"{', '.join(supported)}."
        )


# --- Blame: the model -------------------------------------------------------------------------


class ModelDataUnavailable(GnomonError):
    """A model archive that cannot be had, or that cannot be unpacked safely."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"The model data at {url} cannot be used: {reason}")


class ModelDataNotFound(ModelDataUnavailable):
    """There is nothing at the URL of a model archive; in SageMaker's words."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "there is nothing at this URL.")

    def __str__(self) -> str:
        return f"Could not find model data at {self.url}."


class ModelDataDenied(ModelDataUnavailable):
    """A role may not read a model archive; in SageMaker's words."""

    def __init__(self, url: str, role_arn: str, region: str, reason: str) -> None:
        self.role_arn = role_arn
        self.region = region
        super().__init__(url, reason)

    def __str__(self) -> str:
        return (
            f"Could not access model data at {self.url}. Please ensure that the role "
            f'"{self.role_arn}" exists and that its trust relationship policy allows the action '
            '"sts:AssumeRole" for the service principal "sagemaker.amazonaws.com". Also ensure '
            f'that the role has "s3:GetObject" permissions and that the object is located in '
            f"{self.region}. ({self.reason})"
        )


# --- Blame: the machine -----------------------------------------------------------------------


class MachineExhausted(GnomonError):
    """The machine has run out of something. It says nothing of what was being worked on: that is
    left as it is and tried again.
    """


class ModelDataNotKept(GnomonError):
    """A model archive that cannot be written where models are kept."""

    def __init__(self, url: str, directory: Path, error: OSError) -> None:
        self.url = url
        self.directory = directory
        self.is_for_want_of_space = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = _EXHAUSTIONS.get(error.errno or 0) or (error.strerror or str(error)).lower()
        super().__init__(f"The model data at {url} cannot be unpacked in {directory}: {reason}.")


class DatabaseFailed(MachineExhausted):
    """A database that cannot be read or written now; nothing of the transaction is kept."""

    def __init__(self, file: str, act: str, reason: str) -> None:
        self.file = file
        self.act = act
        self.reason = reason
        super().__init__(f"The database {file} cannot be {act}, since {reason}.")


class DiskNearlyFull(MachineExhausted):
    """Less is free on the data directory's disk than is kept for what already runs."""

    def __init__(self, directory: Path, free_bytes: int, min_free_bytes: int) -> None:
        self.directory = directory
        self.free_bytes = free_bytes
        self.min_free_bytes = min_free_bytes
        super().__init__(
            f"Only {free_bytes // _MIB:,} MiB are free on the disk of {directory}, and below "
            f"{min_free_bytes // _MIB:,} MiB (spool.min_free_bytes) Gnomon begins nothing new and "
            "captures nothing: free space there."
        )


# Errors of the operating system that mean the machine, and what to do about each.
_EXHAUSTIONS = {
    errno.EMFILE: "this process has no file descriptor left: raise `ulimit -n` for `gnomon up`",
    errno.ENFILE: "the machine has no file descriptor left: raise fs.file-max, or end programs",
    errno.ENOSPC: "the disk is full: free space there",
    errno.EDQUOT: "the user's quota of the disk is used up: free space there",
    errno.EIO: "its disk fails (I/O error): see what the kernel's log says of it",
    errno.EROFS: "it can only be read: see what the kernel's log says of its disk",
    errno.ENOMEM: "the machine has no memory left: end programs",
}


def exhaustion(error: BaseException) -> MachineExhausted | None:
    """What the machine has run out of, if that is what the error means."""
    if isinstance(error, MachineExhausted):
        return error
    if not isinstance(error, OSError) or error.errno not in _EXHAUSTIONS:
        return None
    where = f"{error.filename} cannot be used" if error.filename else "Something had to wait"
    return MachineExhausted(f"{where}, since {_EXHAUSTIONS[error.errno]}.")
