"""SageMaker's API as botocore's service model has it, narrowed to what Gnomon supports.

The shapes are read from the model and never retyped. Which operations are supported is told by
whoever serves them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

from gnomon.aws.errors import UnknownOperation
from gnomon.errors import OperationNotSupported

_INSTANCE_TYPE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")
# The longest operation name has 42 characters; a longer one is not worth repeating in full.
_SHOWN_NAME_CHARS = 100


@dataclass(frozen=True)
class Service:
    """The service model, the operations that Gnomon has, and every instance type that is known."""

    model: ServiceModel
    supported: tuple[str, ...]
    instance_types: frozenset[str]

    def operation(self, name: str) -> OperationModel:
        """The model of a supported operation.

        Raises UnknownOperation where SageMaker has none of that name, OperationNotSupported where
        only Gnomon has not.
        """
        if name in self.supported:
            return self.model.operation_model(name)
        if name in self.model.operation_names:
            raise OperationNotSupported(name, self.supported)
        raise UnknownOperation(f"SageMaker has no operation {name[:_SHOWN_NAME_CHARS]!r}.")


def load_service(supported: tuple[str, ...]) -> Service:
    """SageMaker's model from the installed botocore; `supported` are names of its operations."""
    model = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
    for name in supported:
        model.operation_model(name)  # raises where the model has no such operation
    return Service(model, supported, instance_types(model))


def is_instance_type_enum(shape_name: str) -> bool:
    """Whether the enum of that name lists instance types (and not accelerators, say)."""
    return shape_name.endswith("InstanceType")


def instance_types(model: ServiceModel) -> frozenset[str]:
    """Every instance type that any enum of the model has.

    One enum alone is too narrow: that of endpoints lacks types which AWS's manual page of
    CreateInferenceExperiment lists.
    """
    values: set[str] = set()
    for name in model.shape_names:
        if is_instance_type_enum(name):
            values.update(model.shape_for(name).metadata.get("enum", ()))
    return frozenset(value for value in values if _INSTANCE_TYPE.fullmatch(value))
