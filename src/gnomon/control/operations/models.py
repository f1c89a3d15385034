"""CreateModel, DescribeModel, ListModels, DeleteModel."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gnomon.control.call import Call, Params
from gnomon.control.operations.listing import page
from gnomon.control.operations.tags import tags_of
from gnomon.errors import ValidationFailed
from gnomon.model.arn import MODEL
from gnomon.model.records import ModelRecord
from gnomon.model.spec import Container
from gnomon.store.state.resources import MODELS

# Bytes of all names and values together: SageMaker's bound.
_MAX_ENVIRONMENT = 32 * 1024


def model_data_url(params: Params) -> str | None:
    """Where the archive of a CreateModel request is, if it has one.

    Raises ValidationFailed for a container that Gnomon cannot run.
    """
    return container_of(params).model_data_url


def role_of(request: Params) -> str:
    """The role that a CreateModel request names to read the archive with; empty if none."""
    return request.get("ExecutionRoleArn") or ""


async def create_model(call: Call, params: Params) -> dict[str, Any]:
    """Adds the model; `model_data_url` has seen its container."""
    name = params["ModelName"]
    arn = call.account.arn(MODEL, name)
    if await MODELS.find(call.connection, name):
        raise ValidationFailed(f'Cannot create already existing model "{arn}".')
    record = ModelRecord(
        id=call.new_id(),
        name=name,
        arn=arn,
        created_at_s=call.now_s,
        tags=tags_of(params),
        request={key: value for key, value in params.items() if key != "Tags"},
    )
    await MODELS.add(call.connection, record)
    return {"ModelArn": arn}


async def describe_model(call: Call, params: Params) -> dict[str, Any]:
    record = await find_model(call, params["ModelName"])
    return {
        **record.request,
        "CreationTime": datetime.fromtimestamp(record.created_at_s, UTC),
        "ModelArn": record.arn,
    }


async def list_models(call: Call, params: Params) -> dict[str, Any]:
    shown, token = await page(call.connection, MODELS, params)
    return {
        "Models": [
            {
                "ModelName": record.name,
                "ModelArn": record.arn,
                "CreationTime": datetime.fromtimestamp(record.created_at_s, UTC),
            }
            for record in shown
        ],
        "NextToken": token,
    }


async def delete_model(call: Call, params: Params) -> dict[str, Any]:
    record = await find_model(call, params["ModelName"])
    await MODELS.remove(call.connection, record.id)
    return {}


async def find_model(call: Call, name: str) -> ModelRecord:
    """The model of this name. Raises ValidationFailed in SageMaker's words if there is none."""
    record = await MODELS.find(call.connection, name)
    if record is None:
        raise ValidationFailed(f'Could not find model "{call.account.arn(MODEL, name)}".')
    return record


def container_of(request: Params) -> Container:
    """The one container of a CreateModel request. Raises ValidationFailed for other forms."""
    containers = request.get("Containers") or []
    primary = request.get("PrimaryContainer")
    if primary and containers:
        raise ValidationFailed("Give either PrimaryContainer or Containers, not both.")
    if len(containers) > 1:
        raise ValidationFailed(
            "More than one element in Containers is not supported: an instance runs one."
        )
    container = primary or (containers[0] if containers else None)
    if container is None:
        raise ValidationFailed("A model needs a PrimaryContainer.")
    if not container.get("Image"):
        raise ValidationFailed("PrimaryContainer needs an Image.")
    url = container.get("ModelDataUrl")
    source = (container.get("ModelDataSource") or {}).get("S3DataSource")
    if url and source:
        raise ValidationFailed("Give either ModelDataUrl or ModelDataSource, not both.")
    if source:
        url = source["S3Uri"]
    if url and not url.startswith(("s3://", "file://")):
        raise ValidationFailed(f"ModelDataUrl {url} must begin with s3:// or file://.")
    environment = dict(container.get("Environment") or {})
    if sum(len(f"{key}{value}".encode()) for key, value in environment.items()) > _MAX_ENVIRONMENT:
        raise ValidationFailed("Environment must not be longer than 32 KiB in all.")
    return Container(
        image=container["Image"],
        model_data_url=url,
        environment=environment,
    )
