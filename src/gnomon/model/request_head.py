"""The header lines that every request to an instance begins with, a router's or control's. Pure."""

from __future__ import annotations

from collections.abc import Sequence

# HTTP's own port (RFC 9110, 4.2.1): clients leave it out of Host, and some servers compare.
_HTTP_PORT = 80


def header_lines(host: str, port: int, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Host and `headers`, each line with its end. A Host among the headers takes the place of ours.

    That is how a server behind a gateway that chooses by name is reached at the gateway's address.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    if not any(name.lower() == "host" for name, _ in headers):
        lines.insert(0, f"Host: {authority(host, port)}\r\n")
    return "".join(lines).encode("latin-1")


def authority(host: str, port: int) -> str:
    """`host:port` as a URL has it (RFC 3986, 3.2)."""
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port == _HTTP_PORT else f"{bracketed}:{port}"
