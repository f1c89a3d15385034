"""What an S3 store is asked, where no store here would answer: SSE-KMS, session tokens."""

import asyncio
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gnomon.objects.store import Credentials, ObjectStoreFailed
from gnomon.objects.stores import S3Objects

KEY = "arn:aws:kms:us-east-1:000000000000:key/1"


@pytest.fixture
def requests():
    """A server that accepts whatever is put, and keeps what it was asked."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, dict(self.headers.items()), body))
            denied = b"<Error><Code>KMS.DisabledException</Code><Message>off</Message></Error>"
            answer = denied if "disabled" in self.headers.get(KMS_KEY, "") else b""
            self.send_response(400 if answer else 200)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


KMS_KEY = "x-amz-server-side-encryption-aws-kms-key-id"


def store(endpoint, token=""):
    return S3Objects(endpoint, "eu-west-1", lambda: Credentials("a", "b", token), path_style=True)


async def test_an_object_under_a_key_asks_the_store_for_sse_kms(requests):
    endpoint, seen = requests
    await store(endpoint).put_encrypted("s3://bucket/a/b", b"data", KEY)
    ((path, headers, body),) = seen
    assert (path, body) == ("/bucket/a/b", b"data")
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers[KMS_KEY] == KEY
    assert "/eu-west-1/s3/aws4_request" in headers["authorization"]


async def test_an_object_without_a_key_asks_for_nothing_of_the_kind(requests):
    endpoint, seen = requests
    objects = store(endpoint, token="of-a-role")
    await objects.put_encrypted("s3://bucket/a", b"x", KEY)
    await objects.put("s3://bucket/a", b"x")
    assert KMS_KEY not in seen[1][1]
    assert seen[1][1]["x-amz-security-token"] == "of-a-role"


async def test_a_key_that_the_store_refuses_is_said_in_its_words(requests):
    endpoint, _ = requests
    with pytest.raises(ObjectStoreFailed, match=r"KMS\.DisabledException: off"):
        await store(endpoint).put_encrypted("s3://bucket/a", b"x", "alias/disabled")


async def test_what_the_environment_says_of_other_stores_is_not_mixed_in(requests, monkeypatch):
    endpoint, seen = requests
    for name, value in {
        "AWS_SESSION_TOKEN": "of-other-credentials",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_SERVER_SIDE_ENCRYPTION": "aws:kms",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    await store(endpoint).put("s3://bucket/a", b"x")
    ((_, headers, _),) = seen
    assert "x-amz-security-token" not in headers
    assert "x-amz-server-side-encryption" not in headers
    assert os.environ["AWS_SESSION_TOKEN"] == "of-other-credentials"


async def test_credentials_that_are_waited_for_hold_up_no_other_store(requests):
    endpoint, seen = requests
    asked, given = threading.Event(), threading.Event()

    def late():
        asked.set()
        assert given.wait(30)
        return Credentials("a", "b")

    waits = S3Objects(endpoint, "eu-west-1", late, path_style=True)
    waiting = asyncio.create_task(waits.put("s3://bucket/late", b"x"))
    try:
        assert await asyncio.to_thread(asked.wait, 20)
        async with asyncio.timeout(20):
            await store(endpoint).put("s3://bucket/a", b"x")
    finally:
        given.set()
        await waiting
    assert [path for path, *_ in seen] == ["/bucket/a", "/bucket/late"]


async def test_a_store_that_is_away_fails_within_seconds():
    with pytest.raises(ObjectStoreFailed, match="s3://bucket/a"):
        await store("http://127.0.0.1:1").put("s3://bucket/a", b"x")
