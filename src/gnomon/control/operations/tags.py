"""Tags as resources keep them, and ListTags."""

from __future__ import annotations

from typing import Any

from gnomon.control.call import Call, Params
from gnomon.errors import ValidationFailed
from gnomon.store.state.resources import ENDPOINT_CONFIGS, ENDPOINTS, EXPERIMENTS, MODELS

_BY_KIND = {
    "model": MODELS,
    "endpoint-config": ENDPOINT_CONFIGS,
    "endpoint": ENDPOINTS,
    "inference-experiment": EXPERIMENTS,
}


def tags_of(params: Params) -> dict[str, str]:
    """A request's Tags. Raises ValidationFailed for a key that is given twice."""
    tags: dict[str, str] = {}
    for tag in params.get("Tags") or []:
        if tag["Key"] in tags:
            raise ValidationFailed(f"Duplicate tag keys found: {tag['Key']}.")
        tags[tag["Key"]] = tag["Value"]
    return tags


async def list_tags(call: Call, params: Params) -> dict[str, Any]:
    arn = params["ResourceArn"]
    kind, _, name = arn.rpartition(":")[2].partition("/")
    resource: Any = _BY_KIND.get(kind)
    record = await resource.find(call.connection, name) if resource else None
    if record is None:
        raise ValidationFailed(f"Could not find a resource with the ARN {arn}.")
    return {"Tags": [{"Key": key, "Value": value} for key, value in record.tags.items()]}
