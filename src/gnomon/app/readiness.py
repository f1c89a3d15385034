"""Whether a Gnomon that comes up can answer: asked as its clients will."""

from __future__ import annotations

import httpx


async def readiness(url: str, routers: set[int]) -> bool | None:
    """Whether these routers (pids) and every endpoint in service can answer.

    None while control does not answer. Asked through a router: then everything between them works.
    """
    # Who answers is known without a certificate: the socket is this process's own.
    try:
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=2.0) as client:  # noqa: S501 - as said
            answer = await client.get(f"{url}/gnomon/v1/status")
            answer.raise_for_status()
    except httpx.HTTPError:
        return None
    found = answer.json()
    # Until it has asked control, a router knows only what there was in a former life.
    return routers <= {router["pid"] for router in found["routers"]} and all(
        endpoint["answers"] for endpoint in found["endpoints"] if endpoint["status"] == "InService"
    )
