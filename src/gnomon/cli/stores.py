"""The object store and the keys that a Gnomon uses, for commands that read and write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gnomon import settings_reading
from gnomon.cli import running as running_file
from gnomon.errors import GnomonError
from gnomon.objects.local_keys import LocalKeys
from gnomon.objects.opening import open_keys, open_local_keys, open_objects
from gnomon.objects.store import ObjectStore
from gnomon.settings import Settings


class StoreAway(GnomonError):
    """The object store cannot be reached without a Gnomon that runs, or not at all."""


class KeysElsewhere(GnomonError):
    """Keys that Gnomon does not make."""


def open_store(data_dir: Path | None, environ: Mapping[str, str]) -> ObjectStore:
    """The object store of the Gnomon that runs, or of one that does not."""
    settings = _settings(data_dir, environ)
    if settings.objects.store == "seaweedfs" and not settings.objects.endpoint:
        raise StoreAway(
            f"The S3 server of {settings.data_dir} runs beside Gnomon. Start it with "
            "`gnomon up --s3`."
        )
    try:
        return open_objects(settings, open_keys(settings))
    except OSError as error:
        raise StoreAway(f"The object store cannot be used: {error}.") from error


def open_keys_to_change(data_dir: Path | None, environ: Mapping[str, str]) -> LocalKeys:
    """The keys of a data directory, which is made if it is not there."""
    settings = _settings(data_dir, environ, may_be_missing=True)
    if settings.keys.service != "local":
        raise KeysElsewhere(
            "The key service of this Gnomon is AWS KMS ([keys] service): its keys are made and "
            "changed with `aws kms`."
        )
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return open_local_keys(settings)


def _settings(
    data_dir: Path | None, environ: Mapping[str, str], *, may_be_missing: bool = False
) -> Settings:
    try:
        running = running_file.find(data_dir, environ)
    except running_file.NotRunning as error:
        # A directory and its keys are there whether Gnomon runs or not.
        if not may_be_missing and not error.data_dir.is_dir():
            raise
        return settings_reading.load(error.data_dir.resolve(), environ)
    settings = settings_reading.load(Path(running.data_dir), environ)
    if running.s3_url:
        # It may have been asked for on the command line only, and on any port.
        beside = replace(settings.objects, store="seaweedfs", endpoint=running.s3_url)
        return replace(settings, objects=beside)
    return settings
