"""The model server as a program: an instance's life from its socket to SIGTERM.

It runs in the model's environment, from one packed file, with nothing but the standard library.
It listens before it loads, so that a ping is answered (503) while the model loads; the model is
loaded in the main thread, where libraries expect to be imported.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from typing import NoReturn

from .application import Application
from .environment import Environment
from .log import say
from .server import Server

_BACKLOG = 1024


def main() -> NoReturn:
    """Serve until SIGTERM, which ends with status 0; a model that does not load, with 1."""
    environment = Environment(os.environ)
    instance = environment.instance_id
    application = Application(environment)
    listener = _listener(environment)
    server = Server(listener, application.answer)
    server.start()
    signals = _Signals()
    began_s = time.monotonic()
    try:
        # Whoever has seen a good ping may end this at once, and in order.
        application.load(signals.hear)
    except BaseException:
        traceback.print_exc()
        say("the model did not load", instance=instance)
        _exit(1)
    say("the model was loaded in %.1f s" % (time.monotonic() - began_s), instance=instance)
    say("received %s" % signals.wait().name, instance=instance)
    server.drain()
    _exit(0)


def _listener(environment: Environment) -> socket.socket:
    if environment.listen_fd is not None:
        # Not inherited by what the model starts: a dead instance must refuse connections.
        os.set_inheritable(environment.listen_fd, False)
        return socket.socket(fileno=environment.listen_fd)
    return socket.create_server(("0.0.0.0", environment.port), backlog=_BACKLOG)


class _Signals:
    """SIGTERM and SIGINT, which end the process at once until they are heard."""

    _AWAITED = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)

    def hear(self) -> None:
        # A pipe, since nothing that takes a lock may be called in a handler.
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in self._AWAITED:
            signal.signal(number, lambda *_: None)

    def wait(self) -> signal.Signals:
        while True:
            received = os.read(self._reading, 1)[0]
            if received in self._AWAITED:
                return signal.Signals(received)


def _exit(status: int) -> NoReturn:
    # At once: threads that a model started and never ends would hold a usual exit up.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
