"""What dead routers left: captured exchanges in closed segments, in a directory beside a spool."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from bench.kit.collector import CAPTURE_ID
from bench.kit.load import Payload
from bench.kit.payloads import ANSWER
from bench.kit.report import CannotMeasure
from gnomon.settings import MIB, SpoolSettings
from gnomon.spool.frames import Exchange
from gnomon.spool.writer import SpoolWriter

# In the bench's memory at once, so that the disk is not asked for more than it can take.
_WAITING_BYTES = 64 * MIB
_LOOK_S = 0.002


def filled(directory: Path, payload: Payload, exchanges: int) -> Path:
    """The directory of an incarnation that captured so many exchanges with these bodies."""
    settings = SpoolSettings(buffer_bytes=4 * _WAITING_BYTES)
    writer = SpoolWriter(directory, uuid.uuid4().hex, settings)
    request, response = payload.body.encode(), ANSWER.encode()
    began_s = time.time()
    for number in range(exchanges):
        writer.append(
            Exchange(
                capture_id=CAPTURE_ID,
                endpoint_name="filled",
                variant_name="filled-production",
                event_id=str(uuid.UUID(int=number)),
                inference_id=None,
                at_s=began_s + number / exchanges,
                status=200,
                request_content_type=payload.content_type,
                request_body=request,
                response_content_type="application/json",
                response_body=response,
            )
        )
        while writer.waiting_bytes > _WAITING_BYTES:
            time.sleep(_LOOK_S)
    writer.close()
    if writer.dropped or writer.given_up:
        raise CannotMeasure(f"The disk of {directory} has no room for what is to be collected.")
    return writer.directory
