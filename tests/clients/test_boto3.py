"""boto3 on a real Gnomon: every waiter, every paginator, every class of error.

What the errors say is asked of the API in one process (`tests/control`); here it is seen that boto3
raises them as AWS's.
"""

import datetime as dt

import boto3
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from gnomon.control.api import OPERATIONS
from gnomon.control.cloudwatch import api as cloudwatch
from gnomon.testing.processes import IMAGE, ROLE

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# botocore's own waiters look every 30 s.
SOON = {"Delay": 0.2, "MaxAttempts": 300}


def described(kind, service="sagemaker"):
    """What botocore says of a service's waiters or paginators."""
    loader = boto3.session.Session()._session.get_component("data_loader")
    files = {"pagination": "paginators-1", "waiters": "waiters-2"}
    return loader.load_service_model(service, files[kind])[kind]


PAGINATED = sorted(set(described("pagination")) & set(OPERATIONS))
WAITERS = sorted(
    name for name, waiter in described("waiters").items() if waiter["operation"] in OPERATIONS
)


@pytest.fixture(scope="module")
def sagemaker(gnomon):
    return gnomon.client("sagemaker")


@pytest.fixture(scope="module")
def unchecked(gnomon):
    """A client that sends whatever it is given."""
    return boto3.client(
        "sagemaker",
        endpoint_url=gnomon.url,
        region_name="us-east-1",
        aws_access_key_id="gnomon",
        aws_secret_access_key="gnomon",
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )


def make_model(sagemaker, name, **members):
    return sagemaker.create_model(
        ModelName=name, PrimaryContainer={"Image": IMAGE, **members}, ExecutionRoleArn=ROLE
    )["ModelArn"]


def make_config(sagemaker, name, model, instance_type="ml.m5.xlarge"):
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model,
        "InstanceType": instance_type,
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def test_these_waiters_wait_for_operations_of_gnomons():
    assert WAITERS == ["EndpointDeleted", "EndpointInService"]


def test_both_waiters_see_an_endpoint_come_and_go(echo):
    echo.model("waited")
    make_config(echo.sagemaker, echo.name, "waited")
    echo.sagemaker.create_endpoint(EndpointName=echo.name, EndpointConfigName=echo.name)
    echo.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=echo.name, WaiterConfig=SOON)
    assert echo.invoke("hello")["Body"].read() == b"hello"
    echo.sagemaker.delete_endpoint(EndpointName=echo.name)
    echo.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=echo.name, WaiterConfig=SOON)
    with pytest.raises(ClientError, match="Could not find endpoint"):
        echo.sagemaker.describe_endpoint(EndpointName=echo.name)


def test_both_waiters_give_up_on_an_endpoint_that_failed(sagemaker, tmp_path):
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(b"no archive")
    make_model(sagemaker, "broken", ModelDataUrl=f"file://{archive}")
    make_config(sagemaker, "broken", "broken")
    sagemaker.create_endpoint(EndpointName="broken", EndpointConfigName="broken")
    for waiter in ("endpoint_in_service", "endpoint_deleted"):
        with pytest.raises(WaiterError) as given_up:
            sagemaker.get_waiter(waiter).wait(EndpointName="broken", WaiterConfig=SOON)
        assert given_up.value.last_response["EndpointStatus"] == "Failed"
        assert given_up.value.last_response["FailureReason"]


def test_the_waiter_for_service_gives_up_on_an_endpoint_that_is_not_there(sagemaker):
    with pytest.raises(WaiterError) as given_up:
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="nobody", WaiterConfig=SOON)
    assert given_up.value.last_response["Error"]["Code"] == "ValidationException"


# What is listed, by which member, and with which prefix: an experiment's own configurations are
# named after it.
LISTED = {
    "ListModels": ("ModelName", "paged"),
    "ListEndpointConfigs": ("EndpointConfigName", "paged"),
    "ListEndpoints": ("EndpointName", "paged"),
    "ListInferenceExperiments": ("Name", "tested"),
}
NUMBERS = range(5)


