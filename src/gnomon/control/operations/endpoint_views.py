"""An endpoint as DescribeEndpoint shows it, while it changes and after. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gnomon.model.records import EndpointRecord, InstanceRecord
from gnomon.model.spec import EndpointSpec, VariantSpec


def endpoint_view(record: EndpointRecord, instances: Sequence[InstanceRecord]) -> dict[str, Any]:
    """DescribeEndpoint's answer; `instances` are the endpoint's healthy ones.

    While an update is under way the variants shown are those that serve, with what they are to
    become; the configuration that is to serve is the pending deployment.
    """
    spec = record.serving or record.desired
    capture: Any = spec.data_capture
    return {
        "EndpointName": record.name,
        "EndpointArn": record.arn,
        "EndpointConfigName": spec.config_name,
        **_variants(spec, record, instances),
        "DataCaptureConfig": {
            "EnableCapture": capture.get("EnableCapture", False),
            "CaptureStatus": "Started" if capture.get("EnableCapture") else "Stopped",
            "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
            "DestinationS3Uri": capture["DestinationS3Uri"],
            "KmsKeyId": capture.get("KmsKeyId", ""),
        }
        if capture
        else None,
        "EndpointStatus": record.status,
        "FailureReason": record.failure_reason or None,
        "CreationTime": datetime.fromtimestamp(record.created_at_s, UTC),
        "LastModifiedTime": datetime.fromtimestamp(record.modified_at_s, UTC),
        "LastDeploymentConfig": record.deployment,
        "PendingDeploymentSummary": _pending(record, instances),
    }


def _pending(record: EndpointRecord, instances: Sequence[InstanceRecord]) -> dict[str, Any] | None:
    if record.serving is None or record.status != "Updating":
        return None
    if record.serving.config_name == record.desired.config_name:
        return None
    return {
        "EndpointConfigName": record.desired.config_name,
        **_variants(record.desired, record, instances, with_type=True),
        "StartTime": datetime.fromtimestamp(record.modified_at_s, UTC),
    }


def _variants(
    spec: EndpointSpec,
    record: EndpointRecord,
    instances: Sequence[InstanceRecord],
    *,
    with_type: bool = False,
) -> dict[str, Any]:
    def summary(variant: VariantSpec) -> dict[str, Any]:
        shown = _variant(variant, record, instances)
        return {**shown, "InstanceType": variant.instance_type} if with_type else shown

    return {
        "ProductionVariants": [summary(variant) for variant in spec.production],
        "ShadowProductionVariants": [summary(spec.shadow)] if spec.shadow else None,
    }


def _variant(
    variant: VariantSpec, record: EndpointRecord, instances: Sequence[InstanceRecord]
) -> dict[str, Any]:
    serving = record.serving.variant(variant.name) if record.serving else None
    # One that is on its way out is wanted no more: nothing of it is desired.
    desired = record.desired.variant(variant.name)
    current = [
        instance
        for instance in instances
        if instance.variant_id == variant.id and instance.fingerprint == variant.fingerprint
    ]
    # An image is resolved when an instance is made: a test that comes and goes changes none.
    resolved_at_s = min((i.created_at_s for i in current), default=record.modified_at_s)
    status = variant_status(record, variant.name)
    return {
        "VariantName": variant.name,
        "DeployedImages": [
            {
                "SpecifiedImage": variant.container.image,
                "ResolvedImage": variant.container.image,
                "ResolutionTime": datetime.fromtimestamp(resolved_at_s, UTC),
            }
        ],
        "CurrentWeight": serving.weight if serving else None,
        "DesiredWeight": desired.weight if desired else 0.0,
        "CurrentInstanceCount": len(current),
        "DesiredInstanceCount": desired.count if desired else 0,
        "VariantStatus": [
            {
                "Status": status,
                "StartTime": datetime.fromtimestamp(record.modified_at_s, UTC),
            }
        ]
        if status
        else None,
    }


def variant_status(record: EndpointRecord, name: str) -> str | None:
    """Creating, Updating, ActivatingTraffic, Deleting; None while nothing changes for it."""
    serving = record.serving.variant(name) if record.serving else None
    desired = record.desired.variant(name)
    if record.status == "Deleting" or desired is None:
        return "Deleting"
    if record.status not in {"Creating", "Updating"}:
        return None
    if serving is None:
        return "Creating"
    if serving != desired:
        return "Updating"
    return "ActivatingTraffic" if record.serving == record.desired else None
