import io
import json

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gnomon.serving import codecs
from gnomon.serving.codecs import CSV, JSON, NPY, NPZ, CodecError, acceptable, decode, encode

NUMBERS = npst.floating_dtypes() | npst.integer_dtypes() | npst.boolean_dtypes()
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", [JSON]),
        ("*/*", [JSON]),
        ("text/csv", [CSV]),
        ("text/csv; charset=utf-8", [CSV]),
        ("text/csv;q=0.5, application/x-npy", [NPY, CSV]),
        ("text/csv, application/x-npy", [CSV, NPY]),
        ("text/csv;q=0, application/x-npy", [NPY]),
        ("application/xml, */*;q=0.1", ["application/xml", JSON]),
        ("text/csv;q=x", [JSON]),
        (" , ", [JSON]),
    ],
)
def test_what_is_accepted_best_comes_first(accept, wanted):
    assert acceptable(accept, JSON) == wanted


def test_the_default_stands_in():
    assert acceptable("*/*", CSV) == [CSV]


@pytest.mark.parametrize(
    "value", [{"a": [1]}, "text", 3, None, [], [1, "a"], ["a"], [[1], [1, 2]], [{"a": 1}], [None]]
)
def test_json_that_is_no_array_of_numbers_stays_as_it_is(value):
    decoded = decode(json.dumps(value), JSON)

    assert decoded == value if value != [] else len(decoded) == 0


@given(npst.arrays(np.float64, npst.array_shapes(max_dims=3), elements=FINITE))
def test_arrays_survive_json(array):
    body, content_type = encode(array, [JSON])

    assert content_type == JSON
    assert np.array_equal(decode(body.decode(), JSON), array)


@given(npst.arrays(np.float64, npst.array_shapes(min_dims=2, max_dims=2), elements=FINITE))
def test_arrays_survive_csv(array):
    body, _ = encode(array, [CSV])

    assert np.array_equal(decode(body.decode(), CSV), array)


@given(npst.arrays(NUMBERS, npst.array_shapes(max_dims=3)))
def test_arrays_survive_npy(array):
    body, _ = encode(array, [NPY])

    assert np.array_equal(decode(body, NPY), array, equal_nan=True)


def test_arrays_by_name_survive_npz():
    body, _ = encode({"a": np.arange(3), "b": np.eye(2)}, [NPZ])

    decoded = decode(body, NPZ)

    assert set(decoded) == {"a", "b"}
    assert np.array_equal(decoded["b"], np.eye(2))


def test_sparse_matrices_survive_npz():
    body, _ = encode(scipy.sparse.csr_matrix(np.eye(3)), [NPZ])

    assert np.array_equal(decode(body, NPZ).toarray(), np.eye(3))


def test_csv_of_text_stays_text():
    assert decode("red,1\nblue,2\n", CSV) == [["red", "1"], ["blue", "2"]]


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3\n", "1,2,3\r\n\r\n"])
def test_one_line_of_csv_is_one_row(text):
    assert decode(text, CSV).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("prediction", "text"),
    [
        ([1, 2], "1\n2\n"),
        ([[1, 2], [3, 4]], "1,2\n3,4\n"),
        (np.array([0.5, 1.5]), "0.5\n1.5\n"),
        (np.float64(0.5), "0.5\n"),
        (7, "7\n"),
        (["a,b"], '"a,b"\n'),
    ],
)
def test_predictions_as_csv(prediction, text):
    assert encode(prediction, [CSV]) == (text.encode(), CSV)


@pytest.mark.parametrize(
    ("prediction", "value"),
    [(np.float32(0.5), 0.5), ({"a": np.arange(2)}, {"a": [0, 1]}), (np.array(["x"]), ["x"])],
)
def test_predictions_as_json(prediction, value):
    assert json.loads(encode(prediction, [JSON])[0]) == value


def test_the_first_accepted_type_that_there_is_a_codec_for():
    assert encode([1], ["application/xml", CSV, JSON])[1] == CSV


def test_no_accepted_type_is_supported():
    with pytest.raises(CodecError) as caught:
        encode([1], ["application/xml"])

    assert caught.value.status == 406


def test_a_content_type_that_is_not_supported():
    with pytest.raises(CodecError) as caught:
        decode(b"x", "image/png")

    assert caught.value.status == 415


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}]), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("{", JSON),
        ("[" * 100_000, JSON),
        (b"not numpy", NPY),
        (b"", NPY),
        (b"not a zip", NPZ),
        (pickled(), NPY),
    ],
)
def test_a_body_that_is_not_what_it_says(body, content_type):
    with pytest.raises(CodecError) as caught:
        decode(body, content_type)

    assert caught.value.status == 400


def test_text_is_decoded_for_json_and_csv_alone():
    assert codecs.text_of("é".encode(), "Application/JSON; charset=utf-8") == "é"
    assert codecs.text_of(b"\xff", "image/png") == b"\xff"
    with pytest.raises(CodecError) as caught:
        codecs.text_of(b"\xff", CSV)
    assert caught.value.status == 400


def test_json_needs_no_numpy(monkeypatch):
    def without_numpy(name):
        raise ImportError(name)

    monkeypatch.setattr(codecs.importlib, "import_module", without_numpy)

    assert decode("[1, 2]", JSON) == [1, 2]
    assert decode("1,2", CSV) == [[1.0, 2.0]]
    assert encode([1, 2], [JSON]) == (b"[1, 2]", JSON)
