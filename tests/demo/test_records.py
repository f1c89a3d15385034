import json

import pytest
from examples.demo.records import join, parse, read_records


def line(event_id, number, label):
    return json.dumps(
        {
            "captureData": {
                "endpointInput": {"data": "1,2\n", "encoding": "CSV"},
                "endpointOutput": {"data": label, "encoding": "CSV"},
            },
            "eventMetadata": {"eventId": event_id, "inferenceId": str(number)},
            "eventVersion": "0",
        }
    )


def test_a_record_is_read_from_its_line():
    record = parse(line("e1", 7, "1\n"))
    assert (record.event_id, record.number, record.label) == ("e1", 7, "1")


def test_a_request_without_an_answer_has_no_label():
    record = json.loads(line("e1", 7, "1"))
    del record["captureData"]["endpointOutput"]
    assert parse(json.dumps(record)).label == ""


def test_every_line_is_a_record():
    text = "".join(line(event, 1, "0") + "\n" for event in ("e1", "e2", "e3"))
    assert [record.event_id for record in read_records(text)] == ["e1", "e2", "e3"]


def test_there_may_be_no_records_yet():
    assert read_records("") == []


def test_a_line_that_is_no_record_is_not_passed_over():
    with pytest.raises((KeyError, ValueError)):
        parse("{}")


def test_pairs_are_joined_by_event():
    production = [parse(line("e1", 1, "0")), parse(line("e2", 2, "1"))]
    shadow = [parse(line("e2", 2, "0")), parse(line("e9", 9, "0"))]
    (pair,) = join(production, shadow)
    assert (pair.production.label, pair.shadow.label) == ("1", "0")
