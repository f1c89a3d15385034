"""Servers that run already and answer for an image: what `[hosting.external]` says, checked.

Who takes which of the URLs is the host's matter (`gnomon.hosting.external`). What could let one
header end another's line, or break the framing of a request, is refused here, once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from gnomon.errors import SettingsError
from gnomon.settings import ExternalSettings

_HTTP_PORT = 80

# Path characters of RFC 3986, and a query: what can stand in a request line.
_PATH = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*")
_HOST = re.compile(r"[A-Za-z0-9\-._]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
# A token and a field value of RFC 9110, without the obsolete bytes beyond ASCII.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_HEADER_VALUE = re.compile(r"[!-~]([ \t!-~]*[!-~])?|")

# The router's own: they say where a request ends, what becomes of the connection, and whose it is.
_RESERVED = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-gnomon-event-id",
        "x-gnomon-shadow",
    }
)


@dataclass(frozen=True)
class Server:
    """One server: `base` is the path that stands before every other, without a slash at its end."""

    url: str
    host: str
    port: int
    base: str


@dataclass(frozen=True)
class External:
    """Servers that Gnomon neither starts nor stops; each instance is one of them.

    `name` is where the settings say so, for messages.
    """

    name: str
    servers: tuple[Server, ...]
    ping_path: str
    invocation_path: str
    headers: tuple[tuple[str, str], ...]
    keep_alive_s: float


def external_of(pattern: str, settings: ExternalSettings) -> External:
    """The servers for one pattern of the table. Raises SettingsError for what cannot be one's."""
    name = f'hosting.external."{pattern}"'
    if not settings.urls:
        raise SettingsError(
            f"{name} has no urls. Say where the servers answer: "
            'urls = ["http://127.0.0.1:8000"], one for each instance.'
        )
    if settings.keep_alive_s < 0:
        raise SettingsError(f"{name}: keep_alive_s is {settings.keep_alive_s}, which is below 0.")
    servers = tuple(_server(name, url) for url in settings.urls)
    for server in servers:
        if sum((server.host, server.port, server.base) == _place(other) for other in servers) > 1:
            raise SettingsError(
                f"{name}: {server.url} is there twice. Each instance is a server of its own."
            )
    return External(
        name=name,
        servers=servers,
        ping_path=_path(name, "health", settings.health),
        invocation_path=_path(name, "invocations", settings.invocations),
        headers=_headers(name, settings.headers),
        keep_alive_s=settings.keep_alive_s,
    )


def check(table: Mapping[str, ExternalSettings]) -> None:
    """Raises SettingsError if anything in `[hosting.external]` cannot be used."""
    for pattern, settings in table.items():
        external_of(pattern, settings)


def _place(server: Server) -> tuple[str, int, str]:
    return server.host, server.port, server.base


def _server(name: str, url: str) -> Server:
    if "@" in url:
        # Not shown: there is a password in it, most likely.
        raise SettingsError(
            f"{name}: a URL has a user in it; give an Authorization under headers instead."
        )
    try:
        parts = urlsplit(url)
        port = _HTTP_PORT if parts.port is None else parts.port
    except ValueError as error:
        raise SettingsError(f"{name}: {url!r} is not a URL: {error}.") from error
    obstacle = _obstacle(url, parts)
    if obstacle:
        raise SettingsError(f"{name}: {url!r} cannot be used: {obstacle}.")
    return Server(url, parts.hostname or "", port, parts.path.rstrip("/"))


def _obstacle(url: str, parts: SplitResult) -> str:
    if parts.scheme == "https":
        return (
            "Gnomon speaks plain HTTP to servers, not https yet. Put a proxy that does (nginx, "
            "stunnel) beside it, and name the proxy's http:// address"
        )
    if parts.scheme != "http":
        return "it must begin with http://"
    # urlsplit takes line ends and tabs away without a word.
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or re.search(r"\s", url):
        return "it names no host"
    if parts.port == 0:
        return "nothing can answer on port 0"
    if "?" in url or "#" in url:
        return "it has more than a host, a port and a path"
    if parts.path and not _PATH.fullmatch(parts.path):
        return "its path has characters that must be percent-encoded"
    return ""


def _path(name: str, setting: str, path: str) -> str:
    if not _PATH.fullmatch(path):
        raise SettingsError(
            f"{name}: {setting} is {path!r} and must be a path: a slash first, and characters "
            "that no URL allows percent-encoded."
        )
    return path


def _headers(name: str, headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    seen: set[str] = set()
    for header, value in headers.items():
        if not _HEADER_NAME.fullmatch(header):
            raise SettingsError(f"{name}: {header!r} is not the name of a header.")
        if header.lower() in _RESERVED:
            raise SettingsError(f"{name}: the header {header} is set by Gnomon itself.")
        if header.lower() in seen:
            raise SettingsError(f"{name}: the header {header} is there twice.")
        if not _HEADER_VALUE.fullmatch(value):
            # Not shown: it may be a secret.
            raise SettingsError(
                f"{name}: the value of the header {header} has characters that a header may not "
                "have: line ends, spaces around it, or letters beyond ASCII."
            )
        seen.add(header.lower())
    return tuple(headers.items())
