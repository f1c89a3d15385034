"""From the name of a container image to how Gnomon runs it as a local process.

The table holds AWS's own images; `[hosting.images]` in gnomon.toml adds to it and wins over it.
Patterns are fnmatch's, matched against the whole image name with its registry and tag. Starting
what comes out of here is the host's work (`gnomon.hosting.process`).
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gnomon.errors import GnomonError, SettingsError


@dataclass(frozen=True)
class ModelServer:
    """Gnomon's own model server (`gnomon.serving`), in the interpreter that settings name."""


@dataclass(frozen=True)
class Command:
    """A foreign program that obeys the container contract on SAGEMAKER_BIND_TO_PORT."""

    argv: tuple[str, ...]


Runtime = ModelServer | Command

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
            f'gnomon.toml, under [hosting.images]: "{image}" = "<command line>".'
        )


def runtime_of(image: str, patterns: Mapping[str, str]) -> Runtime:
    """How to run `image`; `patterns` are the settings' own, tried first and in their order.

    Raises ImageUnknown, or SettingsError for a command line that is empty or not well quoted.
    """
    for pattern, line in patterns.items():
        if fnmatchcase(image, pattern):
            return Command(_split(pattern, line))
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
