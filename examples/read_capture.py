"""Reads what a shadow test captured, with boto3 and json alone, as from any bucket of SageMaker's.

    eval "$(gnomon env)"
    python examples/read_capture.py s3://captures/delays/my-endpoint production shadow

Production's and the shadow's records of one request have no common key on AWS, unless the client
sent an inference id; Gnomon gives both the same event id, too. Both joins are shown.
"""

import base64
import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3

Record = dict[str, Any]


def records(s3: Any, place: str, variant: str) -> Iterator[Record]:
    """Every record of a variant below `place`, <destination>/<endpoint name>."""
    parts = urlsplit(place)
    prefix = f"{parts.path.strip('/')}/{variant}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=parts.netloc, Prefix=prefix)
    for page in pages:
        for item in page.get("Contents", []):
            body = s3.get_object(Bucket=parts.netloc, Key=item["Key"])["Body"]
            for line in body.iter_lines():
                yield json.loads(line)


def said(record: Record, side: str) -> str:
    """What stands in one side of a record, as text: endpointInput or endpointOutput."""
    captured = record["captureData"].get(side)
    if captured is None:
        return "-"
    data = str(captured["data"])
    if captured["encoding"] == "BASE64":
        data = base64.b64decode(data).decode(errors="replace")
    return data.strip()


def joined(production: list[Record], shadow: list[Record], key: str) -> list[tuple[Record, Record]]:
    """The requests that both have a record of, by a key of eventMetadata."""
    theirs = {
        record["eventMetadata"][key]: record
        for record in production
        if key in record["eventMetadata"]
    }
    return [
        (theirs[record["eventMetadata"][key]], record)
        for record in shadow
        if record["eventMetadata"].get(key) in theirs
    ]


def main() -> None:
    place, *variants = sys.argv[1:]
    s3 = boto3.client("s3")
    production, shadow = (list(records(s3, place, variant)) for variant in variants)
    print(f"{len(production)} records of production, {len(shadow)} of the shadow")
    for key in ("inferenceId", "eventId"):
        pairs = joined(production, shadow, key)
        different = [
            pair for pair in pairs if len({said(record, "endpointOutput") for record in pair}) > 1
        ]
        print(f"by {key}: {len(pairs)} requests, {len(different)} answered differently")
    for ours, theirs in different[:5]:
        print(
            f"  {said(ours, 'endpointInput')}: production {said(ours, 'endpointOutput')}, "
            f"shadow {said(theirs, 'endpointOutput')}"
        )


if __name__ == "__main__":
    main()
