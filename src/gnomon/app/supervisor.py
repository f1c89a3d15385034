"""`gnomon up`: owns the routers' socket, starts the processes, restarts whichever dies or hangs.

A router's death resets no waiting connection, since the socket is here. On SIGTERM, SIGINT or
`gnomon down` everything ends in order: routers answer what they have, the collector empties the
spool, control stops the instances. What control could not stop is stopped here.

Where a supervisor was killed, its routers serve on. The next one takes their socket, starts routers
of its own on it, and ends the former ones when these answer. `gnomon restart` is the same, on
purpose: the process becomes a new supervisor by exec. A life that does not come up leaves routers
and instances of the former one as they were.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version

import psutil
import structlog

from gnomon.app import certificate as certificates
from gnomon.app import descriptors, directory, handover, listening, seaweedfs
from gnomon.app.child import KEY_BYTES
from gnomon.app.children import Child
from gnomon.app.heartbeat import BEAT_INTERVAL_S
from gnomon.app.readiness import readiness
from gnomon.app.restarts import MAX_DELAY_S, restart_delay_s
from gnomon.cli import former
from gnomon.cli import running as running_file
from gnomon.cli.ending import RESTART_SIGNAL
from gnomon.cli.running import Process, Running
from gnomon.cli.time_limits import time_limits
from gnomon.collector.comparator import functions_named
from gnomon.errors import GnomonError, exhaustion
from gnomon.hosting import leftovers, servers
from gnomon.model.analysis import default_settings
from gnomon.model.layout import Layout
from gnomon.objects import opening
from gnomon.settings import Settings, cores

_REAP_INTERVAL_S = 1.0
# How long `up` waits for the endpoints of a former life to answer before it says that it is up.
_ENDPOINTS_LIMIT_S = 30.0
_LOOK_S = 0.05
# A process that died so often before everything answered will not come up, in deaths.
_HOPELESS_DEATHS = 5
_PR_SET_CHILD_SUBREAPER = 36

_LOG = structlog.get_logger(__name__)


class NotComingUp(GnomonError):
    """A process of Gnomon's dies again and again at its start."""


class NotEnded(GnomonError):
    """Something could not be ended."""


