"""SQLite's plans: lists, and what control asks again and again, are read from indexes."""

import itertools

import pytest
from sqlalchemy import event

from gnomon.model.lifecycle import UNFINISHED_EXPERIMENT
from gnomon.store.state import instances, resources, routing
from gnomon.store.state.resources import Filters

FILTERS = {
    "nothing": Filters(),
    "name": Filters(name_contains="flights"),
    "made": Filters(created_after_s=1.0, created_before_s=2.0),
}
STATUS_FILTERS = {
    "changed": Filters(modified_after_s=1.0, modified_before_s=2.0),
    "status": Filters(status="Running"),
    "all": Filters("flights", "Running", 1.0, 2.0, 1.0, 2.0),
}
LISTED = {
    resources.MODELS: ("Name", "CreationTime"),
    resources.ENDPOINT_CONFIGS: ("Name", "CreationTime"),
    resources.ENDPOINTS: ("Name", "CreationTime", "Status"),
    resources.EXPERIMENTS: ("Name", "CreationTime", "Status"),
}
# Of these there may be many rows.
BIG = {"models", "endpoint_configs", "endpoints", "instances", "experiments", "routes"}
KEYS = {"Name": ("name", "id"), "CreationTime": (1.0, "id"), "Status": ("Running", 1.0, "id")}


async def plans(database, query):
    """The plan's lines of every statement that `query(connection)` runs."""
    ran = []

    def note(_connection, _cursor, statement, parameters, *_):
        ran.append((statement, parameters))

    async with database.reading() as connection:
        # Without ANALYZE, which nobody runs, plans do not depend on what is in the tables.
        event.listen(database.engine.sync_engine, "before_cursor_execute", note)
        try:
            await query(connection)
        finally:
            event.remove(database.engine.sync_engine, "before_cursor_execute", note)
        lines = []
        for statement, parameters in ran:
            explained = await connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", parameters
            )
            lines += [row[3] for row in explained]
    assert lines, "nothing was asked"
    return lines


def scans(line):
    """Whether a line of a plan reads the rows of a table one by one."""
    first, _, rest = line.partition(" ")
    return first == "SCAN" and rest.split()[0] in BIG and "INDEX" not in line


def sorts_all(lines):
    """Whether what is sorted is not first narrowed by what is asked for."""
    narrowed = "status=?" in lines[0] or "created_at_s>? AND created_at_s<?" in lines[0]
    return any("TEMP B-TREE" in line for line in lines) and not narrowed


@pytest.mark.parametrize("resource", LISTED, ids=lambda resource: resource.table.name)
async def test_a_list_is_chosen_and_ordered_by_an_index(database, resource):
    sorts = LISTED[resource]
    filters = FILTERS | (STATUS_FILTERS if "Status" in sorts else {})
    # Few filters and few rows: those of models and configurations may be read for a filter.
    index = "COVERING INDEX" if "Status" in sorts else "INDEX"
    wrong = {}
    for case in itertools.product(sorts, (False, True), filters, (False, True)):

        async def listing(connection, case=case):
            sort_by, descending, chosen, is_first = case
            after = None if is_first else KEYS[sort_by]
            await resource.page(
                connection, filters[chosen], sort_by, descending=descending, after=after, limit=101
            )

        lines = await plans(database, listing)
        if any(map(scans, lines)) or index not in lines[0] or sorts_all(lines):
            wrong[case] = lines
    assert wrong == {}


QUESTIONS = {
    "by name": lambda c: resources.EXPERIMENTS.find(c, "name"),
    "by id": lambda c: resources.EXPERIMENTS.get(c, "id"),
    "unfinished of an endpoint": lambda c: resources.EXPERIMENTS.where(
        c, endpoint_id="id", status=UNFINISHED_EXPERIMENT
    ),
    "how many are unfinished": lambda c: resources.EXPERIMENTS.count(
        c, status=UNFINISHED_EXPERIMENT
    ),
    "configurations of a test": lambda c: resources.ENDPOINT_CONFIGS.where(c, experiment_id="id"),
    "due": lambda c: resources.due_experiments(c, 1.0),
    "changing": lambda c: resources.endpoint_ids(c, ("Creating", "Updating")),
    "leaving": lambda c: instances.instances_of(c, statuses=("Draining", "Stopping")),
    "of an endpoint": lambda c: instances.instances_of(c, "id", ("InService",), ended_since_s=1.0),
    "published": lambda c: routing.published(c, "id"),
    "news for a router": lambda c: routing.changes_since(c, 1),
}


@pytest.mark.parametrize("asked", QUESTIONS)
async def test_what_requests_and_passes_ask_again_and_again_scans_no_table(database, asked):
    lines = await plans(database, QUESTIONS[asked])
    assert [line for line in lines if scans(line)] == []
