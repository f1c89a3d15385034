"""AddTags, ListTags, DeleteTags, and tags as the other operations take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gnomon.control.call import Call, Params
from gnomon.errors import ValidationFailed
from gnomon.model.arn import ENDPOINT, ENDPOINT_CONFIG, EXPERIMENT, MODEL
from gnomon.model.records import Tags
from gnomon.store.state.resources import ENDPOINT_CONFIGS, ENDPOINTS, EXPERIMENTS, MODELS

_BY_KIND = {
    MODEL: MODELS,
    ENDPOINT_CONFIG: ENDPOINT_CONFIGS,
    ENDPOINT: ENDPOINTS,
    EXPERIMENT: EXPERIMENTS,
}
# AWS's bound of a resource, and the prefix of the keys that it keeps for itself.
_MAX_TAGS = 50
_RESERVED = "aws:"


def tags_of(params: Params) -> Tags:
    """A request's Tags. Raises ValidationFailed for a key that is given twice, or is AWS's."""
    tags: Tags = {}
    for tag in params.get("Tags") or []:
        key = tag["Key"]
        if key in tags:
            raise ValidationFailed(f"Duplicate tag keys found: {key}.")
        if key.lower().startswith(_RESERVED):
            raise ValidationFailed(f"The tag key {key} begins with {_RESERVED}, which is reserved.")
        tags[key] = tag["Value"]
    return tags


async def add_tags(call: Call, params: Params) -> dict[str, Any]:
    resource, record = await _tagged(call, params["ResourceArn"])
    tags = {**record.tags, **tags_of(params)}
    if len(tags) > _MAX_TAGS:
        raise ValidationFailed(
            f"{record.arn} would have {len(tags)} tags; a resource has {_MAX_TAGS} at most."
        )
    await resource.put(call.connection, msgspec.structs.replace(record, tags=tags))
    return {"Tags": _written(tags)}


async def list_tags(call: Call, params: Params) -> dict[str, Any]:
    if params.get("NextToken"):
        raise ValidationFailed("The NextToken is not one that this operation returned.")
    _, record = await _tagged(call, params["ResourceArn"])
    return {"Tags": _written(record.tags)}


async def delete_tags(call: Call, params: Params) -> dict[str, Any]:
    resource, record = await _tagged(call, params["ResourceArn"])
    gone: Sequence[str] = params["TagKeys"]
    tags = {key: value for key, value in record.tags.items() if key not in gone}
    await resource.put(call.connection, msgspec.structs.replace(record, tags=tags))
    return {}


async def _tagged(call: Call, arn: str) -> tuple[Any, Any]:
    """The queries and the record of the resource with this ARN."""
    kind, _, name = arn.rpartition(":")[2].partition("/")
    resource: Any = _BY_KIND.get(kind)
    record = await resource.find(call.connection, name) if resource else None
    if record is None or record.arn != arn.lower():
        raise ValidationFailed(f"Could not find a resource with the ARN {arn}.")
    return resource, record


def _written(tags: Tags) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
