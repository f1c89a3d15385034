"""Where an operation is not what it is on AWS, or AWS says nothing and Gnomon had to decide.

By operation; `docs/api.md` shows them beside the members' table (`members`). What differs of one
member stands there.
"""

from __future__ import annotations

DIFFERENCES: dict[str, str] = {
    "CreateModel": (
        "Something must be at ModelDataUrl; what is in the archive is seen when an instance "
        "starts. A store that does not answer within 10 s is a ValidationException that says so."
    ),
    "CreateEndpointConfig": (
        "A plain shadow's share is its weight over production's; more than production's "
        "mirrors all. Production's weight must be greater than 0 beside a shadow, which AWS "
        "does not say."
    ),
    "UpdateEndpoint": (
        "While an inference experiment runs on the endpoint it is refused, so that a test is "
        "never pulled away silently."
    ),
    "UpdateEndpointWeightsAndCapacities": (
        "While an inference experiment runs on the endpoint it is refused. Weights of shadows "
        "can be changed as well: a shadow's share is live."
    ),
    "DeleteEndpoint": (
        "While an inference experiment runs on the endpoint it is refused; one that is "
        "Created is cancelled at its StartTime."
    ),
    "CreateInferenceExperiment": (
        "StartTime alone: the test ends 7 days later. EndTime alone: it starts now. AWS does "
        "not say. An EndpointName that names no endpoint makes one, with production alone "
        "until the test starts; it stays, with its production variant, when the test ends. A "
        "second test on an endpoint whose first has not ended is ResourceInUse, Created ones "
        "included. AWS takes no Inf1 instances in a test; here an instance type is a size, "
        "and they are taken. A start that is late begins late, with EndTime kept; a test "
        "whose whole window has passed is Cancelled."
    ),
    "StopInferenceExperiment": (
        "A test that is Created cannot be stopped, which is a ConflictException; delete it. A "
        "variant that ModelVariantActions does not name: production is retained, or removed "
        "if the shadow is promoted; the shadow is removed. Both retained: the shadow goes on "
        "as a plain shadow variant. Completed is shown when all records of the test can be "
        "read."
    ),
    "UpdateInferenceExperiment": (
        "Of a Created test: everything but the models. Of a running one: Description, EndTime "
        "and SamplingPercentage. A value that is sent back unchanged is no change."
    ),
    "DeleteInferenceExperiment": (
        "A test that is Created, Completed or Cancelled; any other is a ConflictException. "
        "The configurations that it made go with it when nothing uses them."
    ),
    "ListInferenceExperiments": ("Type has one value, which every experiment has."),
    "AddTags": ("An ARN of nothing is a ValidationException."),
}
