#!/bin/sh
# Shadow tests with the AWS CLI, as AWS documents `aws sagemaker create-inference-experiment`.
#
# With Gnomon running:
#
#     eval "$(gnomon env)"
#     examples/first_shadow_test.sh
#
# Three tests on one endpoint give every option of the operation: the first in
# shorthand, the second in JSON (inline and from files), the third by --cli-input-json. The exit
# status is 0 only if everything held.
set -eu

: "${AWS_ENDPOINT_URL_SAGEMAKER:?is not set: run eval \"\$(gnomon env)\" first}"
# A failure that a retry hides is a failure that nobody sees; a pager would wait for a key.
export AWS_MAX_ATTEMPTS=1 AWS_PAGER=""

# Names of their own for each run.
name=shell-$(date +%s)
role=arn:aws:iam::000000000000:role/ShadowTest
image=683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

say() { printf '\n== %s\n' "$*"; }

# equal EXPECTED ACTUAL WHAT
equal() {
    if [ "$1" != "$2" ]; then
        printf 'This did not hold: %s is "%s", not "%s".\n' "$3" "$2" "$1" >&2
        exit 1
    fi
    printf '   %s: %s\n' "$3" "$2"
}

# until_is STATUS COMMAND...: repeats the command, at most a minute, until it prints the status.
until_is() {
    wanted=$1
    shift
    tries=0
    while status=$("$@") && [ "$status" != "$wanted" ]; do
        tries=$((tries + 1))
        if [ "$tries" -ge 60 ]; then
            printf 'The status is %s, not %s.\n' "$status" "$wanted" >&2
            exit 1
        fi
        sleep 1
    done
    printf '   status: %s\n' "$status"
}

endpoint_status() {
    aws sagemaker describe-endpoint --endpoint-name "$name" --query EndpointStatus --output text
}

# experiment_status NAME
experiment_status() {
    aws sagemaker describe-inference-experiment --name "$1" --query Status --output text
}

# invoke DELAY: prints what the endpoint answers.
invoke() {
    printf '%s\n' "$1" >"$work/request.csv"
    aws sagemaker-runtime invoke-endpoint --endpoint-name "$name" --content-type text/csv \
        --body "fileb://$work/request.csv" "$work/answer.csv" >/dev/null
    cat "$work/answer.csv"
}

# report NAME: prints it, and sees that the one request of the test was mirrored.
report() {
    gnomon report "$1" | tee "$work/report"
    equal "mirrored 1 of 1" "$(grep -o 'mirrored 1 of 1' "$work/report")" "the report"
}

say "Two models: a handler and a number each, packed as model.tar.gz and put into the store"
mkdir "$work/model" "$work/model/code"
cat >"$work/model/code/inference.py" <<'PYTHON'
import pathlib


def model_fn(model_dir):
    return float(pathlib.Path(model_dir, "late_above").read_text())


def input_fn(body, content_type):
    return float(body)


def predict_fn(delay, late_above):
    return "late" if delay > late_above else "on time"


def output_fn(label, accept):
    return label + "\n", "text/csv"
PYTHON
for model in production:15 shadow:10; do
    echo "${model#*:}" >"$work/model/late_above"
    tar -czf "$work/${model%:*}.tar.gz" -C "$work/model" .
    gnomon cp "$work/${model%:*}.tar.gz" "s3://models/$name/"
    aws sagemaker create-model --model-name "$name-${model%:*}" --execution-role-arn "$role" \
        --primary-container "Image=$image,ModelDataUrl=s3://models/$name/${model%:*}.tar.gz" \
        --query ModelArn --output text
done

say "An endpoint that serves the first"
aws sagemaker create-endpoint-config --endpoint-config-name "$name" --production-variants \
    "VariantName=production,ModelName=$name-production,InstanceType=ml.m5.large,InitialInstanceCount=1" \
    --query EndpointConfigArn --output text
aws sagemaker create-endpoint --endpoint-name "$name" --endpoint-config-name "$name" \
    --query EndpointArn --output text
# `aws sagemaker wait endpoint-in-service` works as well; it looks every 30 seconds.
until_is InService endpoint_status

say "What create-inference-experiment takes"
aws sagemaker create-inference-experiment --generate-cli-skeleton

say "A KMS key for what is captured"
key=$(gnomon keys create --alias "$name" --description "First shadow test")
printf '   %s\n' "$key"

say "A scheduled test, in shorthand"
now=$(date +%s)
aws sagemaker create-inference-experiment \
    --name "$name-shorthand" \
    --type ShadowMode \
    --schedule "StartTime=$((now + 3600)),EndTime=$((now + 7200))" \
    --description "Is a lower threshold better?" \
    --role-arn "$role" \
    --endpoint-name "$name" \
    --model-variants \
    "ModelName=$name-production,VariantName=production,InfrastructureConfig={InfrastructureType=RealTimeInference,RealTimeInferenceConfig={InstanceType=ml.m5.large,InstanceCount=1}}" \
    "ModelName=$name-shadow,VariantName=shadow,InfrastructureConfig={InfrastructureType=RealTimeInference,RealTimeInferenceConfig={InstanceType=ml.m5.large,InstanceCount=1}}" \
    --data-storage-config "Destination=s3://captures/$name,KmsKey=$key,ContentType={CsvContentTypes=[text/csv],JsonContentTypes=[application/json]}" \
    --shadow-mode-config "SourceModelVariantName=production,ShadowModelVariants=[{ShadowModelVariantName=shadow,SamplingPercentage=50}]" \
    --kms-key "$key" \
    --tags Key=project,Value=first-shadow-test Key=stage,Value=trial
