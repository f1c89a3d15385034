"""A real Gnomon for end-to-end tests: real processes, real boto3 with retries off, real models.

The models are Gnomon's own model server with a handler that echoes, says who answered, and counts
what it answered in files of its own, so that three counts can be compared: sent by the client,
seen by the routers, answered by the models.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
ROLE = "arn:aws:iam::000000000000:role/gnomon"
_PATIENCE_S = 60.0
_LOOK_S = 0.05

# Where BURNS is set, it keeps so many processes busy for ever, which share its CPU weight.
# Answers "<input>", or "<MODEL_SAYS>" where that is set; to the input MISTAKES it says "wrong". A
# request "sleep N" takes N seconds, or N times SLOWED. Where
# SEEN is set, every input that is answered is appended to that file. While the file MUTE holds an
# instance's id, that instance answers pings alone. Where EATS is set, the first instance that is
# asked while that file is there takes it away and fills its memory (512 MiB). Where DATED is set,
# answers are JSON: what it says, and when.
ECHO_HANDLER = """
import json, os, threading, time

_lock = threading.Lock()
_count = 0
_path = os.path.join(os.environ["COUNT_DIR"], os.environ["GNOMON_INSTANCE_ID"])
_file = os.open(_path, os.O_RDWR | os.O_CREAT, 0o600)
_seen = os.environ.get("SEEN") and os.open(
    os.environ["SEEN"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
)


for _ in range(int(os.environ.get("BURNS", "0"))):
    if os.fork() == 0:
        while True:
            pass


def _is_mute():
    try:
        with open(os.environ.get("MUTE", "")) as file:
            return file.read() == os.environ["GNOMON_INSTANCE_ID"]
    except OSError:
        return False


_eats = os.environ.get("EATS")
_eaten = []
_slowed = float(os.environ.get("SLOWED", "1"))
_mistakes = os.environ.get("MISTAKES")


def _eat():
    for _ in range(64):
        _eaten.append(b"x" * (8 << 20))
        time.sleep(0.01)


def model_fn(model_dir):
    return os.environ.get("MODEL_SAYS", "")


def input_fn(body, content_type):
    return body


def predict_fn(body, model):
    global _count
    text = body if isinstance(body, str) else body.decode()
    if text.startswith("sleep "):
        time.sleep(float(text.split()[1]) * _slowed)
    while _is_mute():
        time.sleep(0.05)
    if _eats and os.path.exists(_eats):
        try:
            os.unlink(_eats)
        except FileNotFoundError:
            pass
        else:
            threading.Thread(target=_eat, daemon=True).start()
    if text.startswith("fail"):
        raise ValueError("asked to fail")
    with _lock:
        _count += 1
        os.pwrite(_file, _count.to_bytes(8, "little"), 0)
        if _seen:
            os.write(_seen, text.encode())
    if text.strip() == _mistakes:
        return "wrong"
    return model or text


def output_fn(prediction, accept):
    if "DATED" in os.environ:
        return json.dumps({"said": prediction, "at": time.time_ns()}), "application/json"
    return prediction, "text/csv"
"""


def archive(path: Path, files: dict[str, str]) -> Path:
    """A model.tar.gz with these files."""
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            data = text.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@dataclass
class RunningGnomon:
    """`gnomon up` as a child of the test, ended by `close`."""

    data_dir: Path
    process: subprocess.Popen[bytes]
    url: str
    log: Path
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A boto3 client on this Gnomon, with retries off; safe to use from several threads."""
        if service not in self._clients:
            self._clients[service] = boto3.session.Session(  # type: ignore[call-overload]
                aws_access_key_id="gnomon",
                aws_secret_access_key="gnomon",  # noqa: S106 - a placeholder
                region_name="us-east-1",
            ).client(
                service,
                endpoint_url=self.url,
                config=Config(
                    retries={"total_max_attempts": 1}, max_pool_connections=64, read_timeout=70
                ),
            )
        return self._clients[service]

    def get(self, path: str) -> Any:
        """The JSON at a path below /gnomon/v1."""
        url = f"{self.url}/gnomon/v1{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - http
            return json.load(answer)

    def wait(self, holds: Callable[[], Any], what: str, patience_s: float = _PATIENCE_S) -> Any:
        """Until `holds` answers something true; what it answered."""
        deadline = time.monotonic() + patience_s
        while not (found := holds()):
            assert self.process.poll() is None, f"Gnomon ended: {self.log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"{what} did not come about in {patience_s} s"
            time.sleep(_LOOK_S)
        return found

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextlib.contextmanager
def running_gnomon(
    data_dir: Path, port: int = 0, wrapper: Sequence[str] = (), **environ: str
) -> Iterator[RunningGnomon]:
    """Gnomon on `data_dir` until the block ends. `environ` are settings (GNOMON_…).

    `wrapper` is a command that becomes the one that follows it, such as setpriv.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "up.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                *wrapper,
                *(sys.executable, "-m", "gnomon.app.main", "up"),
                *("--data-dir", str(data_dir), "--port", str(port), "--control-port", "0"),
            ],
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = RunningGnomon(data_dir, process, "", log)
    try:
        file = data_dir / "gnomon.json"
        running.wait(file.exists, "gnomon.json")
        running.url = json.loads(file.read_text())["url"]
        yield running
    finally:
        running.close()


@dataclass
class EchoModels:
    """Echo models on a Gnomon: makes endpoints and tests, sends traffic, counts answers."""

    gnomon: RunningGnomon
    directory: Path
    name: str

    @property
    def sagemaker(self) -> Any:
        return self.gnomon.client("sagemaker")

    @property
    def runtime(self) -> Any:
        return self.gnomon.client("sagemaker-runtime")

    def model(self, name: str, **environment: str) -> None:
        counts = self.directory / f"counts-{name}"
        counts.mkdir(exist_ok=True)
        packed = archive(self.directory / f"{name}.tar.gz", {"code/inference.py": ECHO_HANDLER})
        self.sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={
                "Image": IMAGE,
                "ModelDataUrl": f"file://{packed}",
                "Environment": {"COUNT_DIR": str(counts), **environment},
            },
            ExecutionRoleArn=ROLE,
        )

    def endpoint(self, count: int = 1, **environment: str) -> None:
        """An endpoint `name` that serves the model `<name>-prod` in `count` instances."""
        self.model(f"{self.name}-prod", **environment)
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=f"{self.name}-config",
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": f"{self.name}-prod",
                    "InstanceType": "ml.m5.xlarge",
                    "InitialInstanceCount": count,
                    "InitialVariantWeight": 1.0,
                }
            ],
        )
        self.sagemaker.create_endpoint(
            EndpointName=self.name, EndpointConfigName=f"{self.name}-config"
        )
        self.sagemaker.get_waiter("endpoint_in_service").wait(
            EndpointName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )

    def experiment(
        self, percentage: int, until: tuple[str, ...] = ("Running",), **members: Any
    ) -> None:
        """A test of `<name>-shad` beside production; returns when it runs, or as `until` says."""
        request = {
            "Name": self.name,
            "Type": "ShadowMode",
            "RoleArn": ROLE,
            "EndpointName": self.name,
            "ModelVariants": [
                self._variant(f"{self.name}-prod", "AllTraffic", members.pop("count", 1)),
                self._variant(f"{self.name}-shad", "Shadow-01", members.pop("shadow_count", 1)),
            ],
            "ShadowModeConfig": {
                "SourceModelVariantName": "AllTraffic",
                "ShadowModelVariants": [
                    {"ShadowModelVariantName": "Shadow-01", "SamplingPercentage": percentage}
                ],
            },
            **members,
        }
        self.sagemaker.create_inference_experiment(**request)
        self.until_experiment(*until)

    def until_experiment(self, *statuses: str, patience_s: float = _PATIENCE_S) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            found = self.sagemaker.describe_inference_experiment(Name=self.name)
            return found if found["Status"] in statuses else None

        what = f"experiment {self.name} {statuses}"
        return dict(self.gnomon.wait(reached, what, patience_s))

    def stop(self, shadow: str = "Remove", production: str = "Retain") -> dict[str, Any]:
        self.sagemaker.stop_inference_experiment(
            Name=self.name,
            ModelVariantActions={"AllTraffic": production, "Shadow-01": shadow},
            DesiredState="Completed",
        )
        return self.until_experiment("Completed")

    def invoke(self, body: str, **members: Any) -> dict[str, Any]:
        return dict(
            self.runtime.invoke_endpoint(
                EndpointName=self.name, Body=body, ContentType="text/csv", **members
            )
        )

    def report(self) -> dict[str, Any]:
        return dict(self.gnomon.get(f"/experiments/{self.name}/report"))

    def answered(self, model: str) -> int:
        """How many requests the instances of a model answered, as they counted themselves."""
        files = (self.directory / f"counts-{model}").iterdir()
        return sum(int.from_bytes(file.read_bytes(), "little") for file in files)

    def captured(self, destination: str) -> dict[str, list[dict[str, Any]]]:
        """Captured records below an s3:// destination of the embedded store, by variant."""
        root = self.gnomon.data_dir / "objects" / destination.removeprefix("s3://") / self.name
        found: dict[str, list[dict[str, Any]]] = {}
        for path in sorted(root.rglob("*.jsonl")):
            variant = path.relative_to(root).parts[0]
            records = [json.loads(line) for line in path.read_text().splitlines()]
            found.setdefault(variant, []).extend(records)
        return found

    @staticmethod
    def _variant(model: str, variant: str, count: int) -> dict[str, Any]:
        return {
            "ModelName": model,
            "VariantName": variant,
            "InfrastructureConfig": {
                "InfrastructureType": "RealTimeInference",
                "RealTimeInferenceConfig": {
                    "InstanceType": "ml.m5.xlarge",
                    "InstanceCount": count,
                },
            },
        }


class Traffic:
    """Requests without pause from several threads, until the block ends."""

    def __init__(self, send: Callable[[int], Any], threads: int = 4) -> None:
        self._send = send
        self._ending = threading.Event()
        self._numbers = iter(range(1 << 30))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self.sent = 0
        self.answers: list[Any] = []
        self.failures: list[Exception] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            with self._lock:
                number = next(self._numbers)
                self.sent += 1
            try:
                answer = self._send(number)
            except Exception as error:  # noqa: BLE001 - every failure is what is counted
                with self._lock:
                    self.failures.append(error)
            else:
                with self._lock:
                    self.answers.append(answer)
