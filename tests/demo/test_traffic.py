import io
import threading

from examples.demo.traffic import Traffic

LINES = ["a", "b", "c"]


class FakeRuntime:
    """Answers like boto3's client; fails for the inference ids in `failing`."""

    def __init__(self, failing=()):
        self.asked = []
        self.failing = failing
        self.enough = threading.Event()

    def invoke_endpoint(self, *, EndpointName, ContentType, Accept, InferenceId, Body):  # noqa: N803
        self.asked.append((int(InferenceId), Body))
        if len(self.asked) >= 10:
            self.enough.set()
        if InferenceId in self.failing:
            raise ConnectionResetError("gone")
        return {
            "Body": io.BytesIO(b"1\n"),
            "InvokedProductionVariant": "logistic",
            "ResponseMetadata": {
                "HTTPHeaders": {"x-gnomon-instance": "i1", "x-gnomon-event-id": "e" + InferenceId}
            },
        }


def finished(runtime, **options):
    traffic = Traffic(runtime, "flights", LINES, 3, **options)
    for thread in traffic._threads:
        thread.join(timeout=30)
    return traffic


def test_each_flight_is_asked_about_once():
    runtime = FakeRuntime()
    traffic = finished(runtime, first=4, count=50)
    assert sorted(number for number, _ in runtime.asked) == list(range(4, 54))
    assert traffic.sent == len(traffic.answers) == 50


def test_a_flight_is_sent_as_its_line():
    runtime = FakeRuntime()
    finished(runtime, count=4)
    assert sorted(runtime.asked) == [(0, b"a\n"), (1, b"b\n"), (2, b"c\n"), (3, b"a\n")]


def test_an_answer_keeps_label_variant_and_ids():
    (answer,) = finished(FakeRuntime(), count=1).answers
    assert (answer.number, answer.label, answer.variant) == (0, "1", "logistic")
    assert (answer.instance, answer.event_id) == ("i1", "e0")


def test_a_failure_is_kept_and_not_tried_again():
    runtime = FakeRuntime(failing=("3",))
    traffic = finished(runtime, count=10)
    assert traffic.failures == ["flight 3: ConnectionResetError: gone"]
    assert (traffic.sent, len(traffic.answers), len(runtime.asked)) == (10, 9, 10)


def test_traffic_without_a_count_goes_on_until_it_is_stopped():
    runtime = FakeRuntime()
    with Traffic(runtime, "flights", LINES, 2) as traffic:
        assert runtime.enough.wait(timeout=30)
        assert traffic.is_running
    assert not traffic.is_running
    assert traffic.sent == len(traffic.answers) == len(runtime.asked) >= 10


def test_answers_are_counted_by_variant_and_instance():
    traffic = finished(FakeRuntime(), count=5)
    assert (traffic.by_variant(), traffic.by_instance()) == ({"logistic": 5}, {"i1": 5})
