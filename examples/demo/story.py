"""The demo itself: a shadow test on real models, step by step, with a check of each claim."""

from examples.demo.asking import ask, show_report
from examples.demo.preparing import deploy, start, train
from examples.demo.promoting import promote, show_records
from examples.demo.stage import Stage


def tell(stage: Stage, flights: int) -> None:
    """All steps, with `flights` asked about. What did not hold is among the screen's checks."""
    start(stage)
    models = train(stage)
    clients = deploy(stage, models)
    asked = ask(stage, clients, models, flights)
    show_report(stage, asked, models)
    further = promote(stage, clients, asked, models)
    show_records(stage, [*asked.answers, *further.answers])
