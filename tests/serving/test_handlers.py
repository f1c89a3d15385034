"""The handlers' shapes, through the application that calls them."""

import json
import sys
import textwrap

import pytest

from gnomon.serving.application import Application
from gnomon.serving.defaults import ModelNotFound
from gnomon.serving.environment import Environment
from gnomon.serving.handlers import HandlersUnusable
from gnomon.serving.wire import Request


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads an application from the text of an inference.py, undoing what its import does."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def make(text: str, **variables: str) -> Application:
        code = tmp_path / "code"
        code.mkdir(exist_ok=True)
        name = variables.get("SAGEMAKER_PROGRAM", "inference.py")
        (code / name).write_text(textwrap.dedent(text))
        application = Application(Environment({"SM_MODEL_DIR": str(tmp_path), **variables}))
        application.load()
        return application

    yield make
    # Only what lies in the archive: numpy, say, cannot be imported a second time.
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]


def invoke(application, body=b"", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return application.answer(Request("POST", "/invocations", names, body, True))


def test_four_handlers(load, tmp_path):
    application = load("""
        def model_fn(model_dir):
            return [model_dir]
        def input_fn(body, content_type):
            return [body, content_type]
        def predict_fn(data, model):
            return data + model
        def output_fn(prediction, accept):
            return repr(prediction + [accept])
    """)

    answer = invoke(application, b"1,2", content_type="text/csv", accept="text/x")

    assert answer.status == 200
    assert answer.content_type == "text/x"
    assert answer.body.decode() == repr(["1,2", "text/csv", str(tmp_path), "text/x"])


def test_four_handlers_with_a_context(load, tmp_path):
    application = load("""
        def model_fn(model_dir, context):
            return context.system_properties["model_dir"]
        def input_fn(body, content_type, context):
            return context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes")
        def predict_fn(data, model, context):
            return [data, model, context.get_request_id()]
        def output_fn(prediction, accept, context):
            context.set_response_header(0, "X-Model", "2")
            context.set_response_content_type(0, "text/plain")
            return ";".join(prediction)
    """)

    answer = invoke(
        application,
        x_amzn_sagemaker_custom_attributes="c",
        x_amzn_sagemaker_inference_id="i",
    )

    assert answer.body.decode() == f"c;{tmp_path};i"
    assert answer.content_type == "text/plain"
    assert answer.headers == {"X-Model": "2"}


@pytest.mark.parametrize("context", ["", ", context", ", context=None", ", threshold=0.5"])
def test_transform_fn(load, context):
    application = load(f"""
        def model_fn(model_dir):
            return "model"
        def transform_fn(model, body, content_type, accept{context}):
            return repr([model, body, content_type, accept]), "text/x"
    """)

    answer = invoke(application, b"\x00", content_type="image/png", accept="text/csv")

    assert answer.content_type == "text/x"
    assert answer.body.decode() == repr(["model", b"\x00", "image/png", "text/csv"])


def test_an_option_of_a_handler_is_not_mistaken_for_a_context(load):
    application = load("""
        def model_fn(model_dir):
            return None
        def predict_fn(data, model, threshold=0.5):
            return threshold
    """)

    assert json.loads(invoke(application, b"[1]").body) == 0.5


@pytest.mark.parametrize(
    ("returned", "body", "content_type"),
    [
        ("'é'", "é".encode(), "text/csv"),
        ("b'x'", b"x", "text/csv"),
        ("bytearray(b'x')", b"x", "text/csv"),
        ("('x', 'text/y')", b"x", "text/y"),
        ("(b'x', 'text/y')", b"x", "text/y"),
    ],
)
def test_what_output_fn_may_return(load, returned, body, content_type):
    application = load(f"""
        def model_fn(model_dir):
            return None
        def predict_fn(data, model):
            return data
        def output_fn(prediction, accept):
            return {returned}
    """)

    answer = invoke(application, b"[1]", accept="text/csv")

    assert (answer.body, answer.content_type) == (body, content_type)


def test_without_headers_json_is_read_and_written(load):
    application = load("""
        def model_fn(model_dir):
            return None
        def predict_fn(data, model):
            return {"got": data}
    """)

    answer = invoke(application, b'{"a": 1}')

    assert answer.content_type == "application/json"
    assert json.loads(answer.body) == {"got": {"a": 1}}


def test_what_is_written_by_default_can_be_set(load):
    application = load(
        """
        def model_fn(model_dir):
            return None
        def predict_fn(data, model):
            return data
        """,
        SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="text/csv",
    )

    assert invoke(application, b"[1, 2]", accept="*/*").body == b"1\n2\n"
    assert invoke(application, b"[1, 2]", accept="application/json").body == b"[1, 2]"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("context.set_response_header(0, 'X-Label', '\u4f60')", "Latin-1 text"),
        ("context.set_response_header(0, 'X-Label', 'a\\r\\nB: c')", "in one line"),
        ("context.set_response_header(0, 'X-Label', 'a\\0b')", "in one line"),
        ("context.set_response_header(0, 'X-Label', 7)", "must be Latin-1 text"),
        ("context.set_response_header(0, 'X Label', 'a')", "the name 'X Label'"),
        ("context.set_response_header(0, 'X:', 'a')", "the name 'X:'"),
        ("context.set_response_header(0, '', 'a')", "the name ''"),
        ("context.set_response_header(0, 'Content-Length', '1')", "Content-Length is the server's"),
        ("context.set_response_header(0, 'transfer-encoding', 'chunked')", "is the server's own"),
        ("context.set_response_header(0, 'Connection', 'upgrade')", "is the server's own"),
        ("context.set_response_content_type(0, '\u4f60')", "Latin-1 text"),
        ("context.set_response_status('404')", "from 200 to 599, not '404'"),
        ("context.set_response_status(100)", "from 200 to 599, not 100"),
        ("context.set_response_status(600)", "from 200 to 599, not 600"),
    ],
)
def test_an_answer_that_cannot_be_sent_is_a_500_that_says_why(load, statement, said):
    application = load(f"""
        def model_fn(model_dir):
            return None
        def transform_fn(model, body, content_type, accept, context):
            {statement}
            return "answer"
    """)

    answer = invoke(application)

    assert answer.status == 500
    assert said in answer.body.decode().partition("\n")[0]
    assert answer.encode(keep_alive=True).startswith(b"HTTP/1.1 500 ")


