"""A real S3 server beside: SeaweedFS, as `gnomon up --s3` runs it, held to some cores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from bench.kit.collector import BUCKET
from bench.kit.process import running, wait_until
from gnomon.app import seaweedfs
from gnomon.objects.opening import SEAWEEDFS_CREDENTIALS
from gnomon.settings import ObjectsSettings

# It is asked again soon.
_ONCE = Config(retries={"total_max_attempts": 1})


def placed() -> ObjectsSettings:
    """How a collector finds a server that will run. Raises SeaweedFSMissing."""
    return seaweedfs.placed(ObjectsSettings(store="seaweedfs", port=0), {})


@contextlib.contextmanager
def running_s3(directory: Path, cores: frozenset[int], objects: ObjectsSettings) -> Iterator[int]:
    """Its process id, once it answers and has its bucket. What it holds in the directory stays for
    the next one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = int(objects.endpoint.rpartition(":")[2])
    command = seaweedfs.prepare(port, BUCKET, directory)
    log = directory / "log"
    with running(["env", "--chdir", str(directory), *command], cores, log) as process:
        wait_until(process, log, "SeaweedFS", lambda: _has_bucket(objects.endpoint))
        yield process.pid


def _has_bucket(endpoint: str) -> bool:
    client = boto3.session.Session(
        SEAWEEDFS_CREDENTIALS.access_key_id,
        SEAWEEDFS_CREDENTIALS.secret_access_key,
        region_name="us-east-1",
    ).client("s3", endpoint_url=endpoint, config=_ONCE)
    try:
        client.create_bucket(Bucket=BUCKET)
    except client.exceptions.BucketAlreadyOwnedByYou:
        return True
    except (BotoCoreError, ClientError):
        return False
    return True
