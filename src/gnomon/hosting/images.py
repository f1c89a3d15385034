"""From the name of a container image to how Gnomon runs it, or where it runs already.

The table holds AWS's own images; `[hosting.external]`, `[hosting.images]` and
`[hosting.interpreters]` in gnomon.toml add to it and win over it, in this order.
Patterns are fnmatch's, matched against the whole image name with its registry and tag. Starting
what comes out of here is the hosts' work (`gnomon.hosting.process`, `gnomon.hosting.external`).
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType

from gnomon.errors import GnomonError, SettingsError
from gnomon.hosting.servers import External, external_of
from gnomon.settings import ExternalSettings


@dataclass(frozen=True)
class ModelServer:
    """Gnomon's own model server (`gnomon.serving`).

    `interpreter` is the Python that runs it; empty: the one that settings name for all.
    """

    interpreter: str = ""


@dataclass(frozen=True)
class Command:
    """A foreign program that obeys the container contract on SAGEMAKER_BIND_TO_PORT."""

    argv: tuple[str, ...]


Runtime = ModelServer | Command | External

# AWS's inference images that run handlers of the inference toolkit (code/inference.py), which
# Gnomon's model server reads too; Hugging Face's for PyTorch among the third. The last is what the
# third was called before 2019.
MODEL_SERVER_IMAGES = (
    "*sagemaker-scikit-learn*",
    "*sagemaker-xgboost*",
    "*pytorch-inference*",
    "*/sagemaker-pytorch*",
)


class ImageUnknown(GnomonError):
    """An image that no pattern matches."""

    def __init__(self, image: str) -> None:
        self.image = image
        super().__init__(
            f'Gnomon does not know how to run the image "{image}". Say which command serves it in '
            f'gnomon.toml, under [hosting.images]: "{image}" = "<command line>"; for code that '
            "Gnomon's model server can run, which Python runs it, under [hosting.interpreters]; "
            f'or, for servers that run already, their urls under [hosting.external."{image}"].'
        )


def runtime_of(
    image: str,
    patterns: Mapping[str, str],
    interpreters: Mapping[str, str] = MappingProxyType({}),
    *,
    external: Mapping[str, ExternalSettings] | None = None,
) -> Runtime:
    """How to run `image`; `external`, `patterns` and `interpreters` are the settings' own.

    They are tried in this order; what one of `interpreters` matches runs on the model server.
    Raises ImageUnknown, or SettingsError for a command line that is empty or not well quoted and
    for servers that cannot be asked.
    """
    for pattern, servers in (external or {}).items():
        if fnmatchcase(image, pattern):
            return external_of(pattern, servers)
    for pattern, line in patterns.items():
        if fnmatchcase(image, pattern):
            return Command(_split(pattern, line))
    for pattern, interpreter in interpreters.items():
        if fnmatchcase(image, pattern):
            return ModelServer(interpreter)
    if any(fnmatchcase(image, pattern) for pattern in MODEL_SERVER_IMAGES):
        return ModelServer()
    raise ImageUnknown(image)


def _split(pattern: str, line: str) -> tuple[str, ...]:
    try:
        argv = tuple(shlex.split(line))
    except ValueError as error:
        raise SettingsError(
            f'hosting.images: the command line for "{pattern}" is not well quoted: {error}.'
        ) from error
    if not argv:
        raise SettingsError(f'hosting.images: the command line for "{pattern}" is empty.')
    return argv
