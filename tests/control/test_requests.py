"""Requests made from the service model, right and wrong ones, through the whole API.

The oracle is botocore's ParamValidator (required members, types, minima) and `faults`, which counts
the rest on its own: ranges, patterns, enums. No request may be answered with a 5xx.
"""

import asyncio
import datetime as dt
import json
import os
import re
from pathlib import Path

import pytest
from botocore.model import ListShape, MapShape, StructureShape
from botocore.validate import ParamValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon.app.machine import SystemClock
from gnomon.control import api
from gnomon.control.destinations import Destinations
from gnomon.control.disk_floor import DiskFloor
from gnomon.control.transactions import Transactions
from gnomon.hosting.volumes import Volumes
from gnomon.model.arn import Account
from gnomon.objects.local_keys import LocalKeys
from gnomon.objects.roles import Access, Roles
from gnomon.objects.sealed import SealedObjects
from gnomon.objects.stores import DirectoryObjects
from gnomon.settings import HostingSettings, QuotaSettings, SpoolSettings
from gnomon.store.database import Database, sqlite_url
from gnomon.store.migrate import migrate
from gnomon.testing.control import check_at_creation
from gnomon.testing.fake_disk import FakeDisk

SERVICE = api.load()
REFUSALS = {
    "ValidationException",
    "ResourceNotFound",
    "ResourceInUse",
    "ConflictException",
    "ResourceLimitExceeded",
}
TYPES = sorted(SERVICE.instance_types)
# Texts that between them match every pattern of the operations here, and some that match few.
TEXTS = [
    *("a", "ep-1", "Name", "x" * 20, "0", "_", "a_b", "a b", "-", "é", "\n", "<>", ".", "/p"),
    "arn:aws:iam::000000000000:role/service-role/r",
    "arn:aws:sagemaker:us-east-1:000000000000:endpoint/ep-1",
    "arn:aws:sagemaker:us-east-1:000000000000:model/a",
    "arn:aws:lambda:us-east-1:000000000000:function:f",
    "arn:aws:sns:us-east-1:000000000000:topic",
    "arn:aws:sagemaker:us-east-1:000000000000:ml-reservation/r",
    "arn:aws:sagemaker:us-east-1:aws:hub-content/hub/Model/m/1.0.0",
    "arn:aws:sagemaker:us-east-1:000000000000:training-plan/abc",
    *("s3://bucket/prefix", "s3://bucket/model.tar.gz", "https://bucket/x", "text/csv"),
    *("application/json", "sg-0123456789abcdef0", "subnet-0", "key:value", "mig-1g.5gb"),
]


# Printable: of line terminators Java and Python differ on all but \n, which is among TEXTS.
ASCII = st.characters(min_codepoint=32, max_codepoint=126)


def matches(pattern, value):
    """By Python's own engine where it reads the pattern, with Java's ASCII classes."""
    plain = pattern.replace(r"\p{L}", "a-zA-Zé").replace(r"\p{Z}", " ").replace(r"\p{N}", "0-9")
    return re.fullmatch(plain, value, re.ASCII) is not None


def constraints(shape, value):
    """How many of the shape's own constraints the value breaks."""
    limits, broken = shape.metadata, 0
    size = len(value) if shape.type_name in {"string", "list", "map"} else value
    broken += "min" in limits and size < limits["min"]
    broken += "max" in limits and size > limits["max"]
    if "pattern" in limits:
        broken += not matches(limits["pattern"], value)
    if "enum" in limits:
        known = set(limits["enum"])
        broken += value not in (known | set(TYPES) if "ml.m5.xlarge" in known else known)
    return broken


