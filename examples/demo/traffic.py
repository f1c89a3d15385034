"""Asks the endpoint about flights, from several threads, and keeps every answer."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types_boto3_sagemaker_runtime import SageMakerRuntimeClient


@dataclass(frozen=True)
class Answer:
    """What came back for the flight of that number; `at_s` is the monotonic time it came."""

    number: int
    label: str
    variant: str
    instance: str
    event_id: str
    at_s: float


class Traffic:
    """Flights from `first` on, each once, by `threads` threads; begins at once.

    Ends after `count` flights, or by `stop`. `answers` and `failures` may be read meanwhile: they
    only grow. The number of a flight is its inference id.
    """

    def __init__(
        self,
        runtime: "SageMakerRuntimeClient",
        endpoint: str,
        lines: Sequence[str],
        threads: int,
        first: int = 0,
        count: int | None = None,
    ) -> None:
        self.answers: list[Answer] = []
        self.failures: list[str] = []
        # Appended to before a request is made: what was sent is not inferred from what came back.
        self._begun: list[int] = []
        self._runtime = runtime
        self._endpoint = endpoint
        self._lines = lines
        # next() on it is atomic: each number is handed out once.
        self._numbers = itertools.count(first)
        self._end = None if count is None else first + count
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask_all, name=f"traffic-{index}", daemon=True)
            for index in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def sent(self) -> int:
        """How many requests have been made."""
        return len(self._begun)

    @property
    def is_running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """No further request; returns when the last one is answered."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def by_variant(self) -> Counter[str]:
        return Counter(answer.variant for answer in self.answers)

    def by_instance(self) -> Counter[str]:
        return Counter(answer.instance for answer in self.answers)

    def _ask_all(self) -> None:
        while not self._stopping.is_set():
            number = next(self._numbers)
            if self._end is not None and number >= self._end:
                return
            self._begun.append(number)
            try:
                self.answers.append(self._ask(number))
            except Exception as error:
                self.failures.append(f"flight {number}: {type(error).__name__}: {error}")

    def _ask(self, number: int) -> Answer:
        response = self._runtime.invoke_endpoint(
            EndpointName=self._endpoint,
            ContentType="text/csv",
            Accept="text/csv",
            InferenceId=str(number),
            # A run that outlasts the flights begins again with the first.
            Body=self._lines[number % len(self._lines)].encode() + b"\n",
        )
        label = response["Body"].read().decode().strip()
        headers = response["ResponseMetadata"]["HTTPHeaders"]
        return Answer(
            number=number,
            label=label,
            variant=response["InvokedProductionVariant"],
            instance=headers.get("x-gnomon-instance", ""),
            event_id=headers.get("x-gnomon-event-id", ""),
            at_s=time.monotonic(),
        )
