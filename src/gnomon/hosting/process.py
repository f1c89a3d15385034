"""Instances as local processes.

Control's side of `gnomon.hosting.launcher`. All that must survive control is in the instance's
files (`gnomon.hosting.files`); in memory there is only what control alone can know: which of the
instances are its own children, and with what status those ended. Waiting is by pid, not through
`subprocess` or the event loop's child watcher: a leader must stay a zombie, and its pid its own,
until the rest of its session is dead.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gnomon.errors import exhaustion
from gnomon.hosting import cpu_weight, gpu, launcher, memory, usage
from gnomon.hosting.environment import environment_of
from gnomon.hosting.files import InstanceFiles, Launch
from gnomon.hosting.host import (
    Exited,
    InstanceNotStarted,
    InstanceSpec,
    Observation,
    Running,
    Started,
    Usage,
)
from gnomon.hosting.images import Command, ModelServer
from gnomon.hosting.ports import PortPool, can_bind
from gnomon.hosting.servers import External
from gnomon.hosting.session import Leader, is_alive, kill_session, kill_session_of
from gnomon.settings import HostingSettings

_LOOPBACK = "127.0.0.1"

# Connections that wait while a model loads or is busy; the kernel caps it at its own somaxconn.
_BACKLOG = 1024

# How often a stopping instance is looked at: short against any drain, long against what a look
# costs.
_STOP_POLL_S = 0.05

# Gnomon's model server keeps an idle connection 75 s (`gnomon.serving.server`); less, so that a
# request never meets the closing.
_MODEL_SERVER_KEEP_ALIVE_S = 60.0

# Nobody knows how long a foreign server keeps one.
_FOREIGN_KEEP_ALIVE_S = 1.0

# A launcher needs some 20 ms to hold its lock; one that needs longer than this is looked after like
# any instance all the same.
_LAUNCH_PATIENCE_S = 5.0
_LAUNCH_POLL_S = 0.005

# After SIGKILL a session is gone in milliseconds unless the kernel itself hangs.
_KILL_PATIENCE_S = 5.0


class ProcessHost:
    """Implements `gnomon.hosting.host.Host`.

    `archive` is the packed model server (`gnomon.hosting.serving_archive`), `environ` Gnomon's own
    environment. Used from one event loop. Only the spawn leaves the loop; a look at an instance is
    a few system calls.
    """

    def __init__(
        self,
        data_dir: Path,
        settings: HostingSettings,
        environ: Mapping[str, str],
        archive: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._data_dir = data_dir
        self._settings = settings
        self._environ = environ
        self._archive = archive
        self._clock = clock
        self._ports = PortPool(
            range(settings.foreign_port_first, settings.foreign_port_last + 1),
            settings.foreign_port_rest_s,
            clock,
            can_bind,
        )
        # One thread: spawns are short, and one at a time they cannot inherit each other's sockets.
        self._spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
        # A look at every process of the machine takes a while, and one is enough at a time.
        self._looker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="usage")
        # That thread's alone; loaded at its first look.
        self._gpus: gpu.Gpus | None = None
        self._has_asked_for_gpus = False
        self._starting: dict[str, asyncio.Task[Started]] = {}
        self._stopping: dict[str, asyncio.Task[None]] = {}
        # Instances that are not to be waited for any longer while they stop.
        self._hurried: set[str] = set()
        # Instance id to pid, exit status, port of the reserved range.
        self._children: dict[str, int] = {}
        self._statuses: dict[str, int | None] = {}
        self._reserved: dict[str, int] = {}

    async def start(self, spec: InstanceSpec) -> Started:
        task = self._starting.get(spec.instance_id)
        if task is None:
            task = asyncio.create_task(self._start(spec))
            self._starting[spec.instance_id] = task
            task.add_done_callback(lambda _: self._starting.pop(spec.instance_id))
        return await asyncio.shield(task)

    async def observe(self, instance_id: str) -> Observation:
        return Running() if instance_id in self._starting else self._look(instance_id)

    async def over_memory(self, limits: Mapping[str, int]) -> Mapping[str, int]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._looker, self._over_memory, limits)

    async def usage(self, instance_ids: Collection[str]) -> Mapping[str, Usage]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._looker, self._usage, instance_ids)

    def _over_memory(self, limits: Mapping[str, int]) -> dict[str, int]:
        leaders = self._leaders(limits)
        found = memory.over({leader: limits[id_] for leader, id_ in leaders.items()})
        return {leaders[leader]: used for leader, used in found.items()}

    def _usage(self, instance_ids: Collection[str]) -> dict[str, Usage]:
        if not self._has_asked_for_gpus:
            self._has_asked_for_gpus = True
            self._gpus = gpu.load()
        leaders = self._leaders(instance_ids)
        directories = {
            leader: InstanceFiles(self._data_dir, id_).directory for leader, id_ in leaders.items()
        }
        found = usage.of(directories, self._gpus, self._clock())
        return {leaders[leader]: used for leader, used in found.items()}

    def _leaders(self, instance_ids: Collection[str]) -> dict[Leader, str]:
        leaders = {}
        for instance_id in instance_ids:
            leader = InstanceFiles(self._data_dir, instance_id).read_leader()
            if leader is not None:
                leaders[leader] = instance_id
        return leaders

    async def stop(self, instance_id: str, *, at_once: bool = False) -> None:
        if at_once:
            self._hurried.add(instance_id)
        task = self._stopping.get(instance_id)
        if task is None:
            task = asyncio.create_task(self._stop(instance_id))
            self._stopping[instance_id] = task
            task.add_done_callback(lambda _: self._forget_stop(instance_id))
        await asyncio.shield(task)

    async def adopt(self, instance_id: str) -> bool:
        files = InstanceFiles(self._data_dir, instance_id)
        if isinstance(await self.observe(instance_id), Exited):
            with files.locked() as is_ours:
                if is_ours or self._is_over(files):
                    files.bury()
                    return False
            # A launcher came up between the look and the lock.
        launch = files.read_launch()
        if launch is not None and launch.started is not None and launch.is_port_reserved:
            self._ports.reserve(launch.started.port)
            self._reserved[instance_id] = launch.started.port
        return True

    async def close(self) -> None:
        tasks = [*self._starting.values(), *self._stopping.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._spawner.shutdown(wait=True)
        self._looker.shutdown(wait=True)

    # --- Starting -----------------------------------------------------------------------------

    async def _start(self, spec: InstanceSpec) -> Started:
        files = InstanceFiles(self._data_dir, spec.instance_id)
        stopping = self._stopping.get(spec.instance_id)
        if stopping is not None:
            await asyncio.wait([stopping])
        if isinstance(self._look(spec.instance_id), Running):
            # Perhaps the last moment of one that has just died: the next look tells.
            launch = files.read_launch()
            if launch is not None and launch.started is not None:
                return launch.started
            raise InstanceNotStarted(spec.instance_id, "an earlier launch is still ending")
        loop = asyncio.get_running_loop()
        try:
            pid, started = await loop.run_in_executor(self._spawner, self._spawn, spec, files)
        except OSError as error:
            self._release_port(spec.instance_id)
            raise InstanceNotStarted(spec.instance_id, str(exhaustion(error) or error)) from error
        self._children[spec.instance_id] = pid
        self._statuses.pop(spec.instance_id, None)
        await self._wait_for_leader(spec.instance_id, files)
        return started

    async def _wait_for_leader(self, instance_id: str, files: InstanceFiles) -> None:
        """Wait until the launcher holds the lock: from then on a new control would adopt it."""
        launch = files.read_launch()
        deadline_s = self._clock() + _LAUNCH_PATIENCE_S
        while self._clock() < deadline_s and isinstance(self._look(instance_id), Running):
            leader = files.read_leader()
            if leader is not None and launch is not None and leader.token == launch.token:
                return
            await asyncio.sleep(_LAUNCH_POLL_S)

    def _spawn(self, spec: InstanceSpec, files: InstanceFiles) -> tuple[int, Started]:
        files.make()
        match spec.runtime:
            case ModelServer(named):
                # Kept only until the spawn: then the instance alone holds it, and a dead instance
                # refuses connections instead of letting them wait.
                with socket.create_server((_LOOPBACK, 0), backlog=_BACKLOG) as listener:
                    port = listener.getsockname()[1]
                    started = Started(_LOOPBACK, port, _MODEL_SERVER_KEEP_ALIVE_S)
                    interpreter = named or self._settings.interpreter or sys.executable
                    argv = (interpreter, str(self._archive))
                    return self._launch(spec, files, argv, started, listener.fileno()), started
            case Command(argv):
                reserved = self._ports.take()
                if reserved is None:
                    raise InstanceNotStarted(spec.instance_id, "no port of the range is free")
                self._reserved[spec.instance_id] = reserved
                started = Started(_LOOPBACK, reserved, _FOREIGN_KEEP_ALIVE_S)
                return self._launch(spec, files, argv, started, None), started
            case External():
                raise InstanceNotStarted(spec.instance_id, "its servers run already")

    def _launch(
        self,
        spec: InstanceSpec,
        files: InstanceFiles,
        argv: tuple[str, ...],
        started: Started,
        listen_fd: int | None,
    ) -> int:
        token = secrets.token_hex(16)
        files.write_launch(Launch(token, started, is_port_reserved=listen_fd is None))
        environment = environment_of(
            spec,
            self._environ,
            listen_fd=listen_fd,
            port=started.port if listen_fd is None else None,
        )
        nice = cpu_weight.LIGHT_NICE if spec.light else 0
        arguments = (files.directory, token, files.log, files.work, nice)
        process = subprocess.Popen(
            (sys.executable, "-I", "-S", launcher.__file__, *map(str, arguments), *argv),
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=() if listen_fd is None else (listen_fd,),
        )
        # Only the spawn is Popen's. It must not wait for the child, which it would do as soon as
        # it is collected, unless it believes that this has been done.
        process.returncode = 0
        return process.pid

    # --- Watching -----------------------------------------------------------------------------

    def _look(self, instance_id: str) -> Observation:
        if instance_id in self._children:
            return self._look_at_child(instance_id, self._children[instance_id])
        if instance_id in self._statuses:
            return Exited(self._statuses[instance_id])
        files = InstanceFiles(self._data_dir, instance_id)
        if self._is_over(files) or not files.is_locked():
            self._release_port(instance_id)
            return Exited(None)
        return Running()

    def _look_at_child(self, instance_id: str, pid: int) -> Observation:
        try:
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or not kill_session(pid):
                return Running()
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except ChildProcessError:
            # Somebody else in this process has waited for it: its status is lost.
            status = None
        del self._children[instance_id]
        self._statuses[instance_id] = status
        self._release_port(instance_id)
        return Exited(status)

    def _is_over(self, files: InstanceFiles) -> bool:
        """Whether the launch that is wanted came up, and nothing is left of it.

        False also while its launcher has not come up: then the lock alone can tell.
        """
        leader = files.read_leader()
        if leader is None or is_alive(leader):
            return False
        if not kill_session_of(leader):
            return False
        launch = files.read_launch()
        return launch is not None and launch.token == leader.token

    def _release_port(self, instance_id: str) -> None:
        port = self._reserved.pop(instance_id, None)
        if port is not None:
            self._ports.release(port)

    # --- Stopping -----------------------------------------------------------------------------

    def _forget_stop(self, instance_id: str) -> None:
        del self._stopping[instance_id]
        self._hurried.discard(instance_id)

    async def _stop(self, instance_id: str) -> None:
        starting = self._starting.get(instance_id)
        if starting is not None:
            await asyncio.wait([starting])
        if instance_id not in self._children and not await self.adopt(instance_id):
            return
        deadline_s = self._clock() + self._settings.stop_time_limit_s
        is_asked = False
        while isinstance(self._look(instance_id), Running):
            if instance_id in self._hurried:
                deadline_s = min(deadline_s, self._clock())
            if self._clock() < deadline_s:
                is_asked = is_asked or self._terminate(instance_id)
            elif self._clock() < deadline_s + _KILL_PATIENCE_S:
                self._kill(instance_id)
            else:
                return
            await asyncio.sleep(_STOP_POLL_S)

    def _terminate(self, instance_id: str) -> bool:
        """SIGTERM to the leader; False while nobody knows who that is."""
        child = self._children.get(instance_id)
        if child is not None:
            os.kill(child, signal.SIGTERM)
            return True
        leader = InstanceFiles(self._data_dir, instance_id).read_leader()
        if leader is None or not is_alive(leader):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader.pid, signal.SIGTERM)
        return True

    def _kill(self, instance_id: str) -> None:
        child = self._children.get(instance_id)
        if child is not None:
            # By its pid too: it may not have opened its session yet.
            os.kill(child, signal.SIGKILL)
            kill_session(child)
            return
        leader = InstanceFiles(self._data_dir, instance_id).read_leader()
        if leader is not None:
            kill_session_of(leader)