def faults(shape, value):
    """How many errors SageMaker would list."""
    if value is None:
        return 1
    match shape:
        case StructureShape():
            return sum(
                faults(member, value.get(name))
                for name, member in shape.members.items()
                if value.get(name) is not None or name in shape.required_members
            )
        case ListShape():
            return constraints(shape, value) + sum(faults(shape.member, item) for item in value)
        case MapShape():
            wrong_keys = any(constraints(shape.key, key) for key in value)
            wrong_values = any(faults(shape.value, item) for item in value.values())
            return constraints(shape, value) + wrong_keys + wrong_values
    return constraints(shape, value) if shape.type_name not in {"boolean", "timestamp"} else 0


def right(shape):
    """Values that break no constraint of the shape's."""
    limits = shape.metadata
    low = limits.get("min", 0)
    match shape:
        case StructureShape():
            required = {
                n: right(m) for n, m in shape.members.items() if n in shape.required_members
            }
            rest = {n: right(m) for n, m in shape.members.items() if n not in required}
            return st.fixed_dictionaries(required, optional=rest)
        case ListShape():
            most = min(limits.get("max", low + 2), low + 2)
            return st.lists(right(shape.member), min_size=low, max_size=most)
        case MapShape():
            return st.dictionaries(
                right(shape.key), right(shape.value), min_size=low, max_size=low + 1
            )
    match shape.type_name:
        case "string":
            known = limits.get("enum") or [text for text in TEXTS if not constraints(shape, text)]
            assert known, f"no text for {shape.name}: {limits}"
            return st.sampled_from(known)
        case "boolean":
            return st.booleans()
        case "timestamp":
            return st.integers(0, 4_000_000_000)
        case "float" | "double":
            return st.floats(low, 1e6, allow_nan=False, width=32)
    return st.integers(low, min(limits.get("max", 2**31 - 1), 2**31 - 1))


def wrong(shape):
    """Values of the right type that mostly break a constraint, or none at all."""
    limits = shape.metadata
    match shape.type_name:
        case "string":
            far = limits.get("max", 100) + 1
            return st.sampled_from([*TEXTS, "", "a" * far, "é" * 3]) | st.text(ASCII, max_size=10)
        case "integer":
            edges = [limits.get("min", 0) - 1, min(limits.get("max", 0), 2**31 - 2) + 1]
            return st.sampled_from(edges)
        case "float":
            return st.sampled_from([-1.0, -1e-6])
    return st.none()


def mixed(shape):
    """Right requests with wrong values and holes here and there."""
    match shape:
        case StructureShape():
            members = {name: mixed(member) for name, member in shape.members.items()}
            required = {name: members.pop(name) for name in shape.required_members}
            return st.fixed_dictionaries(required, optional=members) | st.none()
        case ListShape():
            most = min(shape.metadata.get("max", 3), 3) + 1
            return st.lists(mixed(shape.member), max_size=most)
        case MapShape():
            return st.dictionaries(wrong(shape.key), mixed(shape.value), max_size=3)
    return st.one_of(right(shape), right(shape), right(shape), wrong(shape))


class Caller:
    """The API on a database, without the loops: requests change rows and nothing runs."""

    def __init__(self, directory):
        self.runner = asyncio.Runner()
        url = sqlite_url(directory / "state.db")
        self.runner.run(migrate("state", url))
        self.database = Database(url)
        account = Account("us-east-1", "000000000000")
        transactions = Transactions(
            self.database, account, SystemClock(), 0.0, os.urandom, QuotaSettings()
        )
        floor = DiskFloor(directory, SpoolSettings().min_free_bytes, FakeDisk().free_bytes)
        keys = LocalKeys(directory / "keys.json", account)
        objects = SealedObjects(DirectoryObjects(directory / "objects"), keys)
        volumes = Volumes(Path(HostingSettings.memory_directory), directory)
        roles = Roles(Access(objects, keys), {})
        destinations = Destinations(transactions, roles, keys, volumes)
        self.api = api.Api(
            SERVICE, transactions, floor, check_at_creation, destinations, lambda: None
        )

    def send(self, operation, body):
        headers = {"x-amz-target": f"SageMaker.{operation}"}
        encoded = json.dumps(body).encode()
        return self.runner.run(self.api.handle("POST", "/", headers, encoded))

    def close(self):
        self.runner.run(self.database.close())
        self.runner.close()


