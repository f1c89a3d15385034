"""What has to hold for the demo to be a success: each check says what it saw. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from examples.demo.records import Pair, Record
from examples.demo.traffic import Answer

# How far chance may take the mirrored count: beyond 5 σ it does in one run of 1.7 million.
SIGMAS = 5.0


@dataclass(frozen=True)
class Check:
    """One thing that held or not; `said` has the figures behind it."""

    title: str
    holds: bool
    said: str


def key_refused(member: str, said: str) -> Check:
    """A key that does not exist is refused, and by a sentence that names the parameter."""
    refused = said.startswith(f"ValidationException: {member}: ") and "does not exist" in said
    return Check(f"A {member} that is not there is refused", refused, said)


def no_failures(failures: Sequence[str], sent: int) -> Check:
    said = f"{len(failures):,} of {sent:,} requests failed"
    if failures:
        said += f", the first: {failures[0]}"
    return Check("No request failed", not failures and sent > 0, said)


def mirrored_as_sampled(candidates: int, sampled: int, sent: int, percentage: float) -> Check:
    """`sampled` is within chance of the share of `sent`, each of which could be mirrored."""
    share = percentage / 100
    expected = sent * share
    sigma = math.sqrt(sent * share * (1 - share))
    off = abs(sampled - expected)
    return Check(
        f"About {percentage:g} % of the requests were mirrored",
        candidates == sent > 0 and off <= SIGMAS * sigma,
        f"{sampled:,} of {candidates:,} ({sent:,} sent); {expected:,.0f} ± {SIGMAS * sigma:,.0f} "
        f"expected, {off / sigma if sigma else 0:.1f} σ off",
    )


def copies_accounted(sampled: int, mirrored: int, dropped: Mapping[str, int]) -> Check:
    lost = sum(dropped.values())
    return Check(
        "Each copy was answered or is counted as dropped",
        sampled == mirrored + lost,
        f"{sampled:,} = {mirrored:,} mirrored + {lost:,} dropped",
    )


def all_instances_answered(
    client: Mapping[str, int], router: Mapping[str, int], instances: int
) -> Check:
    """By instance id: what the client read in its answers, and what the router counted."""
    shares = ", ".join(f"{name or 'unnamed'} {count:,}" for name, count in client.items())
    return Check(
        f"All {instances} production instances answered",
        len(client) == instances and dict(client) == dict(router),
        f"{shares or 'no answer'}; the router counted {'the same' if client == router else router}",
    )


def no_shadow_answer(
    answers: Sequence[Answer],
    production: str,
    expected: Sequence[str],
    shadow_expected: Sequence[str],
) -> Check:
    """Each answer names the production variant and is what that model says of that flight.

    `expected` and `shadow_expected` are the labels that the two models give when asked right here.
    """
    foreign = sum(answer.variant != production for answer in answers)
    flights = len(expected)
    wrong = sum(answer.label != expected[answer.number % flights] for answer in answers)
    telling = sum(
        expected[answer.number % flights] != shadow_expected[answer.number % flights]
        for answer in answers
    )
    return Check(
        "No answer came from the shadow",
        foreign == 0 and wrong == 0 and telling > 0,
        f"{len(answers):,} answers: {foreign:,} name another variant, {wrong:,} are not what the "
        f"production model says; on {telling:,} of these flights the models differ",
    )


def answers_true(answers: Sequence[Answer], expected: Mapping[str, Sequence[str]]) -> Check:
    """Each answer is what the model of the variant it names says; `expected` is by variant."""
    true = sum(
        answer.variant in expected
        and answer.label == expected[answer.variant][answer.number % len(expected[answer.variant])]
        for answer in answers
    )
    return Check(
        "Each answer is what the model that it names says",
        true == len(answers) > 0,
        f"{true:,} of {len(answers):,}",
    )


def promoted(answers: Sequence[Answer], variant: str, switched_at_s: float) -> Check:
    """All answers after the test was Completed (`switched_at_s`) come from `variant`."""
    after = [answer for answer in answers if answer.at_s > switched_at_s]
    right = sum(answer.variant == variant for answer in after)
    return Check(
        "The endpoint answers from the promoted variant",
        right == len(after) > 0,
        f"{right:,} of the {len(after):,} answers since then",
    )


@dataclass(frozen=True)
class Counts:
    """One variant's invocations as three parties counted them.

    `copies` are those that it got as a shadow: no client sent them. Of what the router counted, so
    many are `unanswered`: the instance ended, or was too slow, with them. The model may have
    counted them, or not.
    """

    variant: str
    client: int
    copies: int
    router: int
    models: int
    unanswered: int = 0

    @property
    def agree(self) -> bool:
        return (
            self.client + self.copies == self.router
            and self.router - self.unanswered <= self.models <= self.router
        )


def counts_agree(counts: Sequence[Counts]) -> Check:
    return Check(
        "Client, router and models counted the same",
        bool(counts) and all(each.agree for each in counts),
        "; ".join(
            f"{each.variant}: {each.client:,} sent"
            + (f" + {each.copies:,} mirrored" if each.copies else "")
            + f", {each.router:,} by the router"
            + (f" ({each.unanswered:,} of them unanswered)" if each.unanswered else "")
            + f", {each.models:,} by the models"
            for each in counts
        ),
    )


def records_complete(
    production: Sequence[Record],
    shadow: Sequence[Record],
    pairs: Sequence[Pair],
    candidates: int,
    mirrored: int,
) -> Check:
    """Every request of the test has its record, once, and every mirrored one has its pair."""
    once = all(
        len({record.event_id for record in records}) == len(records)
        for records in (production, shadow)
    )
    return Check(
        "Every request of the test has its captured record",
        once
        and len(production) == candidates
        and len(shadow) == len(pairs) == mirrored
        and all(pair.production.number == pair.shadow.number for pair in pairs),
        f"{len(production):,} of production for {candidates:,} requests, {len(shadow):,} of the "
        f"shadow for {mirrored:,} copies, {len(pairs):,} pairs",
    )


def records_match_answers(production: Sequence[Record], answers: Sequence[Answer]) -> Check:
    """The records of production hold what the client got, by event id."""
    captured = {record.event_id: (record.number, record.label) for record in production}
    same = sum(captured.get(answer.event_id) == (answer.number, answer.label) for answer in answers)
    return Check(
        "Production's records hold what the client was answered",
        same == len(answers) > 0,
        f"{same:,} of {len(answers):,}",
    )