def test_what_a_handler_may_say_of_its_answer_is_sent(load):
    application = load("""
        def model_fn(model_dir):
            return None
        def transform_fn(model, body, content_type, accept, context):
            context.set_response_status(599)
            context.set_response_header(0, "X-Label", "caf\u00e9\t1")
            return "answer"
    """)

    encoded = invoke(application).encode(keep_alive=True)

    assert encoded.startswith(b"HTTP/1.1 599 ")
    assert b"\r\nX-Label: caf\xe9\t1\r\n" in encoded


@pytest.mark.parametrize(
    "statement",
    ["raise SystemExit(3)", "raise GeneratorExit", "raise KeyboardInterrupt", "raise Odd"],
)
def test_whatever_a_handler_raises_there_is_an_answer(load, statement):
    application = load(f"""
        class Odd(Exception):
            def __str__(self):
                raise ValueError
        def model_fn(model_dir):
            return None
        def predict_fn(data, model):
            {statement}
    """)

    answer = invoke(application, b"[1]")

    assert answer.status == 500
    assert statement.encode() in answer.body


def test_a_handlers_exception_is_told(load):
    application = load("""
        def model_fn(model_dir):
            return None
        def predict_fn(data, model):
            raise ValueError("no such column")
    """)

    answer = invoke(application, b"[1]")

    assert answer.status == 500
    assert answer.body.decode().startswith("ValueError: no such column\n")
    assert "in predict_fn" in answer.body.decode()