def names(prefix):
    return [f"{prefix}-{number}" for number in NUMBERS]


def experiment(name):
    """A test that is cancelled: the archive of its models is not there."""
    size = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1}
    return {
        "Name": name,
        "Type": "ShadowMode",
        "RoleArn": ROLE,
        "EndpointName": name,
        "ModelVariants": [
            {
                "ModelName": name.replace("tested", "paged"),
                "VariantName": variant,
                "InfrastructureConfig": {
                    "InfrastructureType": "RealTimeInference",
                    "RealTimeInferenceConfig": size,
                },
            }
            for variant in ("production", "shadow")
        ],
        "ShadowModeConfig": {
            "SourceModelVariantName": "production",
            "ShadowModelVariants": [{"ShadowModelVariantName": "shadow", "SamplingPercentage": 1}],
        },
    }


@pytest.fixture(scope="module")
def paged(gnomon, sagemaker, tmp_path_factory):
    """Five of everything that is listed, none of which ever runs, and five tags; the tags' ARN."""
    archive = tmp_path_factory.mktemp("paged") / "model.tar.gz"
    archive.write_bytes(b"no archive")
    for name in names("paged"):
        arn = make_model(sagemaker, name, ModelDataUrl=f"file://{archive}")
        make_config(sagemaker, name, name)
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    for name in names("paged"):
        with pytest.raises(WaiterError):
            sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=SOON)
    for name in names("tested"):
        sagemaker.create_inference_experiment(**experiment(name))
    sagemaker.add_tags(
        ResourceArn=arn, Tags=[{"Key": name, "Value": ""} for name in names("paged")]
    )
    return arn


def test_every_paginator_of_gnomons_operations_is_tried():
    assert sorted([*LISTED, "ListTags"]) == PAGINATED


@pytest.mark.parametrize("operation", LISTED)
def test_a_paginator_finds_everything_once_whatever_the_page(operation, sagemaker, paged):
    key, prefix = LISTED[operation]
    paginator = sagemaker.get_paginator(xform_name(operation))
    result_key = described("pagination")[operation]["result_key"]
    for size in (1, 2, 5, 100):
        pages = list(
            paginator.paginate(
                NameContains=prefix,
                SortBy="Name",
                SortOrder="Ascending",
                PaginationConfig={"PageSize": size},
            )
        )
        assert [item[key] for page in pages for item in page[result_key]] == names(prefix)
        assert len(pages) == -(-len(NUMBERS) // size)


@pytest.mark.parametrize("operation", PAGINATED)
def test_a_paginator_goes_on_where_it_was_told_to_stop(operation, sagemaker, paged):
    paginator = sagemaker.get_paginator(xform_name(operation))
    result_key = described("pagination")[operation]["result_key"]
    key, prefix = LISTED.get(operation, ("Key", "paged"))
    params = {"NameContains": prefix} if operation in LISTED else {"ResourceArn": paged}
    # A page of ListTags is never less than all tags that a resource may have.
    stop = {"MaxItems": 3} | ({"PageSize": 2} if operation in LISTED else {})
    first = paginator.paginate(**params, PaginationConfig=stop).build_full_result()
    rest = paginator.paginate(
        **params, PaginationConfig={"StartingToken": first["NextToken"]}
    ).build_full_result()
    assert len(first[result_key]) == 3
    assert sorted(item[key] for item in [*first[result_key], *rest[result_key]]) == names(prefix)


def test_every_paginator_of_cloudwatchs_operations_finds_what_was_counted(echo):
    assert set(described("pagination", "cloudwatch")) & set(cloudwatch.OPERATIONS) == {
        "GetMetricData",
        "ListMetrics",
    }
    assert not {
        waiter["operation"] for waiter in described("waiters", "cloudwatch").values()
    } & set(cloudwatch.OPERATIONS)
    echo.endpoint()
    echo.invoke("counted")
    client = echo.gnomon.client("cloudwatch")
    endpoint = [{"Name": "EndpointName", "Value": echo.name}]

    def listed():
        pages = client.get_paginator("list_metrics").paginate(
            Namespace="AWS/SageMaker", MetricName="Invocations", Dimensions=endpoint
        )
        return [metric for page in pages for metric in page["Metrics"]]

    (metric,) = echo.gnomon.wait(listed, "the metric")
    now = dt.datetime.now(dt.UTC)
    stat = {"Metric": metric, "Period": 60, "Stat": "Sum"}
    pages = client.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[{"Id": name, "MetricStat": stat} for name in ("a", "b", "c")],
        StartTime=now - dt.timedelta(hours=1),
        EndTime=now + dt.timedelta(minutes=1),
        PaginationConfig={"PageSize": 1},
    )
    found = [(item["Id"], item["Values"]) for page in pages for item in page["MetricDataResults"]]
    assert [values for values in found if values[1]] == [("a", [1]), ("b", [1]), ("c", [1])]


