"""`gnomon up`: owns the listening sockets, starts the processes, restarts whichever dies.

A router's death resets no waiting connection, since the sockets are here. On SIGTERM, SIGINT or
`gnomon down` everything ends in order: routers answer what they have, the collector empties the
spool, control stops the instances.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import IO

import httpx
import psutil
import structlog

from gnomon import settings as settings_module
from gnomon.app.child import VARIABLE, Hand
from gnomon.app.restarts import restart_delay_s
from gnomon.cli import running as running_file
from gnomon.cli.running import Process, Running
from gnomon.errors import DataDirectoryError, GnomonError, SettingsError
from gnomon.hosting import servers
from gnomon.model.layout import Layout
from gnomon.settings import Settings, cores
from gnomon.store.database import sqlite_url
from gnomon.store.migrate import migrate

_BACKLOG = 1024
# How long each kind of process may take to end in order before it is killed, in seconds.
_ROUTER_END_S = 75.0
_COLLECTOR_END_S = 40.0
_CONTROL_END_S = 45.0
_REAP_INTERVAL_S = 1.0
# How long `up` waits for the endpoints of a former life to answer before it says that it is up.
_ENDPOINTS_LIMIT_S = 30.0
_LOOK_S = 0.05
# A process that died so often before everything answered will not come up, in deaths.
_HOPELESS_DEATHS = 5
# Linux's bound on the path of a Unix socket, in bytes (unix(7)), without the closing zero.
_MAX_SOCKET_PATH_BYTES = 107
_PR_SET_CHILD_SUBREAPER = 36

_LOG = structlog.get_logger(__name__)


class NotComingUp(GnomonError):
    """A process of Gnomon's dies again and again at its start."""


@dataclass
class Child:
    """One process that is kept running; `deaths` are the monotonic times of its last ones."""

    name: str
    module: str
    slot: int = 0
    listener: int = -1
    process: asyncio.subprocess.Process | None = None
    lifetime: int = -1
    deaths: list[float] = field(default_factory=list)