class Supervisor:
    """One life of one Gnomon."""

    def __init__(self, settings: Settings, ready: Callable[[Running], None]) -> None:
        self._settings = settings
        self._layout = Layout(settings.data_dir)
        self._certificate = certificates.files(settings)
        self._limits = time_limits(settings)
        self._ready = ready
        self._ending = asyncio.Event()
        self._announced = False
        self._is_noted = True
        self._hopeless = ""
        self._left: list[str] = []
        self._children: list[Child] = []
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._key = os.urandom(KEY_BYTES)
        # Routers of a former life, until those of this one answer.
        self._former: list[Process] = []
        self._taken: handover.Taken | None = None
        self._relieving: asyncio.Task[None] | None = None
        self._is_told_to_end = False

    async def run(self) -> None:
        """Until it is told to end.

        Raises DataDirectoryError or SettingsError if it cannot begin, NotComingUp or NotEnded at
        its end.
        """
        listening.refuse_beyond_loopback(self._settings.server.host)
        servers.check(self._settings.hosting.external)
        functions_named(self._settings.analysis)
        default_settings(self._settings.analysis)
        opening.check(self._settings)
        if self._certificate is not None:
            certificates.load(self._certificate)
        with running_file.hold(self._layout):
            running_file.remove(self._layout.root, os.environ)
            self._taken = await self._end_former_life()
            try:
                sockets = listening.open_sockets(
                    self._settings.server, self._taken.listener if self._taken else None
                )
            except listening.CannotListen as error:
                holder = running_file.listening_on(error.port, os.environ)
                raise error.held_by(holder) from error
            try:
                self._place_store()
                await directory.prepare(self._layout)
                await self._live(*sockets)
            finally:
                running_file.remove(self._layout.root, os.environ)
                for opened in sockets:
                    opened.close()
        if self._left:
            raise NotEnded(f"These could not be ended: {', '.join(self._left)}.")
        if self._hopeless:
            serving = " Routers and instances of the former life serve on." if self._former else ""
            raise NotComingUp(
                f"Gnomon's {self._hopeless} died {_HOPELESS_DEATHS} times before it was up. What "
                f"it said is above.{serving}"
            )

    def _place_store(self) -> None:
        if self._settings.objects.store == "seaweedfs":
            objects = seaweedfs.placed(self._settings.objects, os.environ)
            self._settings = replace(self._settings, objects=objects)

    async def _end_former_life(self) -> handover.Taken | None:
        """Ends what a former supervisor has left, but for routers that hand their socket over."""
        root = self._layout.root
        found = former.left(root)
        for stale in {*self._layout.handover_sockets} - {
            self._layout.handover_socket(process.pid) for process in found
        }:
            stale.unlink(missing_ok=True)
        if not found:
            return None
        names = [f"{process.name} {process.pid}" for process in found]
        _LOG.warning("following a former life", processes=names)
        routers = [process for process in found if former.is_router(process)]
        places = [self._layout.handover_socket(router.pid) for router in routers]
        server = self._settings.server
        taken = await asyncio.to_thread(handover.take, places, server.host, server.port)
        if taken is not None:
            self._former = routers
        ending = [process for process in found if process not in self._former]
        left = await asyncio.to_thread(former.end, ending, self._limits.router_s)
        if left:
            raise NotEnded(
                f"A former life's {left[0].name} (process {left[0].pid}) cannot be ended."
            )
        former.record(root, self._former)
        return taken

    async def _end_former_routers(self) -> None:
        """Those of this life answer now: the former ones finish what they have."""
        if self._former:
            left = await asyncio.to_thread(former.end, self._former, self._limits.router_s)
            self._left = [f"{process.name} (process {process.pid})" for process in left]
            self._former = left
            self._note()
        if self._taken is not None:
            self._taken.release()

    async def _live(self, routers: socket.socket, control: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_end)
        loop.add_signal_handler(RESTART_SIGNAL, self._restart)
        _become_subreaper()
        server = replace(
            self._settings.server,
            port=routers.getsockname()[1],
            control_port=control.getsockname()[1],
        )
        self._settings = replace(self._settings, server=server)
        stores = (
            [Child(former.STORE, "gnomon.app.seaweedfs")]
            if self._settings.objects.store == "seaweedfs"
            else []
        )
        self._children = [
            *stores,
            # Its socket only reserves the port: control listens by itself.
            Child("control", "gnomon.app.control"),
            Child("collector", "gnomon.app.collector"),
            *(
                Child(f"router {slot}", "gnomon.app.router", slot, routers.fileno())
                for slot in range(self._settings.server.routers or max(1, cores() // 4))
            ),
        ]
        loop.set_exception_handler(descriptors.handle)
        works = (self._reap, self._listen, descriptors.watch)
        watching = [asyncio.create_task(work()) for work in works]
        try:
            for child in self._children:
                await self._spawn(child)
                self._keepers[child.name] = asyncio.create_task(self._keep(child))
                if child.is_store and not await seaweedfs.answers(self._settings.objects.endpoint):
                    # What needs it tries again.
                    _LOG.error("the S3 server does not answer", log=str(self._layout.seaweedfs_log))
            await self._announce()
            if self._announced:
                self._relieving = asyncio.create_task(self._end_former_routers())
            await self._ending.wait()
        finally:
            self._ending.set()
            # New connections are refused once the routers' own copies are closed, too.
            routers.close()
            # Production is the former life's as long as this one has not come up.
            await self._end(gives_way=bool(self._former) and not self._is_told_to_end)
            for task in watching:
                task.cancel()

    def _told_to_end(self) -> None:
        self._is_told_to_end = True
        self._ending.set()

    def _restart(self) -> None:
        """Becomes a new supervisor: all that is open here closes, as if this one had been killed.

        Nothing is unwound before, since what this one started is to go on.
        """
        if self._ending.is_set():
            return
        _LOG.info("beginning anew")
        running_file.remove(self._layout.root, os.environ)
        try:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
        except OSError as error:
            _LOG.exception("could not begin anew", reason=error.strerror)
            running_file.write(self._describe(), os.environ)

    async def _announce(self) -> None:
        """Says what runs as soon as the whole of it answers."""
        began_s = asyncio.get_running_loop().time()
        while not self._ending.is_set():
            waited_s = asyncio.get_running_loop().time() - began_s
            found = await readiness(self._describe().url, self._router_pids())
            # Control has just told the routers what it says; they take milliseconds to apply it.
            await asyncio.sleep(_LOOK_S)
            if found is not None and (found or waited_s > _ENDPOINTS_LIMIT_S):
                break
        if self._ending.is_set():
            return
        running = self._describe()
        running_file.write(running, os.environ)
        self._announced = True
        self._ready(running)

    def _describe(self) -> Running:
        server, tls = self._settings.server, self._settings.tls
        pair = self._certificate
        has_tls = pair is not None
        return Running(
            url=listening.url(server.host, server.port, has_tls=has_tls),
            control_url=listening.url(server.host, server.control_port, has_tls=has_tls),
            pid=os.getpid(),
            region=self._settings.aws.region,
            account_id=self._settings.aws.account_id,
            data_dir=str(self._settings.data_dir),
            version=version("gnomon"),
            end_time_limit_s=self._limits.all_s,
            processes=tuple(child.identity for child in self._children if child.identity),
            s3_url=self._settings.objects.endpoint if self._has_store() else "",
            certificate_file=str(pair.certificate) if pair else "",
            ca_file=str(self._settings.data_dir / tls.ca_file) if pair and tls.ca_file else "",
        )

    def _has_store(self) -> bool:
        return any(child.is_store for child in self._children)

    def _router_pids(self) -> set[int]:
        return {child.process.pid for child in self._children if child.is_router and child.process}

    def _processes(self) -> tuple[Process, ...]:
        """All that was started and is not known to have ended, former routers too."""
        return (*(child.identity for child in self._children if child.identity), *self._former)

    def _note(self) -> None:
        """Writes down what runs, for commands and for the next life; on a full disk, later."""
        try:
            former.record(self._layout.root, self._processes())
            if self._announced:
                running_file.write(self._describe(), os.environ)
        except OSError as error:
            if self._is_noted:
                _LOG.warning("what runs is not noted; it is tried again", reason=str(error))
            self._is_noted = False
        else:
            self._is_noted = True

    async def _spawn(self, child: Child) -> None:
        """Starts the process. Raises OSError; then nothing of it is left."""
        try:
            await self._start(child)
        except OSError:
            # Without its key, one that did start ends by itself.
            child.hang_up()
            raise

    async def _start(self, child: Child) -> None:
        await child.start(self._settings, relieves=bool(self._former))
        self._note()
        # It is noted now, and may begin: nothing runs that the next life does not know. On a full
        # disk it is noted later: traffic needs it now.
        child.let_begin(self._key)
        if self._ending.is_set():
            # Whoever ends the processes may have looked before this one was there.
            child.terminate()

    async def _keep(self, child: Child) -> None:
        """Restarts the process whenever it dies, until everything ends."""
        loop = asyncio.get_running_loop()
        while True:
            assert child.process is not None, "a kept process has been started"
            status = await child.process.wait()
            child.hang_up()
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
            if not await self._spawn_patiently(child):
                return

    async def _spawn_patiently(self, child: Child) -> bool:
        """Starts the process as soon as the machine lets it; False if everything ends before."""
        while True:
            try:
                await self._spawn(child)
            except OSError as error:
                reason = str(exhaustion(error) or error)
                _LOG.error("a process cannot be started", process=child.name, reason=reason)
            else:
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), MAX_DELAY_S)
                return False

    async def _end(self, *, gives_way: bool) -> None:
        """Ends all of it; or, giving way to the former life, only what this one has started."""
        former_routers = self._relieving
        if former_routers is None and not gives_way:
            former_routers = asyncio.create_task(self._end_former_routers())
        by_kind = {
            "router": self._limits.router_s,
            "collector": self._limits.collector_s,
            "control": self._limits.control_s,
            # What the others wrote last is in it.
            former.STORE: self._limits.store_s,
        }
        for kind, limit_s in by_kind.items():
            ending = [child for child in self._children if child.name.split()[0] == kind]
            await asyncio.gather(
                *(self._end_one(child, limit_s, gives_way=gives_way) for child in ending)
            )
            if kind == "router" and former_routers is not None:
                await former_routers
        if gives_way:
            former.record(self._layout.root, self._former)
        else:
            await self._end_instances()

    async def _end_instances(self) -> None:
        """Those that control has not stopped: it may have been killed, hung or not yet begun."""
        root = self._layout.root
        limit_s = self._settings.hosting.stop_time_limit_s
        found = await asyncio.to_thread(leftovers.end, root, limit_s)
        if found:
            _LOG.warning("ended instances that control had left", instances=found)
        self._left += leftovers.living(root)
        former.forget(root)

    async def _end_one(self, child: Child, limit_s: float, *, gives_way: bool) -> None:
        keeper = self._keepers.get(child.name)
        if child.process is None or keeper is None:
            return
        if gives_way and not child.is_router and not child.is_store:
            # At a SIGTERM control would stop the instances.
            child.hang_up()
        else:
            child.terminate()
        await asyncio.wait([keeper], timeout=limit_s)
        if not keeper.done():
            _LOG.error("a process did not end in time and is killed", process=child.name)
            child.kill()
            await asyncio.wait([keeper])

    async def _listen(self) -> None:
        """Kills a router whose loop hangs; only this ever does."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(BEAT_INTERVAL_S)
            for child in self._children:
                if child.heartbeat and child.heartbeat.is_silent(loop.time()):
                    _LOG.error("a router hangs and is killed", process=child.name)
                    child.kill()

    async def _reap(self) -> None:
        """Takes the exit of processes that were left to this one: instances outlive control."""
        own = psutil.Process()
        while True:
            await asyncio.sleep(_REAP_INTERVAL_S)
            if not self._is_noted:
                self._note()
            # Without a descriptor nobody can be seen; there is a next time.
            with contextlib.suppress(OSError, psutil.Error):
                self._reap_others(own)

    def _reap_others(self, own: psutil.Process) -> None:
        mine = {child.process.pid for child in self._children if child.process}
        for process in own.children():
            with contextlib.suppress(psutil.Error, ChildProcessError):
                if process.pid not in mine and process.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(process.pid, os.WNOHANG)


def _become_subreaper() -> None:
    # Instances whose control has died become this process's children, so that their exit is seen.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
