"""A real S3 server for tests, which can be stopped and started again: SeaweedFS in a directory.

It can have users that may do some things only, and is an STS for roles that may: what it refuses
and takes shows whose credentials it was asked with.
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import boto3
import httpx

from gnomon.app import seaweedfs
from gnomon.objects.opening import SEAWEEDFS_CREDENTIALS
from gnomon.objects.store import Credentials
from gnomon.objects.stores import S3Objects
from gnomon.settings import ObjectsSettings

REGION = "us-east-1"
# It is there from the start.
BUCKET = "bucket"
_PATIENCE_S = 30.0
_LOOK_S = 0.05
# Of the language of policies.
_VERSION = "2012-10-17"


def credentials_of(user: str) -> Credentials:
    """Those of a user that a server has."""
    return Credentials(user, f"secret-of-{user}")


class S3Server:
    """Runs between `start` and `stop`; what it holds stays.

    `users` have by name what SeaweedFS calls their actions, such as `Write:bucket/captured/*`;
    `roles` by ARN a policy's statements; what is given for these lasts `session`.
    """

    def __init__(
        self,
        directory: Path,
        users: Mapping[str, Iterable[str]] | None = None,
        roles: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
        session: str = "1h",
    ) -> None:
        self._directory = directory
        self._users = users or {}
        self._roles = roles or {}
        self._session = session
        self.endpoint = seaweedfs.placed(ObjectsSettings(port=0), {}).endpoint
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        port = int(self.endpoint.rpartition(":")[2])
        command = [*seaweedfs.prepare(port, BUCKET, self._directory), *self._with_others()]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
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

    def _with_others(self) -> list[str]:
        """Options for users and roles, whose files are written."""
        file = self._directory / "s3.json"
        known = json.loads(file.read_text())
        for user, actions in self._users.items():
            secret = credentials_of(user).secret_access_key
            keys = [{"accessKey": user, "secretKey": secret}]
            known["identities"].append({"name": user, "credentials": keys, "actions": [*actions]})
        file.write_text(json.dumps(known))
        if not self._roles:
            return []
        (self._directory / "iam.json").write_text(json.dumps(self._iam()))
        return ["-s3.iam.config=iam.json"]

    def _iam(self) -> dict[str, Any]:
        anybody = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole"]}
        return {
            "sts": {
                "tokenDuration": self._session,
                "maxSessionLength": "12h",
                "issuer": "gnomon-tests",
                "signingKey": base64.b64encode(bytes(32)).decode(),
            },
            "policy": {"defaultEffect": "Deny", "storeType": "memory"},
            "policies": [
                {"name": _name(arn), "document": {"Version": _VERSION, "Statement": [*statements]}}
                for arn, statements in self._roles.items()
            ],
            "roles": [
                {
                    "roleName": _name(arn),
                    "roleArn": arn,
                    "trustPolicy": {"Version": _VERSION, "Statement": [anybody]},
                    "attachedPolicies": [_name(arn)],
                }
                for arn in self._roles
            ],
        }

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


def _name(arn: str) -> str:
    return arn.rpartition("/")[2]
