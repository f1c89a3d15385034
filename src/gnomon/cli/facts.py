"""What `gnomon doctor` looks at, gathered without changing anything; judged in `checks`."""

from __future__ import annotations

import importlib.metadata
import os
import re
import resource
import socket
import sqlite3
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from gnomon import settings_reading
from gnomon.cli import running as running_file
from gnomon.cli.client import CallFailed, get
from gnomon.cli.running import Running
from gnomon.collector.comparator import functions_named
from gnomon.errors import SettingsError
from gnomon.model.analysis import default_settings
from gnomon.model.layout import Layout
from gnomon.objects import opening
from gnomon.settings import Settings, cores

Version = tuple[int, ...]

_MINIMUM = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*>=\s*([0-9.]+)$")
_AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Package:
    """A package that Gnomon needs; `found` is None if it is not installed."""

    name: str
    wanted: str
    found: str | None


@dataclass(frozen=True)
class Directory:
    """The data directory, or, where it is not there yet, what it would be made in (`nearest`)."""

    path: Path
    is_there: bool
    nearest: Path
    is_directory: bool
    is_writable: bool
    # Permission bits of the directory itself; None if it is not there.
    mode: int | None
    free_bytes: int
    filesystem: str


@dataclass(frozen=True)
class Port:
    """One that Gnomon listens on. `state`: free, ours (of the Gnomon that runs here), taken."""

    name: str
    address: str
    state: str
    reason: str = ""


@dataclass(frozen=True)
class Service:
    """The Gnomon on the data directory. `state`: none, changing (starts or ends), runs.

    `answer_ms` is None if it does not answer: then `failure` says why.
    """

    state: str
    version: str = ""
    answer_ms: float | None = None
    failure: str = ""


@dataclass(frozen=True)
class ShownCertificate:
    """What the settings name for TLS; `failure` says why it cannot be read, if it cannot."""

    file: Path
    ends_in_days: int = 0
    # Others than the owner can read the key.
    is_key_open: bool = False
    failure: str = ""


@dataclass(frozen=True)
class Facts:
    """Everything that is judged."""

    python: Version
    python_wanted: str
    version: str
    packages: tuple[Package, ...]
    sqlite: Version
    cores: int
    memory_bytes: int
    memory_available_bytes: int
    # Soft and hard; RLIM_INFINITY is -1.
    open_files: tuple[int, int]
    directory: Directory
    min_free_bytes: int
    settings_error: str
    certificate: ShownCertificate | None
    ports: tuple[Port, ...]
    service: Service
    spool_bytes: int
    has_autogroup: bool
    # Controllers that Gnomon could use for its instances; None: no cgroups of version 2.
    cgroup_controllers: tuple[str, ...] | None


def gather(named: Path | None, environ: Mapping[str, str]) -> Facts:
    """The facts about this machine and the data directory that commands would find.

    Raises SeveralRunning, since it cannot be known which is meant.
    """
    running: Running | None = None
    try:
        running = running_file.find(named, environ)
        data_dir = Path(running.data_dir)
    except running_file.NotRunning as error:
        data_dir = error.data_dir.resolve()
    layout = Layout(data_dir)
    settings_error = ""
    try:
        settings = settings_reading.load(data_dir, environ)
        functions_named(settings.analysis)
        default_settings(settings.analysis)
        opening.check(settings)
    except SettingsError as error:
        settings = Settings(data_dir)
        settings_error = str(error)
    memory = psutil.virtual_memory()
    metadata = importlib.metadata.metadata("gnomon")
    return Facts(
        python=sys.version_info[:3],
        python_wanted=(metadata["Requires-Python"] or "").removeprefix(">="),
        version=importlib.metadata.version("gnomon"),
        packages=packages(importlib.metadata.requires("gnomon") or []),
        sqlite=sqlite3.sqlite_version_info,
        cores=cores(),
        memory_bytes=memory.total,
        memory_available_bytes=memory.available,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE),
        directory=_directory(layout),
        min_free_bytes=settings.spool.min_free_bytes,
        settings_error=settings_error,
        certificate=_certificate(settings),
        ports=_ports(settings, running),
        service=_service(layout, running),
        spool_bytes=_size(layout.spool),
        has_autogroup=_read(_AUTOGROUP) == "1",
        cgroup_controllers=_cgroup_controllers(),
    )


