"""A stand-in for AWS KMS: its wire over local keys. Other than KMS it forgets nothing at a fault.

Protocol: AWS JSON 1.1, operations GenerateDataKey and Decrypt of the service model `kms`. Who asks
is believed: signatures are not verified.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Container, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gnomon.objects.keys import KeyUnusable
from gnomon.objects.local_keys import LocalKeys

# What our sentences are in KMS's words.
_CODES = {
    "it does not exist": "NotFoundException",
    "it is disabled": "DisabledException",
    "the data key": "InvalidCiphertextException",
    "it is not one": "InvalidCiphertextException",
    "User is not": "AccessDeniedException",
}
_DENIED = "User is not authorized:"
_POLL_S = 0.01


@contextlib.contextmanager
def fake_kms(keys: LocalKeys, callers: Container[str] | None = None) -> Iterator[str]:
    """Serves `keys` and gives the endpoint. `callers` are the access key ids that may use them; by
    default any may.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            request = json.loads(self.rfile.read(length))
            operation = self.headers["X-Amz-Target"].removeprefix("TrentService.")
            status, answer = 200, {}
            caller = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
            try:
                if callers is not None and caller not in callers:
                    raise KeyUnusable("asked for", f"{_DENIED} {caller}")
                answer = _answer(keys, operation, request)
            except KeyUnusable as error:
                code = next(code for said, code in _CODES.items() if error.reason.startswith(said))
                status, answer = 400, {"__type": code, "message": error.reason}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _answer(keys: LocalKeys, operation: str, request: dict[str, Any]) -> dict[str, str]:
    context = request["EncryptionContext"]
    if operation == "GenerateDataKey":
        made = keys.data_key(request["KeyId"], context)
        return {
            "Plaintext": base64.b64encode(made.plain).decode(),
            "CiphertextBlob": base64.b64encode(made.wrapped).decode(),
        }
    assert operation == "Decrypt", operation
    plain = keys.unwrap(base64.b64decode(request["CiphertextBlob"]), context)
    return {"Plaintext": base64.b64encode(plain).decode()}
