"""What becomes of each member of the service model that a supported operation takes.

Three classes: honoured; kept and echoed without effect, so that scripts run unchanged; refused with
a ValidationException that names the member, because ignoring it would mislead. The table is by the
shape that has the member. A shape whose members are all one class's is reached only through members
of that class, and is not listed. `docs/api.md` is drawn from it, and a test sees that every member
that can be reached has its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from gnomon.errors import ValidationFailed


@dataclass(frozen=True)
class Honoured:
    """It does what AWS says; `note` says where Gnomon differs, `refused` which values it does not
    take, and why.
    """

    note: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Echoed:
    """Describe shows it again, and it does nothing; `why`."""

    why: str


@dataclass(frozen=True)
class Refused:
    """`why` is the rest of the sentence that a caller sees."""

    why: str


Treatment = Honoured | Echoed | Refused

_UNSUPPORTED = "One or more endpoint features are not supported using this configuration."
_ONE_MODEL = "an instance serves one model."
_NO_PACKAGES = "Gnomon has no model packages. Give Image and ModelDataUrl."
_GZIP_ONLY = "Gnomon takes one gzip-compressed archive. Give S3DataType S3Object and Gzip."

_DONE = Honoured()
_NO_NETWORK = Echoed("instances run on this machine's network")
_NO_VOLUMES = Echoed("instances use this machine's disk")
_VOLUME_KEY = Honoured(
    "models unpack into memory, records are sealed in the spool; the guide says what that leaves"
)


def _all(*names: str) -> dict[str, Treatment]:
    return dict.fromkeys(names, _DONE)


_LIST = _all("SortBy", "SortOrder", "NextToken", "MaxResults", "NameContains")
_CREATED = _all("CreationTimeBefore", "CreationTimeAfter")
_MODIFIED = _all("LastModifiedTimeBefore", "LastModifiedTimeAfter")

MEMBERS: dict[str, dict[str, Treatment]] = {
    # Models
    "CreateModelInput": {
        **_all("ModelName", "PrimaryContainer", "Tags"),
        "Containers": Honoured("one container at most"),
        "InferenceExecutionConfig": Echoed("a single container has no order"),
        "ExecutionRoleArn": Honoured("with `roles.strict`: what reads the archive"),
        "VpcConfig": _NO_NETWORK,
        "EnableNetworkIsolation": _NO_NETWORK,
    },
    "ContainerDefinition": {
        "Image": Honoured("a table of patterns says how an image runs; nothing is pulled"),
        "ModelDataUrl": Honoured("`file:///…` is taken besides s3://"),
        **_all("ModelDataSource", "Environment"),
        "Mode": Honoured(refused={"MultiModel": _ONE_MODEL}),
        "ContainerHostname": Echoed("a model has one container"),
        "ImageConfig": Echoed("no image is pulled"),
        "ContainerMetricsConfig": Echoed("Gnomon publishes no metrics of the container's own"),
        "ModelPackageName": Refused(_NO_PACKAGES),
        "InferenceSpecificationName": Refused(_NO_PACKAGES),
        "AdditionalModelDataSources": Refused(_ONE_MODEL),
        "MultiModelConfig": Refused(_ONE_MODEL),
    },
    "ModelDataSource": _all("S3DataSource"),
    "S3ModelDataSource": {
        "S3Uri": _DONE,
        "S3DataType": Honoured(refused={"S3Prefix": _GZIP_ONLY}),
        "CompressionType": Honoured(refused={"None": _GZIP_ONLY}),
        "ETag": Echoed("the archive is taken as it is when an instance starts"),
        "ManifestEtag": Echoed("there is no manifest"),
        "ModelAccessConfig": Echoed("no model here asks for a licence to be accepted"),
        "HubAccessConfig": Refused("Gnomon has no model hub."),
        "ManifestS3Uri": Refused(_GZIP_ONLY),
    },
    "DescribeModelInput": _all("ModelName"),
    "ListModelsInput": _LIST | _CREATED,
    "DeleteModelInput": _all("ModelName"),
    # Endpoint configurations
    "CreateEndpointConfigInput": {
        **_all("EndpointConfigName", "ProductionVariants", "DataCaptureConfig", "Tags"),
        "ShadowProductionVariants": Honoured("one shadow at most"),
        "ExecutionRoleArn": Honoured(
            "with `roles.strict`: what writes captures; else the first production variant's model's"
        ),
        "VpcConfig": _NO_NETWORK,
        "EnableNetworkIsolation": _NO_NETWORK,
        "MetricsConfig": Echoed("every metric is published each minute"),
        "CrossRegionTrafficConfig": Echoed("there is one place that requests can go to"),
        "KmsKeyId": _VOLUME_KEY,
        "AsyncInferenceConfig": Refused(_UNSUPPORTED),
        "ExplainerConfig": Refused(_UNSUPPORTED),
    },
    "ProductionVariant": {
        "ModelName": Honoured("required: Gnomon has no inference components"),
        "InstanceType": Honoured("required; a size, which sets threads and counts for quotas"),
        "InitialInstanceCount": Honoured("required"),
        "RoutingConfig": Honoured("one strategy for all production variants"),
        **_all(
            "VariantName",
            "InitialVariantWeight",
            "ContainerStartupHealthCheckTimeoutInSeconds",
            "ModelDataDownloadTimeoutInSeconds",
        ),
        "VariantInstanceProvisionTimeoutInSeconds": Echoed("an instance needs no machine first"),
        "VolumeSizeInGB": _NO_VOLUMES,
        "EnableSSMAccess": Echoed("instances are processes of this machine"),
        "InferenceAmiVersion": Echoed("instances run on this machine's system"),
        "CapacityReservationConfig": Echoed("this machine's capacity cannot be reserved"),
        "InstancePools": Refused("give one InstanceType."),
        "AcceleratorType": Refused("there are no elastic accelerators."),
        "AcceleratorPartitionLayouts": Refused("Gnomon partitions no accelerators."),
        "CoreDumpConfig": Refused("Gnomon takes no core dumps."),
        "ServerlessConfig": Refused(_UNSUPPORTED),
        "ManagedInstanceScaling": Refused(_UNSUPPORTED),
    },
    "ProductionVariantRoutingConfig": {
        "RoutingStrategy": Honoured(
            refused={
                "PREFIX_AWARE": "routers do not read requests.",
                "KV_AWARE": "routers do not read requests.",
            }
        ),
        "PrefixAwareRoutingConfig": Refused("routers do not read requests."),
    },
    "DataCaptureConfig": {
        **_all("EnableCapture", "InitialSamplingPercentage", "DestinationS3Uri", "CaptureOptions"),
        "CaptureContentTypeHeader": _DONE,
        "KmsKeyId": _DONE,
    },
    "CaptureOption": _all("CaptureMode"),
    "CaptureContentTypeHeader": _all("CsvContentTypes", "JsonContentTypes"),
    "DescribeEndpointConfigInput": _all("EndpointConfigName"),
    "ListEndpointConfigsInput": _LIST | _CREATED,
    "DeleteEndpointConfigInput": _all("EndpointConfigName"),
    # Endpoints
    "CreateEndpointInput": _all("EndpointName", "EndpointConfigName", "DeploymentConfig", "Tags"),
    "DeploymentConfig": {
        "BlueGreenUpdatePolicy": Echoed(
            "every update starts new instances beside, then moves traffic at once"
        ),
        "RollingUpdatePolicy": Echoed(
            "every update starts new instances beside, then moves traffic at once"
        ),
        "AutoRollbackConfiguration": Refused("Gnomon has no alarms to roll back on."),
    },
    "DescribeEndpointInput": _all("EndpointName"),
    "ListEndpointsInput": _LIST | _CREATED | _MODIFIED | _all("StatusEquals"),
    "UpdateEndpointInput": _all(
        "EndpointName",
        "EndpointConfigName",
        "RetainAllVariantProperties",
        "ExcludeRetainedVariantProperties",
        "DeploymentConfig",
        "RetainDeploymentConfig",
    ),
    "VariantProperty": _all("VariantPropertyType"),
    "UpdateEndpointWeightsAndCapacitiesInput": _all("EndpointName", "DesiredWeightsAndCapacities"),
    "DesiredWeightAndCapacity": {
        **_all("VariantName", "DesiredWeight"),
        "DesiredInstanceCount": Honoured("at least 1"),
        "ServerlessUpdateConfig": Refused(_UNSUPPORTED),
    },
    "DeleteEndpointInput": _all("EndpointName"),
    # Inference experiments
    "CreateInferenceExperimentRequest": {
        **_all("Name", "Type", "Schedule", "Description", "EndpointName", "ModelVariants"),
        **_all("DataStorageConfig", "ShadowModeConfig", "Tags"),
        "RoleArn": Honoured("with `roles.strict`: what writes captures; models have their own"),
        "KmsKey": _VOLUME_KEY,
    },
    "InferenceExperimentSchedule": _all("StartTime", "EndTime"),
    "ModelVariantConfig": _all("ModelName", "VariantName", "InfrastructureConfig"),
    "ModelInfrastructureConfig": _all("InfrastructureType", "RealTimeInferenceConfig"),
    "RealTimeInferenceConfig": {
        "InstanceType": Honoured("a size, which sets threads and counts for quotas"),
        "InstanceCount": Honoured("at least 1"),
    },
    "InferenceExperimentDataStorageConfig": {
        **_all("Destination", "ContentType", "KmsKey"),
    },
    "ShadowModeConfig": _all("SourceModelVariantName", "ShadowModelVariants"),
    "ShadowModelVariantConfig": {
        "ShadowModelVariantName": _DONE,
        "SamplingPercentage": Honoured("from 0"),
    },
    "DescribeInferenceExperimentRequest": _all("Name"),
    "ListInferenceExperimentsRequest": _LIST | _CREATED | _MODIFIED | _all("StatusEquals", "Type"),
    "StartInferenceExperimentRequest": _all("Name"),
    "StopInferenceExperimentRequest": {
        **_all("Name", "ModelVariantActions", "DesiredModelVariants", "Reason"),
        "DesiredState": Honoured("Cancelled when absent"),
    },
    "UpdateInferenceExperimentRequest": {
        **_all("Name", "Schedule", "Description", "ModelVariants", "DataStorageConfig"),
        "ShadowModeConfig": Honoured("of a running test: SamplingPercentage only"),
    },
    "DeleteInferenceExperimentRequest": _all("Name"),
    # Tags
    "AddTagsInput": _all("ResourceArn", "Tags"),
    "ListTagsInput": {
        **_all("ResourceArn", "MaxResults"),
        "NextToken": Honoured("never given: a resource has 50 tags at most"),
    },
    "DeleteTagsInput": _all("ResourceArn", "TagKeys"),
    "Tag": _all("Key", "Value"),
}


def check_members(shape: Shape, params: Mapping[str, Any]) -> None:
    """Raises ValidationFailed for the first member, or value, of `params` that is refused.

    An empty structure or list, and False, ask for nothing and pass.
    """
    for refusal in _refusals(shape, params, ""):
        raise ValidationFailed(refusal)


def _refusals(shape: Shape, value: Any, path: str) -> Iterator[str]:
    match shape:
        case StructureShape():
            for name, member in shape.members.items():
                if value.get(name):
                    yield from _member(shape, name, member, value[name], _join(path, name))
        case ListShape():
            for number, item in enumerate(value, start=1):
                yield from _refusals(shape.member, item, f"{path}.{number}")
        case MapShape():
            for key, item in value.items():
                yield from _refusals(shape.value, item, f"{path}.{key}")


def _member(
    shape: StructureShape, name: str, member: Shape, value: Any, path: str
) -> Iterator[str]:
    match MEMBERS[shape.name][name]:
        case Refused(why):
            yield f"{path} is not supported: {why}"
        case Honoured(refused=refused):
            if isinstance(value, str) and value in refused:
                yield f"{path} {value} is not supported: {refused[value]}"
            yield from _refusals(member, value, path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
