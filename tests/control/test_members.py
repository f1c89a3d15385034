"""Every member that the service model has of the operations here has its row, and it is true."""

import pytest
from botocore.model import ListShape, MapShape, StructureShape

from gnomon.control import api
from gnomon.control.operations.members import MEMBERS, Echoed, Honoured, Refused, check_members
from gnomon.errors import ValidationFailed

SERVICE = api.load()


def innermost(shape):
    while isinstance(shape, ListShape | MapShape):
        shape = shape.member if isinstance(shape, ListShape) else shape.value
    return shape


def reachable():
    """Shapes by name, through honoured members only: below the others nothing is looked at."""
    waiting = [SERVICE.operation(name).input_shape for name in api.OPERATIONS]
    found = {}
    while waiting:
        shape = innermost(waiting.pop())
        if not isinstance(shape, StructureShape) or shape.name in found:
            continue
        found[shape.name] = shape
        rows = MEMBERS.get(shape.name, {})
        waiting += [
            member
            for name, member in shape.members.items()
            if isinstance(rows.get(name, Honoured()), Honoured)
        ]
    return found


def test_every_modelled_member_has_a_row_and_no_row_is_left_over():
    assert {name: set(rows) for name, rows in MEMBERS.items()} == {
        name: set(shape.members) for name, shape in reachable().items()
    }


def test_refused_values_are_values_of_the_model():
    shapes = reachable()
    for shape, rows in MEMBERS.items():
        for name, row in rows.items():
            if isinstance(row, Honoured) and row.refused:
                assert set(row.refused) < set(shapes[shape].members[name].metadata["enum"])


# Where Describe shows what Create was given, by the shape of the request.
SHOWN = {
    "CreateModelInput": "DescribeModel",
    "CreateEndpointConfigInput": "DescribeEndpointConfig",
    "CreateInferenceExperimentRequest": "DescribeInferenceExperiment",
}


@pytest.mark.parametrize(("request_shape", "describe"), SHOWN.items())
def test_what_is_echoed_can_be_shown(request_shape, describe):
    shown = set(SERVICE.operation(describe).output_shape.members)
    echoed = {name for name, row in MEMBERS[request_shape].items() if isinstance(row, Echoed)}
    assert echoed <= shown


def example(shape):
    """Something that is there, of the shape."""
    match shape:
        case StructureShape():
            return {name: example(member) for name, member in shape.members.items()} or {"x": 1}
        case ListShape():
            return [example(shape.member)]
        case MapShape():
            return {"key": example(shape.value)}
    return {"string": "x", "boolean": True}.get(shape.type_name, 1)


REFUSED = [
    (shape, name)
    for shape, rows in MEMBERS.items()
    for name, row in rows.items()
    if isinstance(row, Refused)
]


@pytest.mark.parametrize(("shape", "name"), REFUSED)
def test_a_refused_member_is_named(shape, name):
    structure = reachable()[shape]
    with pytest.raises(ValidationFailed, match=f"^{name} is not supported: ."):
        check_members(structure, {name: example(structure.members[name])})


def test_a_refused_member_is_found_deep_in_a_request():
    shape = SERVICE.operation("CreateEndpointConfig").input_shape
    variant = {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    with pytest.raises(ValidationFailed, match=r"^ProductionVariants\.2\.ServerlessConfig is not"):
        check_members(shape, {"ProductionVariants": [{"VariantName": "a"}, variant]})


def test_a_refused_value_is_named_and_the_others_pass():
    shape = SERVICE.operation("CreateModel").input_shape
    check_members(shape, {"PrimaryContainer": {"Mode": "SingleModel"}})
    with pytest.raises(ValidationFailed, match=r"^PrimaryContainer\.Mode MultiModel is not"):
        check_members(shape, {"PrimaryContainer": {"Mode": "MultiModel"}})


def test_what_asks_for_nothing_passes():
    shape = SERVICE.operation("CreateModel").input_shape
    check_members(shape, {"PrimaryContainer": {"MultiModelConfig": {}}})