def packages(requirements: list[str]) -> tuple[Package, ...]:
    """Those that Gnomon cannot do without (an extra's have a condition), and what is installed."""
    found = []
    for requirement in requirements:
        match = _MINIMUM.match(requirement)
        if match is None:
            continue
        try:
            installed = importlib.metadata.version(match[1])
        except importlib.metadata.PackageNotFoundError:
            installed = None
        found.append(Package(match[1], match[2], installed))
    return tuple(found)


def _directory(layout: Layout) -> Directory:
    path = layout.root
    nearest = path
    # Not Path.exists, which raises where one may not look.
    while not os.path.exists(nearest) and nearest != nearest.parent:  # noqa: PTH110 - as said
        nearest = nearest.parent
    is_there = nearest == path
    usage = os.statvfs(nearest)
    return Directory(
        path=path,
        is_there=is_there,
        nearest=nearest,
        is_directory=nearest.is_dir(),
        is_writable=os.access(nearest, os.W_OK | os.X_OK),
        mode=nearest.stat().st_mode & 0o777 if is_there else None,
        free_bytes=usage.f_bavail * usage.f_frsize,
        filesystem=_filesystem(nearest),
    )


def _filesystem(path: Path) -> str:
    """The type of the file system that a path is in."""
    mounts = {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
    real = path.resolve()
    return next((mounts[above] for above in (real, *real.parents) if above in mounts), "")


def _certificate(settings: Settings) -> ShownCertificate | None:
    from cryptography import x509

    tls = settings.tls
    if not tls.certificate_file:
        return None
    file, key_file = (settings.data_dir / name for name in (tls.certificate_file, tls.key_file))
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        is_key_open = bool(key_file.stat().st_mode & 0o077)
    except OSError as error:
        return ShownCertificate(file, failure=f"{error.filename}: {error.strerror}")
    except ValueError:
        return ShownCertificate(file, failure="it is not in PEM")
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    return ShownCertificate(file, left.days, is_key_open)


def _ports(settings: Settings, running: Running | None) -> tuple[Port, ...]:
    server = settings.server
    wanted = [
        ("port", server.host, server.port),
        ("control-port", server.host, server.control_port),
    ]
    if running is not None:
        # Its own: options of its command line may have named others than the settings.
        urls = (urlsplit(running.url), urlsplit(running.control_url))
        return tuple(
            Port(name, f"{url.hostname}:{url.port}", "ours")
            for (name, _, _), url in zip(wanted, urls, strict=True)
        )
    return tuple(_port(*one) for one in wanted)


def _port(name: str, host: str, port: int) -> Port:
    address = f"{host}:{port}"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except (OSError, OverflowError) as error:
            return Port(name, address, "taken", getattr(error, "strerror", None) or str(error))
    return Port(name, address, "free")


def _service(layout: Layout, running: Running | None) -> Service:
    if running is None:
        return Service("changing" if running_file.is_held(layout) else "none")
    began_s = time.monotonic()
    try:
        get(running, "/status")
    except CallFailed as error:
        return Service("runs", running.version, failure=str(error))
    return Service("runs", running.version, (time.monotonic() - began_s) * 1000)


def _size(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            # Taken over in this moment, or not ours to see.
            continue
    return total


def _cgroup_controllers() -> tuple[str, ...] | None:
    """Controllers of this process's cgroup, if it may make others below it."""
    own = re.search(r"^0::(/.*)$", _read(Path("/proc/self/cgroup")), re.MULTILINE)
    if own is None or not (_CGROUPS / "cgroup.controllers").exists():
        return None
    directory = _CGROUPS / own[1].lstrip("/")
    if not os.access(directory, os.W_OK):
        return ()
    return tuple(_read(directory / "cgroup.controllers").split())


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