@pytest.mark.parametrize(
    "returned", ["None", "{'a': 1}", "('a', 'b', 'c')", "('x', 'a\\r\\nSet-Cookie: b')", "('x', 5)"]
)
def test_what_output_fn_may_not_return(load, returned):
    application = load(f"""
        def model_fn(model_dir):
            return None
        def predict_fn(data, model):
            return data
        def output_fn(prediction, accept):
            return {returned}
    """)

    assert invoke(application, b"[1]").status == 500


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content_type": "image/png"}, b"x", 415),
        ({"accept": "application/xml"}, b"[1]", 406),
        ({}, b"{", 400),
        ({"content_type": "text/csv"}, b"\xff", 400),
    ],
)
def test_what_the_default_codecs_refuse(load, headers, body, status):
    application = load("""
        def model_fn(model_dir):
            return None
        def predict_fn(data, model):
            return data
    """)

    assert invoke(application, body, **headers).status == status


@pytest.mark.parametrize("other", ["input_fn", "predict_fn", "output_fn"])
def test_transform_fn_excludes_the_others(load, other):
    with pytest.raises(HandlersUnusable, match="transform_fn"):
        load(f"""
            def model_fn(model_dir): ...
            def transform_fn(model, body, content_type, accept): ...
            def {other}(a, b): ...
        """)


def test_code_finds_its_neighbours(load, tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "neighbour_of_inference.py").write_text("ANSWER = 42\n")
    application = load("""
        import neighbour_of_inference
        def model_fn(model_dir):
            return None
        def predict_fn(data, model):
            return neighbour_of_inference.ANSWER
    """)

    assert invoke(application, b"[1]").body == b"42"


def test_the_program_may_have_another_name(load):
    application = load(
        """
        def model_fn(model_dir):
            return None
        def predict_fn(data, model):
            return __name__
        """,
        SAGEMAKER_PROGRAM="serve_it.py",
    )

    assert json.loads(invoke(application, b"[1]").body) == "serve_it"


def test_an_archive_with_nothing_to_serve(tmp_path):
    application = Application(Environment({"SM_MODEL_DIR": str(tmp_path)}))

    with pytest.raises(ModelNotFound, match=r"no model\.joblib"):
        application.load()


def test_an_archive_with_several_models(tmp_path):
    (tmp_path / "a.pkl").touch()
    (tmp_path / "b.joblib").touch()

    with pytest.raises(ModelNotFound, match="several"):
        Application(Environment({"SM_MODEL_DIR": str(tmp_path)})).load()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ping", 200),
        ("POST", "/ping", 405),
        ("GET", "/invocations", 405),
        ("GET", "/", 404),
        ("POST", "/invocations/", 404),
    ],
)
def test_the_paths(load, method, path, status):
    application = load("def model_fn(model_dir): ...")

    answer = application.answer(Request(method, path, {}, b"", True))

    assert answer.status == status
    if status == 200:
        assert answer.body == b""


@pytest.mark.parametrize(("method", "path"), [("GET", "/ping"), ("POST", "/invocations")])
def test_before_the_model_is_loaded(tmp_path, method, path):
    application = Application(Environment({"SM_MODEL_DIR": str(tmp_path)}))

    assert application.answer(Request(method, path, {}, b"", True)).status == 503


def test_a_good_ping_is_answered_only_after_what_comes_before_it(tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    (code / "inference.py").write_text("def model_fn(model_dir):\n    return 1\n")
    application = Application(Environment({"SM_MODEL_DIR": str(tmp_path)}))
    ping = Request("GET", "/ping", {}, b"", keep_alive=True)
    seen = []

    application.load(lambda: seen.append(application.answer(ping).status))

    assert [*seen, application.answer(ping).status] == [503, 200]