def refusal(call, **params):
    with pytest.raises(ClientError) as refused:
        call(**params)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return refused.value


def test_what_boto3_would_refuse_itself_is_refused_as_by_sagemaker(unchecked):
    error = refusal(
        unchecked.create_inference_experiment,
        Name="-",
        Type="Shadow",
        ModelVariants=[],
        ShadowModeConfig={
            "SourceModelVariantName": "production",
            "ShadowModelVariants": [{"ShadowModelVariantName": "s", "SamplingPercentage": 101}],
        },
    )
    text = error.response["Error"]["Message"]
    assert error.response["Error"]["Code"] == "ValidationException"
    assert text.startswith("6 validation errors detected: Value '-' at 'name' failed to satisfy")
    for fault in (
        "Value 'Shadow' at 'type' failed to satisfy constraint: Member must satisfy enum value set",
        "Value null at 'roleArn' failed to satisfy constraint: Member must not be null",
        "Value '101' at 'shadowModeConfig.shadowModelVariants.1.member.samplingPercentage' failed",
        "Member must have value less than or equal to 100",
    ):
        assert fault in text


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if not name.startswith("List")])
def test_every_member_that_is_required_is_missed(operation, unchecked):
    required = unchecked.meta.service_model.operation_model(operation).input_shape.required_members
    error = refusal(getattr(unchecked, xform_name(operation)))
    text = error.response["Error"]["Message"]
    assert error.response["Error"]["Code"] == "ValidationException"
    for member in required:
        path = member[0].lower() + member[1:]
        assert (
            f"Value null at '{path}' failed to satisfy constraint: Member must not be null" in text
        )
    assert text.count("Member must not be null") == len(required)


def test_each_error_is_raised_as_the_class_that_boto3_has_for_it(sagemaker, paged):
    errors = sagemaker.exceptions
    with pytest.raises(errors.ResourceNotFound, match="nobody"):
        sagemaker.describe_inference_experiment(Name="nobody")
    with pytest.raises(errors.ResourceInUse):
        sagemaker.create_inference_experiment(**experiment("tested-0"))
    with pytest.raises(errors.ConflictException):
        sagemaker.start_inference_experiment(Name="tested-0")
    make_config(sagemaker, "limited", "paged-0", instance_type="ml.m4.xlarge")
    with pytest.raises(errors.ResourceLimitExceeded, match=r"'ml\.m4\.xlarge for endpoint"):
        sagemaker.create_endpoint(EndpointName="limited", EndpointConfigName="limited")


def test_an_operation_that_gnomon_has_not_is_refused_with_those_that_it_has(unchecked):
    error = refusal(unchecked.list_training_jobs)
    assert "ListTrainingJobs" in str(error)
    assert all(operation in str(error) for operation in OPERATIONS)
