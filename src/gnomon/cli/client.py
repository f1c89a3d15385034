"""Calls of the public API below /gnomon/v1: what commands show comes from here."""

from __future__ import annotations

from typing import Any

from gnomon.cli.running import Running
from gnomon.errors import GnomonError

# A local answer takes milliseconds, a long report seconds.
_TIME_LIMIT_S = 30.0


class CallFailed(GnomonError):
    """Gnomon did not answer, or refused."""


def get(running: Running, path: str) -> Any:
    """The JSON at `path`. Raises CallFailed with the sentence that Gnomon gave."""
    import httpx

    try:
        answer = httpx.get(f"{running.url}/gnomon/v1{path}", timeout=_TIME_LIMIT_S, trust_env=False)
    except httpx.HTTPError as error:
        raise CallFailed(
            f"Gnomon does not answer at {running.url} ({error}). `gnomon status` shows its "
            "processes; their log is where `gnomon up` runs."
        ) from error
    if answer.status_code != httpx.codes.OK:
        try:
            sentence = str(answer.json()["error"])
        except (ValueError, KeyError, TypeError):
            sentence = f"Gnomon answered {answer.status_code}."
        raise CallFailed(sentence)
    return answer.json()