class Supervisor:
    """One life of one Gnomon."""

    def __init__(self, settings: Settings, ready: Callable[[Running], None]) -> None:
        self._settings = settings
        self._layout = Layout(settings.data_dir)
        self._ready = ready
        self._ending = asyncio.Event()
        self._announced = False
        self._hopeless = ""
        self._children: list[Child] = []
        self._keepers: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until it is told to end. DataDirectoryError or SettingsError if it cannot begin."""
        refuse_beyond_loopback(self._settings.server.host)
        servers.check(self._settings.hosting.external)
        refuse_long_path(self._layout)
        with hold(self._layout):
            listeners = self._bind()
            try:
                running_file.remove(self._layout.root, os.environ)
                self._make_directories()
                await migrate("state", sqlite_url(self._layout.state_file))
                await migrate("telemetry", sqlite_url(self._layout.telemetry_file))
                await self._live(*listeners)
            finally:
                running_file.remove(self._layout.root, os.environ)
                for listener in listeners:
                    listener.close()
        if self._hopeless:
            raise NotComingUp(
                f"Gnomon's {self._hopeless} died {_HOPELESS_DEATHS} times before it was up. What "
                "it said is above."
            )

    async def _live(self, routers: socket.socket, control: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        _become_subreaper()
        server = replace(
            self._settings.server,
            port=routers.getsockname()[1],
            control_port=control.getsockname()[1],
        )
        self._settings = replace(self._settings, server=server)
        self._children = [
            Child("control", "gnomon.app.control", listener=control.fileno()),
            Child("collector", "gnomon.app.collector"),
            *(
                Child(f"router {slot}", "gnomon.app.router", slot, routers.fileno())
                for slot in range(self._settings.server.routers or max(1, cores() // 4))
            ),
        ]
        reaping = asyncio.create_task(self._reap())
        try:
            for child in self._children:
                await self._spawn(child)
                self._keepers[child.name] = asyncio.create_task(self._keep(child))
            await self._announce()
            await self._ending.wait()
        finally:
            self._ending.set()
            # New connections are refused once the routers' own copies are closed, too.
            routers.close()
            await self._end()
            reaping.cancel()

    async def _announce(self) -> None:
        """Says what runs as soon as the whole of it answers."""
        began_s = asyncio.get_running_loop().time()
        while not self._ending.is_set():
            waited_s = asyncio.get_running_loop().time() - began_s
            found = await endpoints(self._settings.server.host, self._settings.server.port)
            if found is not None and (all(found) or waited_s > _ENDPOINTS_LIMIT_S):
                break
            await asyncio.sleep(_LOOK_S)
        running = self._describe()
        running_file.write(running, os.environ)
        self._announced = True
        if not self._ending.is_set():
            self._ready(running)

    def _describe(self) -> Running:
        server = self._settings.server
        return Running(
            url=f"http://{server.host}:{server.port}",
            control_url=f"http://{server.host}:{server.control_port}",
            pid=os.getpid(),
            region=self._settings.aws.region,
            account_id=self._settings.aws.account_id,
            data_dir=str(self._settings.data_dir),
            version=version("gnomon"),
            processes=tuple(
                Process(child.name, child.process.pid) for child in self._children if child.process
            ),
        )

    async def _spawn(self, child: Child) -> None:
        reading, writing = os.pipe()
        hand = Hand(
            settings=settings_module.encode(self._settings),
            lifetime=reading,
            listener=child.listener,
            slot=child.slot,
        )
        descriptors = (reading,) if child.listener < 0 else (reading, child.listener)
        try:
            child.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                child.module,
                pass_fds=descriptors,
                env={**os.environ, VARIABLE: hand.encode()},
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(reading)
        child.lifetime = writing

    async def _keep(self, child: Child) -> None:
        """Restarts the process whenever it dies, until everything ends."""
        loop = asyncio.get_running_loop()
        while True:
            assert child.process is not None, "a kept process has been started"
            status = await child.process.wait()
            os.close(child.lifetime)
            if self._ending.is_set():
                return
            child.deaths = [*child.deaths, loop.time()][-10:]
            if not self._announced and len(child.deaths) >= _HOPELESS_DEATHS:
                self._hopeless = child.name
                self._ending.set()
                return
            delay_s = restart_delay_s(child.deaths)
            _LOG.error("a process died", process=child.name, status=status, restart_in_s=delay_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), delay_s)
                return
            await self._spawn(child)
            if self._announced:
                running_file.write(self._describe(), os.environ)

    async def _end(self) -> None:
        by_kind = {
            "router": _ROUTER_END_S,
            "collector": _COLLECTOR_END_S,
            "control": _CONTROL_END_S,
        }
        for kind, limit_s in by_kind.items():
            ending = [child for child in self._children if child.name.split()[0] == kind]
            await asyncio.gather(*(self._end_one(child, limit_s) for child in ending))

    async def _end_one(self, child: Child, limit_s: float) -> None:
        keeper = self._keepers.get(child.name)
        if child.process is None or keeper is None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.process.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(keeper), limit_s)
        except TimeoutError:
            _LOG.error("a process did not end in time and is killed", process=child.name)
            child.process.kill()
            await keeper

    async def _reap(self) -> None:
        """Takes the exit of processes that were left to this one: instances outlive control."""
        own = psutil.Process()
        while True:
            await asyncio.sleep(_REAP_INTERVAL_S)
            mine = {child.process.pid for child in self._children if child.process}
            for process in own.children():
                with contextlib.suppress(psutil.Error, ChildProcessError):
                    if process.pid not in mine and process.status() == psutil.STATUS_ZOMBIE:
                        os.waitpid(process.pid, os.WNOHANG)  # noqa: ASYNC222 - it does not wait

    def _bind(self) -> tuple[socket.socket, socket.socket]:
        server = self._settings.server
        routers = _listen(server.host, server.port, "port")
        try:
            return routers, _listen(server.host, server.control_port, "control-port")
        except SettingsError:
            routers.close()
            raise

    def _make_directories(self) -> None:
        layout = self._layout
        for path in (
            layout.spool,
            layout.objects,
            layout.models,
            layout.logs,
            layout.snapshot(0).parent,
        ):
            path.mkdir(parents=True, exist_ok=True)


def refuse_beyond_loopback(host: str) -> None:
    """Raises SettingsError for an address that other machines could reach."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise SettingsError(
            f"Gnomon listens on loopback only, since it has no authentication yet: use "
            f"127.0.0.1 instead of {host}."
        )


def refuse_long_path(layout: Layout) -> None:
    """Raises DataDirectoryError where the feed's socket could not be made for its path's length."""
    excess = len(os.fsencode(layout.feed_socket)) - _MAX_SOCKET_PATH_BYTES
    if excess > 0:
        raise DataDirectoryError(
            f"The path {layout.root} is {excess} bytes too long for a socket in it. Name another "
            "directory with --data-dir."
        )


@contextlib.contextmanager
def hold(layout: Layout) -> Iterator[None]:
    """Holds the data directory: made if need be, and nobody else's while this lasts."""
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        file = layout.supervisor_lock.open("a+")
    except OSError as error:
        raise DataDirectoryError(
            f"The data directory {layout.root} cannot be used: {error.strerror}. Name another "
            "with --data-dir."
        ) from error
    with file:
        _take(file, layout.root)
        yield


def _take(file: IO[str], root: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataDirectoryError(
            f"Another Gnomon runs on the data directory {root}. End it with `gnomon down`, or "
            "name another directory with --data-dir."
        ) from None


def _listen(host: str, port: int, option: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"Gnomon cannot listen on {host}:{port}: {error.strerror}. Name another port with "
            f"--{option} (0 takes any that is free)."
        ) from error
    listener.setblocking(False)
    return listener


def _become_subreaper() -> None:
    # Instances whose control has died become this process's children, so that their exit is seen.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def endpoints(host: str, port: int) -> list[bool] | None:
    """Of each endpoint in service, whether it can answer; None while control does not answer.

    Asked through a router: then everything between them works.
    """
    url = f"http://{host}:{port}/gnomon/v1/status"
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
            answer = await client.get(url)
            answer.raise_for_status()
    except httpx.HTTPError:
        return None
    found = answer.json()["endpoints"]
    return [endpoint["answers"] for endpoint in found if endpoint["status"] == "InService"]