@pytest.fixture(scope="module")
def caller(tmp_path_factory):
    caller = Caller(tmp_path_factory.mktemp("state"))
    yield caller
    caller.close()


def code_and_text(answer):
    document = json.loads(answer.body)
    (text,) = {document[key] for key in ("message", "Message") if key in document}
    assert dict(answer.headers)["x-amzn-errortype"] == document["__type"]
    return document["__type"], text


THOROUGH = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


@pytest.mark.parametrize("operation", api.OPERATIONS)
def test_a_right_request_is_taken_or_refused_for_what_is_there(operation, caller):
    shape = SERVICE.operation(operation).input_shape

    @THOROUGH
    @given(right(shape))
    def check(params):
        assert faults(shape, params) == 0
        answer = caller.send(operation, params)
        if answer.status == 200:
            return
        code, text = code_and_text(answer)
        assert (answer.status, code in REFUSALS) == (400, True), text
        assert "validation error" not in text

    check()


@pytest.mark.parametrize("operation", api.OPERATIONS)
def test_every_fault_of_a_request_is_listed(operation, caller):
    shape = SERVICE.operation(operation).input_shape

    @THOROUGH
    @given(mixed(shape).filter(lambda params: params is not None))
    def check(params):
        expected = faults(shape, params)
        report = ParamValidator().validate(without_nones(params), shape)
        answer = caller.send(operation, params)
        if expected == 0:
            assert not report.has_errors(), report.generate_report()
            assert answer.status == 200 or code_and_text(answer)[0] in REFUSALS
            return
        code, text = code_and_text(answer)
        assert (answer.status, code) == (400, "ValidationException")
        errors = "error" if expected == 1 else "errors"
        listed = min(expected, 50)
        assert text.startswith(f"{listed} validation {errors} detected: Value "), text

    check()


def without_nones(value):
    """As a client sends it: an absent member instead of a null, and times as times."""
    if isinstance(value, dict):
        return {key: without_nones(item) for key, item in value.items() if item is not None}
    return [without_nones(item) for item in value] if isinstance(value, list) else value


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("operation", api.OPERATIONS)
def test_a_request_of_any_other_form_is_no_failure_of_gnomons(operation, caller):
    shape = SERVICE.operation(operation).input_shape
    members = {name: ANYTHING | right(member) for name, member in shape.members.items()}

    @THOROUGH
    @given(ANYTHING | st.fixed_dictionaries({}, optional=members))
    def check(params):
        answer = caller.send(operation, params)
        if answer.status != 200:
            code, _ = code_and_text(answer)
            assert answer.status == 400
            assert code in {*REFUSALS, "SerializationException"}

    check()


# The whole model, not the operations here alone: every pattern, and every bound of a text.
PATTERNED = [
    SERVICE.model.shape_for(name)
    for name in SERVICE.model.shape_names
    if "pattern" in SERVICE.model.shape_for(name).metadata
]


def test_every_pattern_of_the_model_says_what_pythons_engine_says():
    from gnomon.aws.java_regex import compile_java

    disagree = []
    for shape in PATTERNED:
        pattern = shape.metadata["pattern"]
        try:
            expected = [matches(pattern, text) for text in TEXTS]
        except re.error:
            # Java's alone: possessive quantifiers, properties, classes in classes.
            continue
        found = [compile_java(pattern).fullmatch(text) is not None for text in TEXTS]
        if found != expected:
            disagree.append((shape.name, pattern))
    assert disagree == []


def test_times_are_read_as_clients_send_them(caller):
    noon = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    for value in (noon.timestamp(), int(noon.timestamp()), noon.isoformat()):
        assert caller.send("ListModels", {"CreationTimeAfter": value}).status == 200
