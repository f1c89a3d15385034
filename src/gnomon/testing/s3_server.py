"""A real S3 server for tests, which can be stopped and started again: SeaweedFS in a directory."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import Any

import boto3
import httpx

from gnomon.app import seaweedfs
from gnomon.objects.opening import SEAWEEDFS_CREDENTIALS
from gnomon.objects.stores import S3Objects
from gnomon.settings import ObjectsSettings

REGION = "us-east-1"
# It is there from the start.
BUCKET = "bucket"
_PATIENCE_S = 30.0
_LOOK_S = 0.05


class S3Server:
    """Runs between `start` and `stop`; what it holds stays."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.endpoint = seaweedfs.placed(ObjectsSettings(port=0), {}).endpoint
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        port = int(self.endpoint.rpartition(":")[2])
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                seaweedfs.prepare(port, BUCKET, self._directory),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline_s = time.monotonic() + _PATIENCE_S
        while not self._answers():
            assert time.monotonic() < deadline_s, f"the S3 server is not up in {_PATIENCE_S} s"
            time.sleep(_LOOK_S)
        client = self.client()
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=BUCKET)

    def stop(self) -> None:
        """As a crash would: nothing that it has acknowledged may be lost by that."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            answer = httpx.get(self.endpoint, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR

    def client(self) -> Any:
        """A boto3 client, as users have one."""
        return boto3.session.Session(
            SEAWEEDFS_CREDENTIALS.access_key_id,
            SEAWEEDFS_CREDENTIALS.secret_access_key,
            region_name=REGION,
        ).client("s3", endpoint_url=self.endpoint)

    def objects(self) -> S3Objects:
        return S3Objects(self.endpoint, REGION, lambda: SEAWEEDFS_CREDENTIALS, path_style=True)