until_is Created experiment_status "$name-shorthand"
aws sagemaker update-inference-experiment --name "$name-shorthand" \
    --description "Is a lower threshold much better?" \
    --shadow-mode-config "SourceModelVariantName=production,ShadowModelVariants=[{ShadowModelVariantName=shadow,SamplingPercentage=25}]"
until_is Created experiment_status "$name-shorthand"
equal "Is a lower threshold much better?	25" "$(aws sagemaker describe-inference-experiment \
    --name "$name-shorthand" --output text \
    --query '[Description,ShadowModeConfig.ShadowModelVariants[0].SamplingPercentage]')" \
    "description and sampling"
aws sagemaker list-inference-experiments --name-contains "$name" --status-equals Created \
    --query 'InferenceExperiments[].{Name:Name,Status:Status,From:Schedule.StartTime}' \
    --output table
# A test that has not begun is withdrawn by deleting it.
aws sagemaker delete-inference-experiment --name "$name-shorthand"

say "A test in JSON, inline and from files: started early, watched, changed, rejected"
cat >"$work/variants.json" <<JSON
[
  {"ModelName": "$name-production", "VariantName": "production", "InfrastructureConfig": {
    "InfrastructureType": "RealTimeInference",
    "RealTimeInferenceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1}}},
  {"ModelName": "$name-shadow", "VariantName": "shadow", "InfrastructureConfig": {
    "InfrastructureType": "RealTimeInference",
    "RealTimeInferenceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1}}}
]
JSON
cat >"$work/storage.json" <<JSON
{
  "Destination": "s3://captures/$name",
  "KmsKey": "alias/$name",
  "ContentType": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]}
}
JSON
aws sagemaker create-inference-experiment \
    --name "$name-json" \
    --type ShadowMode \
    --schedule "{\"StartTime\": $((now + 3600)), \"EndTime\": $((now + 7200))}" \
    --description "Is a lower threshold better?" \
    --role-arn "$role" \
    --endpoint-name "$name" \
    --model-variants "file://$work/variants.json" \
    --data-storage-config "file://$work/storage.json" \
    --shadow-mode-config '{"SourceModelVariantName": "production", "ShadowModelVariants":
        [{"ShadowModelVariantName": "shadow", "SamplingPercentage": 100}]}' \
    --kms-key "alias/$name" \
    --tags '[{"Key": "project", "Value": "first-shadow-test"}, {"Key": "stage", "Value": "trial"}]'
until_is Created experiment_status "$name-json"
aws sagemaker start-inference-experiment --name "$name-json"
until_is Running experiment_status "$name-json"
aws sagemaker describe-inference-experiment --name "$name-json" --output table \
    --query '{Status:Status,Endpoint:EndpointMetadata.EndpointStatus,Variants:ModelVariants[].[VariantName,Status]}'
equal "on time" "$(invoke 12)" "a delay of 12 minutes, said by production"
aws sagemaker update-inference-experiment --name "$name-json" --description "Seen enough." \
    --shadow-mode-config '{"SourceModelVariantName": "production", "ShadowModelVariants":
        [{"ShadowModelVariantName": "shadow", "SamplingPercentage": 0}]}'
until_is Running experiment_status "$name-json"
aws sagemaker stop-inference-experiment --name "$name-json" --desired-state Completed \
    --model-variant-actions production=Retain,shadow=Remove --reason "One more try."
until_is Completed experiment_status "$name-json"
equal "on time" "$(invoke 12)" "a delay of 12 minutes, said by production"
report "$name-json"

say "A test by --cli-input-json, begun at once: promoted"
cat >"$work/test.json" <<JSON
{
  "Name": "$name-input",
  "Type": "ShadowMode",
  "Schedule": {"StartTime": $now, "EndTime": $((now + 7200))},
  "Description": "Is a lower threshold better?",
  "RoleArn": "$role",
  "EndpointName": "$name",
  "ModelVariants": $(cat "$work/variants.json"),
  "DataStorageConfig": $(cat "$work/storage.json"),
  "ShadowModeConfig": {
    "SourceModelVariantName": "production",
    "ShadowModelVariants": [{"ShadowModelVariantName": "shadow", "SamplingPercentage": 100}]
  },
  "KmsKey": "$key",
  "Tags": [{"Key": "project", "Value": "first-shadow-test"}]
}
JSON
aws sagemaker create-inference-experiment --cli-input-json "file://$work/test.json"
until_is Running experiment_status "$name-input"
equal "on time" "$(invoke 12)" "a delay of 12 minutes, said by production"
aws sagemaker stop-inference-experiment --name "$name-input" --desired-state Completed \
    --model-variant-actions production=Remove,shadow=Promote --reason "It is better."
until_is Completed experiment_status "$name-input"
equal "late" "$(invoke 12)" "a delay of 12 minutes, said by the promoted variant"
report "$name-input"

say "Done: what was made goes, but for the captured records in s3://captures/$name"
aws sagemaker delete-endpoint --endpoint-name "$name"
for experiment in json input; do
    aws sagemaker delete-inference-experiment --name "$name-$experiment" >/dev/null
done
aws sagemaker delete-endpoint-config --endpoint-config-name "$name"
aws sagemaker delete-model --model-name "$name-production"
aws sagemaker delete-model --model-name "$name-shadow"
