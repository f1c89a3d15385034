"""`gnomon up --s3`: a SeaweedFS beside, an S3 server for the object store and for users' scripts.

The process becomes SeaweedFS by exec, so that the supervisor keeps it like any other of its own. It
listens on loopback only; S3 wants credentials, SeaweedFS's own parts among each other do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec

from gnomon.app.child import take_hand
from gnomon.app.listening import CannotListen
from gnomon.errors import GnomonError
from gnomon.model.layout import Layout
from gnomon.objects.opening import SEAWEEDFS_CREDENTIALS
from gnomon.settings import ObjectsSettings, Settings

_HOST = "127.0.0.1"
# SeaweedFS's parts, as its options name them: what they say to each other is not for others.
_PARTS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
    *("filer.port", "filer.port.grpc", "s3.port.grpc", "admin.port", "admin.port.grpc"),
)
# It answers within a second; on a busy machine it takes longer.
_START_LIMIT_S = 30.0
_LOOK_S = 0.05


class SeaweedFSMissing(GnomonError):
    """What `--s3` needs is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "SeaweedFS is not installed. Install it with pip install 'gnomon[s3]', or run without "
            "--s3."
        )


def placed(objects: ObjectsSettings, environ: Mapping[str, str]) -> ObjectsSettings:
    """The settings with the endpoint at which SeaweedFS will answer.

    Raises SeaweedFSMissing, or CannotListen if the port cannot be had.
    """
    _program(environ)
    try:
        with socket.create_server((_HOST, objects.port)) as server:
            port = server.getsockname()[1]
    except OSError as error:
        # Its own text says the address again.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CannotListen(_HOST, objects.port, "s3-port", reason) from error
    return replace(objects, endpoint=f"http://{_HOST}:{port}")


def bucket_of(settings: Settings) -> str:
    """The bucket that is made: the one that SageMaker's Python SDK has by default."""
    return f"sagemaker-{settings.aws.region}-{settings.aws.account_id}"


async def answers(endpoint: str) -> bool:
    """Waits until SeaweedFS answers; False if it does not in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_LIMIT_S), httpx.AsyncClient(trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    # Nobody may list without credentials; that it says so is an answer.
                    if (await client.get(endpoint)).status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                        return True
                await asyncio.sleep(_LOOK_S)
    return False


def main() -> None:
    """Becomes SeaweedFS."""
    hand, _ = take_hand("seaweedfs")
    os.set_inheritable(hand.lifetime, False)
    settings = hand.decoded()
    layout = Layout(settings.data_dir)
    port = int(settings.objects.endpoint.rpartition(":")[2])
    os.chdir(layout.seaweedfs)
    command = prepare(port, bucket_of(settings))
    log = os.open(layout.seaweedfs_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    os.execv(command[0], command)  # noqa: S606 - it takes over


def prepare(port: int, bucket: str, directory: Path = Path()) -> list[str]:
    """The command of a SeaweedFS that is to run in `directory`, which is made ready for it."""
    options = {
        "dir": ".",
        "ip": _HOST,
        "ip.bind": _HOST,
        "s3.port": port,
        **_ports(directory / "ports.json"),
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": "s3.json",
        "bucket": bucket,
        "webdav": "false",
        "admin.ui": "false",
        # It would tell its makers of itself.
        "master.telemetry": "false",
    }
    (directory / "s3.json").write_bytes(_identities())
    # It would take up options of a former start from there, ports above all.
    (directory / "mini.options").unlink(missing_ok=True)
    program = str(_program(os.environ))
    return [program, "mini", *(f"-{name}={value}" for name, value in options.items())]


def _identities() -> bytes:
    credentials = SEAWEEDFS_CREDENTIALS
    return msgspec.json.encode(
        {
            "identities": [
                {
                    "name": "gnomon",
                    "credentials": [
                        {
                            "accessKey": credentials.access_key_id,
                            "secretKey": credentials.secret_access_key,
                        }
                    ],
                    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                }
            ]
        }
    )


def _ports(file: Path) -> dict[str, int]:
    """A port for each part: those of the last time, as long as they are free."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        known = msgspec.json.decode(file.read_bytes(), type=dict[str, int])
        if known.keys() == set(_PARTS) and all(map(_is_free, known.values())):
            return known
    with contextlib.ExitStack() as stack:
        found = {
            part: stack.enter_context(socket.create_server((_HOST, 0))).getsockname()[1]
            for part in _PARTS
        }
    file.write_bytes(msgspec.json.encode(found))
    return found


def _is_free(port: int) -> bool:
    try:
        socket.create_server((_HOST, port)).close()
    except OSError:
        return False
    return True


def _program(environ: Mapping[str, str]) -> Path:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed", path=environ.get("PATH"))
    if found is None:
        raise SeaweedFSMissing
    return Path(found)


if __name__ == "__main__":
    main()
