"""Calls of the public API below /gnomon/v1: what commands show comes from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gnomon.cli.running import Running
from gnomon.cli.trust import trust
from gnomon.errors import GnomonError

if TYPE_CHECKING:
    import httpx

# A local answer takes milliseconds, a long report seconds.
_TIME_LIMIT_S = 30.0


class CallFailed(GnomonError):
    """Gnomon did not answer, or refused."""


def get(running: Running, path: str) -> Any:
    """The JSON at `path`. Raises CallFailed with the sentence that Gnomon gave."""
    return _call(running, "GET", path, None)


def put(running: Running, path: str, body: object) -> Any:
    """Puts JSON at `path`, and gives what is answered. Raises CallFailed likewise."""
    return _call(running, "PUT", path, body)


def _call(running: Running, method: str, path: str, body: object) -> Any:
    import httpx

    try:
        with httpx.Client(
            timeout=_TIME_LIMIT_S,
            trust_env=False,
            verify=trust(running) if running.certificate_file else True,
        ) as client:
            answer = client.request(method, f"{running.url}/gnomon/v1{path}", json=body)
    except httpx.HTTPError as error:
        raise CallFailed(
            f"Gnomon does not answer at {running.url} ({error}). `gnomon status` shows its "
            "processes; their log is where `gnomon up` runs."
        ) from error
    if answer.status_code != httpx.codes.OK:
        raise CallFailed(_sentence(answer))
    return answer.json()


def _sentence(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        # Control's word, or a router's that could not reach control.
        return str(body["error"] if "error" in body else body["Message"])
    except (ValueError, KeyError, TypeError):
        return f"Gnomon answered {answer.status_code}."
