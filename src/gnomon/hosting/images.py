"""From the name of a container image to how Gnomon runs it, or where it runs already.

The table holds AWS's own images; `[hosting.external]` and `[hosting.images]` in gnomon.toml add to
it and win over it, the first over the second.
Patterns are fnmatch's, matched against the whole image name with its registry and tag. Starting
what comes out of here is the hosts' work (`gnomon.hosting.process`, `gnomon.hosting.external`).
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gnomon.errors import GnomonError, SettingsError
from gnomon.hosting.servers import External, external_of
from gnomon.settings import ExternalSettings


@dataclass(frozen=True)
class ModelServer:
    """Gnomon's own model server (`gnomon.serving`), in the interpreter that settings name."""


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
            f'gnomon.toml, under [hosting.images]: "{image}" = "<command line>"; or, for servers '
            f'that run already, give their urls under [hosting.external."{image}"].'
        )


def runtime_of(
    image: str,
    patterns: Mapping[str, str],
    *,
    external: Mapping[str, ExternalSettings] | None = None,
) -> Runtime:
    """How to run `image`; `external` and `patterns` are the settings' own, tried in this order.

    Raises ImageUnknown, or SettingsError for a command line that is empty or not well quoted and
    for servers that cannot be asked.
    """
    for pattern, servers in (external or {}).items():
        if fnmatchcase(image, pattern):
            return external_of(pattern, servers)
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
