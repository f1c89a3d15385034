"""A Gnomon of the demo's own: started, asked and ended as any user would, by the `gnomon` command.

Nothing of the package is imported: what this file needs is the command, `gnomon.json` in the data
directory, and HTTP.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

# Processes, databases and sockets of a cold start take a few seconds on a busy machine.
_START_TIME_LIMIT_S = 60.0

# Each of Gnomon's processes has its own time to end in order.
_END_TIME_LIMIT_S = 60.0

_COMMAND_TIME_LIMIT_S = 60.0
_ANSWER_TIME_LIMIT_S = 10.0
_LOOK_S = 0.1

# Lines of its log that are shown when Gnomon does not start.
_LOG_LINES = 15

# So that captured records can be read soon after their requests: by default a segment of the spool
# may stay open for a minute.
_SEGMENT_AGE_S = "3"

# Gnomon is on this machine: a proxy for the world outside has no part in it.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class GnomonFailed(Exception):
    """Gnomon did not do what the demo needs; the text says what."""


class LocalGnomon:
    """A Gnomon on `data_dir`. Whoever starts it ends it, unless it is to be left."""

    def __init__(self, data_dir: Path, log: Path, *, s3: bool = False) -> None:
        self.s3 = s3
        self.data_dir = data_dir
        self.log = log
        self.url = ""
        self.control_url = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when it answers. Raises GnomonFailed with the end of its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        argv = [_command(), "up", "--data-dir", str(self.data_dir)]
        if self.s3:
            argv += ["--s3", "--s3-port", "0"]
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C is for the demo, which then ends Gnomon in order.
            self._process = subprocess.Popen(
                [*argv, "--port", "0", "--control-port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "GNOMON_SPOOL_SEGMENT_AGE_S": _SEGMENT_AGE_S},
                start_new_session=True,
            )
        deadline_s = time.monotonic() + _START_TIME_LIMIT_S
        while not self._answers():
            if self._process.poll() is not None:
                raise GnomonFailed(f"Gnomon ended while it started:\n{self._log_end()}")
            if time.monotonic() > deadline_s:
                raise GnomonFailed(f"Gnomon did not answer in time:\n{self._log_end()}")
            time.sleep(_LOOK_S)

    def environment(self) -> dict[str, str]:
        """What `gnomon env` tells a shell to export."""
        exports = {}
        for line in self._run("env", "--data-dir", str(self.data_dir)).splitlines():
            words = shlex.split(line)
            if words[:1] == ["export"]:
                name, _, value = words[1].partition("=")
                exports[name] = value
        return exports

    def upload(self, path: Path, url: str) -> None:
        self._run("cp", str(path), url, "--data-dir", str(self.data_dir))

    def make_key(self, alias: str) -> str:
        """A new KMS key's ARN."""
        return self._run(
            "keys", "create", "--alias", alias, "--data-dir", str(self.data_dir)
        ).strip()

    def captured(self, experiment: str, variant: str) -> str:
        """What was captured of a variant, decrypted: a record a line."""
        named = ("--variant", variant, "--data-dir", str(self.data_dir))
        return self._run("capture", "cat", experiment, *named)

    def report(self, experiment: str) -> dict[str, Any]:
        return self._get(f"/gnomon/v1/experiments/{experiment}/report")

    def endpoint_metrics(self, endpoint: str) -> dict[str, Any]:
        return self._get(f"/gnomon/v1/endpoints/{endpoint}/metrics")

    def end(self) -> None:
        """Ends it, as Ctrl-C where it runs or `gnomon down` would, and waits; else by force."""
        process = self._process
        if process is None or not self.is_running:
            return
        process.terminate()
        try:
            process.wait(_END_TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            # It leads a session of its own, so this is the supervisor and what it started.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answers(self) -> bool:
        try:
            running = json.loads((self.data_dir / "gnomon.json").read_bytes())
            self.url, self.control_url = running["url"], running["control_url"]
            self._get("/gnomon/v1/status")
        except (OSError, ValueError, GnomonFailed):
            return False
        return True

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with _opener.open(self.url + path, timeout=_ANSWER_TIME_LIMIT_S) as answer:
                value: dict[str, Any] = json.load(answer)
                return value
        except urllib.error.HTTPError as error:
            raise GnomonFailed(f"GET {path}: {error.code} {error.read().decode()}") from error
        except (OSError, ValueError) as error:
            raise GnomonFailed(f"GET {path}: {error}") from error

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [_command(), *arguments],
                capture_output=True,
                check=False,
                text=True,
                timeout=_COMMAND_TIME_LIMIT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise GnomonFailed(f"gnomon {arguments[0]} did not end in time.") from error
        if done.returncode != 0:
            raise GnomonFailed(f"gnomon {shlex.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


def _command() -> str:
    """The `gnomon` of the environment that runs the demo."""
    return str(Path(sys.executable).with_name("gnomon"))
