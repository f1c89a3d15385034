import os
import struct
import tarfile
import threading

import numpy as np
import pytest
from examples.demo import inference
from examples.demo.flights import Flight
from examples.demo.inference import AnswerCount, encode, read_counts
from examples.demo.training import encoding_of, pack, train_boosting, train_logistic

UNITED = "1,315,UA,EWR,IAH,1400,39,28,12,0,10,1012"
DELTA = "2,600,DL,JFK,ATL,760,41,30,8,0.1,9,"


def flights(count=400):
    """Alternately UA on time and DL late, so that a model has something to learn."""
    return [Flight(1, DELTA if index % 2 else UNITED, bool(index % 2)) for index in range(count)]


@pytest.fixture(scope="module", params=[train_logistic, train_boosting])
def trained(request):
    return request.param(flights())


def test_positions_stand_for_categories():
    encoding = encoding_of(flights(), one_hot=False)
    assert encode([DELTA, UNITED], encoding)[:, 2].tolist() == [0, 1]


def test_a_missing_number_is_nan_without_one_hot():
    encoding = encoding_of(flights(), one_hot=False)
    assert np.isnan(encode([DELTA], encoding)[0, 11])


def test_a_missing_number_is_filled_by_the_mean_with_one_hot():
    encoding = encoding_of(flights(), one_hot=True)
    assert encode([DELTA], encoding)[0, -1] == 1012


def test_one_hot_sets_one_column_for_each_category():
    encoding = encoding_of(flights(), one_hot=True)
    row = encode([UNITED], encoding)[0]
    # Two values each of weekday, carrier, origin and dest, beside eight numbers.
    assert len(row) == 16
    assert row[[0, 1]].tolist() == [1, 0]
    assert row[[3, 4]].tolist() == [0, 1]


def test_a_value_that_training_did_not_see_is_unknown():
    unseen = UNITED.replace("UA", "ZZ")
    assert np.isnan(encode([unseen], encoding_of(flights(), one_hot=False))[0, 2])
    assert encode([unseen], encoding_of(flights(), one_hot=True))[0, [3, 4]].tolist() == [0, 0]


@pytest.mark.parametrize("line", ["", "1,2", UNITED + ",1"])
def test_a_line_of_another_length_is_refused(line):
    with pytest.raises(ValueError, match="12 cells"):
        encode([line], encoding_of(flights(), one_hot=False))


def test_a_packed_model_answers_by_its_handlers_as_it_was_trained(trained, tmp_path, monkeypatch):
    monkeypatch.delenv(inference.COUNT_DIR_VARIABLE, raising=False)
    pack(trained, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        archive.extractall(tmp_path / "model", filter="data")
    assert (tmp_path / "model" / "code" / "inference.py").is_file()
    model = inference.model_fn(str(tmp_path / "model"))
    lines = inference.input_fn(f"{UNITED}\n{DELTA}\n", "text/csv; charset=utf-8")
    answer = inference.output_fn(inference.predict_fn(lines, model), "text/csv")
    assert answer == ("0\n1", "text/csv")
    assert trained.labels(lines) == ["0", "1"]


def test_other_content_types_are_refused():
    with pytest.raises(ValueError, match="text/csv"):
        inference.input_fn("{}", "application/json")


def test_each_answer_counts_once_whatever_the_rows(trained, tmp_path):
    count = AnswerCount(tmp_path / "boosting" / "one")
    model = inference.Model(trained.estimator, trained.encoding, count)
    inference.predict_fn([UNITED], model)
    inference.predict_fn([UNITED, DELTA], model)
    assert read_counts(tmp_path) == {"boosting": 2}


def test_a_failed_answer_does_not_count(trained, tmp_path):
    model = inference.Model(trained.estimator, trained.encoding, AnswerCount(tmp_path / "a" / "b"))
    with pytest.raises(ValueError, match="12 cells"):
        inference.predict_fn(["nonsense"], model)
    assert read_counts(tmp_path) == {"a": 0}


def test_counts_of_several_threads_and_instances_add_up(tmp_path):
    counts = [AnswerCount(tmp_path / "logistic" / name) for name in ("one", "two")]

    def add():
        for _ in range(200):
            for count in counts:
                count.add()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_counts(tmp_path) == {"logistic": 1600}


def test_the_count_is_eight_bytes_named_by_variant_and_instance(trained, tmp_path, monkeypatch):
    monkeypatch.setenv(inference.COUNT_DIR_VARIABLE, str(tmp_path / "counts"))
    monkeypatch.setenv("GNOMON_VARIANT_NAME", "boosting")
    monkeypatch.setenv("GNOMON_INSTANCE_ID", "i1")
    pack(trained, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    inference.predict_fn([UNITED], inference.model_fn(str(tmp_path)))
    path = tmp_path / "counts" / "boosting" / f"i1-{os.getpid()}"
    assert path.read_bytes() == struct.pack("<q", 1)
