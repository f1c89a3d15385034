from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError
from botocore.model import OperationNotFoundError

from gnomon.aws.errors import UnknownOperation
from gnomon.aws.service import Service, load_service
from gnomon.errors import OperationNotSupported

# The names that AWS's manual page of CreateInferenceExperiment lists.
MANUAL_TYPES = (Path(__file__).parent / "manual_instance_types.txt").read_text().split()


def test_every_instance_type_of_the_manual_page_is_known(service: Service) -> None:
    assert len(MANUAL_TYPES) == 165
    assert set(MANUAL_TYPES) - service.instance_types == set()


def test_accelerators_and_the_system_app_are_no_instance_types(service: Service) -> None:
    assert not {"ml.eia1.medium", "ml.eia2.medium", "system"} & service.instance_types


def test_a_supported_operation_has_its_model(service: Service) -> None:
    operation = service.operation("CreateInferenceExperiment")
    assert "ShadowModeConfig" in operation.input_shape.members


def test_an_operation_of_sagemakers_that_is_not_supported_says_what_is(service: Service) -> None:
    with pytest.raises(OperationNotSupported, match=r"CreateTrainingJob.*DescribeEndpoint"):
        service.operation("CreateTrainingJob")


@pytest.mark.parametrize("name", ["", "Nothing", "createendpoint", "CreateEndpoint "])
def test_a_name_that_sagemaker_does_not_have_is_unknown(service: Service, name: str) -> None:
    with pytest.raises(UnknownOperation):
        service.operation(name)


def test_an_endless_name_is_not_repeated_in_full(service: Service) -> None:
    with pytest.raises(UnknownOperation) as caught:
        service.operation("x" * 10_000)
    assert len(str(caught.value)) < 200


def test_supporting_an_operation_that_does_not_exist_is_refused_at_once() -> None:
    with pytest.raises((OperationNotFoundError, BotoCoreError)):
        load_service(("CreateShadow",))
