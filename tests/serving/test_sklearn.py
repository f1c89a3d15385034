"""A real scikit-learn archive, from its tar to its answers."""

import asyncio
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from gnomon.hosting.artifacts import prepare
from gnomon.hosting.health import ping
from gnomon.hosting.host import InstanceSpec
from gnomon.hosting.images import ModelServer
from gnomon.hosting.process import ProcessHost
from gnomon.hosting.serving_archive import pack
from gnomon.settings import HostingSettings

pytestmark = pytest.mark.slow

INFERENCE = """
import os
import joblib

def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))

def predict_fn(data, model):
    return model.predict_proba(data)
"""

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])


@pytest.fixture(scope="module")
def model():
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))


async def start(host: ProcessHost, directory: Path, model, code: str | None):
    import joblib

    source = directory / "source"
    source.mkdir()
    joblib.dump(model, source / "model.joblib")
    if code is not None:
        (source / "code").mkdir()
        (source / "code" / "inference.py").write_text(code)
    with tarfile.open(directory / "model.tar.gz", "w:gz") as tar:
        tar.add(source, ".")

    async def no_store(url: str, path: Path) -> None:
        raise AssertionError(url)

    url = (directory / "model.tar.gz").as_uri()
    model_dir = await prepare(url, no_store, directory / "models", HostingSettings())
    started = await host.start(InstanceSpec("i", "e", "v", ModelServer(), model_dir))
    for _ in range(600):
        if await ping(started.host, started.port, started.ping_path, 2.0):
            return started
        await asyncio.sleep(0.05)
    raise AssertionError("the instance did not become healthy")


async def invoke(started, body: bytes, *headers: str) -> tuple[bytes, bytes]:
    reader, writer = await asyncio.open_connection(started.host, started.port)
    head = ["POST /invocations HTTP/1.1", "Connection: close", f"Content-Length: {len(body)}"]
    writer.write("\r\n".join([*head, *headers, "", ""]).encode() + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head_of_answer, _, body_of_answer = answer.partition(b"\r\n\r\n")
    return head_of_answer, body_of_answer


@pytest.fixture
async def host(tmp_path, request):
    import os

    host = ProcessHost(tmp_path, HostingSettings(), os.environ, pack(tmp_path / "serving"))
    yield host
    await host.stop("i")
    await host.close()


async def test_an_archive_without_code(host, tmp_path, model):
    started = await start(host, tmp_path, model, None)

    _, as_json = await invoke(started, json.dumps(ROWS.tolist()).encode())
    head, as_csv = await invoke(
        started, b"5.1,3.5,1.4,0.2\n", "Content-Type: text/csv", "Accept: text/csv"
    )
    _, of_one = await invoke(started, b"[5.1, 3.5, 1.4, 0.2]")

    assert json.loads(as_json) == model.predict(ROWS).tolist()
    assert as_csv == b"0\n"
    assert b"Content-Type: text/csv" in head
    assert json.loads(of_one) == [0]


async def test_an_archive_with_code(host, tmp_path, model):
    started = await start(host, tmp_path, model, INFERENCE)

    _, answer = await invoke(started, json.dumps(ROWS.tolist()).encode())
    _, refused = await invoke(started, b'[["a"]]')

    assert np.allclose(json.loads(answer), model.predict_proba(ROWS))
    assert b"in predict_fn" in refused
