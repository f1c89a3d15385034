"""The console entry: hands the application's commands to the command line.

What a command does not need is not imported: `gnomon --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from gnomon.cli.main import run
from gnomon.cli.running import Running
from gnomon.settings import Settings


def main() -> None:
    sys.exit(run(_up))


def _up(settings: Settings, ready: Callable[[Running], None]) -> None:
    import asyncio
    import os

    from gnomon.app.machine import UMASK, set_up_logging
    from gnomon.app.supervisor import Supervisor

    os.umask(UMASK)
    set_up_logging("supervisor", settings.server.log_level)
    asyncio.run(Supervisor(settings, ready).run())


if __name__ == "__main__":
    main()
