"""The model server's own lines in an instance's log, beside what the model prints there.

Each begins with its time and what it is about, so that a line is told from a model's, and a request
is found by the id that its client was given.
"""

from __future__ import annotations

import sys
import time


def say(event: str, **about: str) -> None:
    """Write `<time> gnomon model server <name>=<value> …: <event>`; empty values are left out."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fields = "".join(" %s=%s" % (name, value) for name, value in about.items() if value)
    print("%s gnomon model server%s: %s" % (moment, fields, event), file=sys.stderr, flush=True)
