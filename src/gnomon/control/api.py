"""SageMaker's control API: from a request's bytes to an answer's, whatever the request was.

The wire is `gnomon.aws`'s, what each operation does is in `operations/`, one file a resource.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from structlog.contextvars import bound_contextvars

from gnomon.aws import json_protocol
from gnomon.aws.errors import control_error
from gnomon.aws.response import Response
from gnomon.aws.service import Service, load_service
from gnomon.aws.validation import validate
from gnomon.control.call import Operation
from gnomon.control.destinations import Destinations
from gnomon.control.disk_floor import DiskFloor
from gnomon.control.operations import (
    endpoint_changes,
    endpoint_configs,
    endpoints,
    experiment_changes,
    experiments,
    models,
    tags,
)
from gnomon.control.operations.members import check_members
from gnomon.control.transactions import Transactions
from gnomon.errors import exhaustion

OPERATIONS: dict[str, Operation] = {
    "CreateModel": models.create_model,
    "DescribeModel": models.describe_model,
    "ListModels": models.list_models,
    "DeleteModel": models.delete_model,
    "CreateEndpointConfig": endpoint_configs.create_endpoint_config,
    "DescribeEndpointConfig": endpoint_configs.describe_endpoint_config,
    "ListEndpointConfigs": endpoint_configs.list_endpoint_configs,
    "DeleteEndpointConfig": endpoint_configs.delete_endpoint_config,
    "CreateEndpoint": endpoints.create_endpoint,
    "DescribeEndpoint": endpoints.describe_endpoint,
    "ListEndpoints": endpoints.list_endpoints,
    "UpdateEndpoint": endpoint_changes.update_endpoint,
    "UpdateEndpointWeightsAndCapacities": endpoint_changes.update_weights_and_capacities,
    "DeleteEndpoint": endpoint_changes.delete_endpoint,
    "CreateInferenceExperiment": experiments.create_inference_experiment,
    "DescribeInferenceExperiment": experiments.describe_inference_experiment,
    "ListInferenceExperiments": experiments.list_inference_experiments,
    "StartInferenceExperiment": experiment_changes.start_inference_experiment,
    "StopInferenceExperiment": experiment_changes.stop_inference_experiment,
    "UpdateInferenceExperiment": experiment_changes.update_inference_experiment,
    "DeleteInferenceExperiment": experiments.delete_inference_experiment,
    "AddTags": tags.add_tags,
    "ListTags": tags.list_tags,
    "DeleteTags": tags.delete_tags,
}

_READING = ("Describe", "List")
# What begins something that will want room on the disk. Changing and ending always go.
_BEGINNING = ("Create", "Start")
# The status of an answer that says that the fault is Gnomon's.
INTERNAL = 500

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Api:
    """`changed` is called after every operation that wrote; `floor` keeps new work from a disk
    that is nearly full, `check_model_data` (it raises GnomonError) models whose role cannot have
    their archives, `destinations` what could not be captured from beginning.
    """

    service: Service
    transactions: Transactions
    floor: DiskFloor
    check_model_data: Callable[[str | None, str], Awaitable[None]]
    destinations: Destinations
    changed: Callable[[], None]

    async def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Response:
        """The answer to one request; `headers` by lower-case names. Never raises for the request's
        sake.
        """
        request_id = str(uuid.uuid4())
        # Every line that is logged under way has it, transitions included.
        with bound_contextvars(request_id=request_id):
            try:
                return await self._answer(method, path, headers, body, request_id)
            except Exception as error:  # noqa: BLE001 - a request ends here
                known = exhaustion(error) or error
                answer = control_error(known, request_id)
                if answer.status == INTERNAL:
                    _LOG.exception("a request failed")
                else:
                    _LOG.info("a request was refused", reason=str(known))
                return answer

    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, request_id: str
    ) -> Response:
        request = json_protocol.parse(
            self.service,
            method,
            path,
            headers,
            body,
            request_id=request_id,
            default_region=self.transactions.account.region,
        )
        operation = self.service.operation(request.operation)
        if operation.input_shape is not None:
            validate(operation.input_shape, request.params, self.service.instance_types)
            check_members(operation.input_shape, request.params)
        handler = OPERATIONS[request.operation]
        if request.operation.startswith(_READING):
            async with self.transactions.looking(request.region) as call:
                result = await handler(call, request.params)
        else:
            if request.operation.startswith(_BEGINNING):
                await self.floor.check()
            # Before the transaction: a store or a key service takes its time.
            if request.operation == "CreateModel":
                url, role_arn = (
                    models.model_data_url(request.params),
                    models.role_of(request.params),
                )
                await self.check_model_data(url, role_arn)
            await self.destinations.check(request.operation, request.params)
            async with self.transactions.call(request.region) as call:
                result = await handler(call, request.params)
            self.changed()
            _LOG.info("a request was carried out", operation=request.operation)
        return json_protocol.answer(operation, result, request_id)


def load() -> Service:
    """SageMaker's service model, narrowed to the operations here."""
    return load_service(tuple(OPERATIONS))
