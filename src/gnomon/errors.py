"""The root of Gnomon's errors, and the few that several packages handle.

Facts are attributes; the message is built from them. No error here knows an HTTP status or an
AWS error code: the one table from errors to codes is in `gnomon.aws.errors`.
"""


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
