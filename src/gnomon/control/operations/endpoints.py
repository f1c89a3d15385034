"""CreateEndpoint, DescribeEndpoint and ListEndpoints; what changes one is in `endpoint_changes`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gnomon.control.call import Call, Params
from gnomon.control.call import create_endpoint as add_endpoint
from gnomon.control.operations.endpoint_configs import find_endpoint_config
from gnomon.control.operations.endpoint_specs import resolve
from gnomon.control.operations.endpoint_views import endpoint_view
from gnomon.control.operations.listing import page
from gnomon.control.operations.tags import tags_of
from gnomon.control.quotas import check_endpoints, check_instances
from gnomon.errors import ValidationFailed
from gnomon.model.arn import ENDPOINT
from gnomon.model.records import EndpointRecord
from gnomon.model.spec import EndpointSpec
from gnomon.store.state.instances import instances_of
from gnomon.store.state.resources import ENDPOINTS


async def create_endpoint(call: Call, params: Params) -> dict[str, Any]:
    config = await find_endpoint_config(call, params["EndpointConfigName"])
    spec = await resolve(call, config, None)
    record = await begin_endpoint(
        call,
        params["EndpointName"],
        spec,
        tags_of(params),
        deployment=params.get("DeploymentConfig"),
    )
    return {"EndpointArn": record.arn}


async def begin_endpoint(
    call: Call,
    name: str,
    spec: EndpointSpec,
    tags: dict[str, str],
    *,
    deployment: dict[str, object] | None = None,
) -> EndpointRecord:
    """Adds an endpoint in status Creating.

    Raises ValidationFailed if the name is taken, ResourceLimitExceeded over a quota.
    """
    arn = call.account.arn(ENDPOINT, name)
    if await ENDPOINTS.find(call.connection, name):
        raise ValidationFailed(f'Cannot create already existing endpoint "{arn}".')
    await check_endpoints(call)
    await check_instances(call, None, spec)
    record = EndpointRecord(
        id=call.new_id(),
        name=name,
        arn=arn,
        created_at_s=call.now_s,
        modified_at_s=call.now_s,
        tags=tags,
        status="Creating",
        failure_reason="",
        desired=spec,
        serving=None,
        changing_since_s=call.steady_s,
        deployment=deployment,
    )
    await add_endpoint(call, record)
    return record


async def describe_endpoint(call: Call, params: Params) -> dict[str, Any]:
    record = await find_endpoint(call, params["EndpointName"])
    instances = await instances_of(call.connection, record.id, statuses=("InService",))
    return endpoint_view(record, instances)


async def list_endpoints(call: Call, params: Params) -> dict[str, Any]:
    shown, token = await page(call.connection, ENDPOINTS, params)
    return {
        "Endpoints": [
            {
                "EndpointName": record.name,
                "EndpointArn": record.arn,
                "CreationTime": datetime.fromtimestamp(record.created_at_s, UTC),
                "LastModifiedTime": datetime.fromtimestamp(record.modified_at_s, UTC),
                "EndpointStatus": record.status,
            }
            for record in shown
        ],
        "NextToken": token,
    }


async def find_endpoint(call: Call, name: str) -> EndpointRecord:
    """The endpoint of this name. Raises ValidationFailed in the words botocore's waiters know."""
    record = await ENDPOINTS.find(call.connection, name)
    if record is None:
        raise ValidationFailed(f'Could not find endpoint "{call.account.arn(ENDPOINT, name)}".')
    return record


def check_changeable(record: EndpointRecord) -> None:
    """Raises ValidationFailed unless the endpoint is InService."""
    if record.status in {"Creating", "Updating", "Deleting"}:
        raise ValidationFailed(f'Cannot update in-progress endpoint "{record.arn}".')
    if record.status != "InService":
        raise ValidationFailed(
            f'Cannot update endpoint "{record.arn}": its status is {record.status}.'
        )
