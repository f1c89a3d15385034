"""How experiments are judged where a test says nothing of it."""

from __future__ import annotations

from collections.abc import Collection

from gnomon.control.judging import Judge
from gnomon.model.analysis import AnalysisRecord, AnalysisSettings, Guardrails, default_record
from gnomon.store.database import Database

# That of every experiment here.
ANALYSIS_ID = default_record("", AnalysisSettings(), Guardrails()).id


async def default_analyses(experiment_ids: Collection[str]) -> dict[str, AnalysisRecord]:
    """The defaults, for each of these experiments."""
    return {id_: default_record(id_, AnalysisSettings(), Guardrails()) for id_ in experiment_ids}


def a_judge(state: Database, telemetry: Database) -> Judge:
    """Judges by the defaults."""
    return Judge(state, telemetry, AnalysisSettings(), Guardrails())
