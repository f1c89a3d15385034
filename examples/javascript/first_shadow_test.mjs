// A first shadow test, with the AWS SDK for JavaScript (version 3).
//
// With Gnomon running:
//
//     eval "$(gnomon env)"
//     cd examples/javascript
//     npm ci
//     node first_shadow_test.mjs
//
// It does what first_shadow_test.py does: of two small models, which read a flight's delay and say
// whether it will arrive late, one is tried in the other's shadow and promoted. The exit status is 0
// only if everything held.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { CloudWatchClient, GetMetricStatisticsCommand } from "@aws-sdk/client-cloudwatch";
import {
  CreateEndpointCommand,
  CreateEndpointConfigCommand,
  CreateInferenceExperimentCommand,
  CreateModelCommand,
  DeleteEndpointCommand,
  DeleteEndpointConfigCommand,
  DeleteInferenceExperimentCommand,
  DeleteModelCommand,
  DescribeInferenceExperimentCommand,
  ListTagsCommand,
  ResourceNotFound,
  SageMakerClient,
  StartInferenceExperimentCommand,
  StopInferenceExperimentCommand,
  UpdateInferenceExperimentCommand,
  paginateListInferenceExperiments,
  waitUntilEndpointDeleted,
  waitUntilEndpointInService,
} from "@aws-sdk/client-sagemaker";
import { InvokeEndpointCommand, SageMakerRuntimeClient } from "@aws-sdk/client-sagemaker-runtime";

const REQUESTS = 100;
const IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3";
const ROLE = "arn:aws:iam::000000000000:role/ShadowTest";
const HANDLER = `
import pathlib

def model_fn(model_dir):
    return float(pathlib.Path(model_dir, "late_above").read_text())

def input_fn(body, content_type):
    return float(body)

def predict_fn(delay, late_above):
    return "late" if delay > late_above else "on time"

def output_fn(label, accept):
    return label, "text/csv"
`;

const url = process.env.AWS_ENDPOINT_URL_SAGEMAKER;
if (!url) {
  // Without this variable the SDK would call AWS.
  console.error('No endpoint URL is set. Run eval "$(gnomon env)" first.');
  process.exit(1);
}
// Retries hide failures; here every one is to be seen.
const sagemaker = new SageMakerClient({ maxAttempts: 1 });
const cloudwatch = new CloudWatchClient({ maxAttempts: 1 });
const runtime = new SageMakerRuntimeClient({ maxAttempts: 1 });
// A name of its own for each run.
const name = `javascript-${Date.now()}`;
const work = mkdtempSync(join(tmpdir(), "first-shadow-test-"));

/** Writes a model.tar.gz; returns its URL. */
function packModel(variant, lateAbove) {
  const directory = join(work, variant);
  mkdirSync(join(directory, "code"), { recursive: true });
  writeFileSync(join(directory, "code", "inference.py"), HANDLER);
  writeFileSync(join(directory, "late_above"), String(lateAbove));
  execFileSync("tar", ["-czf", `${directory}.tar.gz`, "-C", directory, "."]);
  return `file://${directory}.tar.gz`;
}

/** What was answered, and by which variant. */
async function invoke(delay) {
  const answer = await runtime.send(
    new InvokeEndpointCommand({
      EndpointName: name,
      Body: String(delay),
      ContentType: "text/csv",
      Accept: "text/csv",
    }),
  );
  return [Buffer.from(answer.Body).toString(), answer.InvokedProductionVariant];
}

async function experimentIs(wanted) {
  for (let look = 0; look < 240; look += 1) {
    const found = await sagemaker.send(new DescribeInferenceExperimentCommand({ Name: name }));
    if (found.Status === wanted) {
      return found;
    }
    await pause(250);
  }
  throw new Error(`The experiment did not become ${wanted}.`);
}

/** How many requests a variant had in the last hour. */
async function invocations(variant) {
  const { Datapoints } = await cloudwatch.send(
    new GetMetricStatisticsCommand({
      Namespace: "AWS/SageMaker",
      MetricName: "Invocations",
      Dimensions: [
        { Name: "EndpointName", Value: name },
        { Name: "VariantName", Value: variant },
      ],
      StartTime: new Date(Date.now() - 3_600_000),
      EndTime: new Date(Date.now() + 60_000),
      Period: 60,
      Statistics: ["Sum"],
    }),
  );
  return Datapoints.reduce((sum, point) => sum + point.Sum, 0);
}

function shadowMode(percentage) {
  return {
    SourceModelVariantName: "production",
    ShadowModelVariants: [{ ShadowModelVariantName: "shadow", SamplingPercentage: percentage }],
  };
}

async function main() {
  console.log("Production: a model, a configuration and an endpoint.");
  for (const [variant, lateAbove] of [["production", 15], ["shadow", 10]]) {
    await sagemaker.send(
      new CreateModelCommand({
        ModelName: `${name}-${variant}`,
        ExecutionRoleArn: ROLE,
        PrimaryContainer: { Image: IMAGE, ModelDataUrl: packModel(variant, lateAbove) },
      }),
    );
  }
  await sagemaker.send(
    new CreateEndpointConfigCommand({
      EndpointConfigName: name,
      ProductionVariants: [
        {
          VariantName: "production",
          ModelName: `${name}-production`,
          InstanceType: "ml.m5.large",
          InitialInstanceCount: 1,
        },
      ],
    }),
  );
  await sagemaker.send(new CreateEndpointCommand({ EndpointName: name, EndpointConfigName: name }));
  const patience = { client: sagemaker, maxWaitTime: 60, minDelay: 1, maxDelay: 1 };
  await waitUntilEndpointInService(patience, { EndpointName: name });
  assert.deepEqual(await invoke(12), ["on time", "production"]);

  console.log("The shadow test: every parameter of the operation but the two KMS keys.");
  const start = new Date(Date.now() + 3_600_000);
  const end = new Date(Date.now() + 7_200_000);
  const size = { InstanceType: "ml.m5.large", InstanceCount: 1 };
  const { InferenceExperimentArn } = await sagemaker.send(
    new CreateInferenceExperimentCommand({
      Name: name,
      Type: "ShadowMode",
      Schedule: { StartTime: start, EndTime: end },
      Description: "Is a lower threshold better?",
      RoleArn: ROLE,
      EndpointName: name,
      ModelVariants: ["production", "shadow"].map((variant) => ({
        ModelName: `${name}-${variant}`,
        VariantName: variant,
        InfrastructureConfig: {
          InfrastructureType: "RealTimeInference",
          RealTimeInferenceConfig: size,
        },
      })),
      DataStorageConfig: {
        Destination: "s3://captures/first-shadow-test",
        ContentType: { CsvContentTypes: ["text/csv"], JsonContentTypes: ["application/json"] },
      },
      ShadowModeConfig: shadowMode(50),
      Tags: [{ Key: "project", Value: "first-shadow-test" }],
    }),
  );
  const created = await experimentIs("Created");
  // The SDK sends fractions of a second.
  assert.deepEqual(created.Schedule, { StartTime: start, EndTime: end });
  const { Tags } = await sagemaker.send(new ListTagsCommand({ ResourceArn: InferenceExperimentArn }));
  assert.deepEqual(Tags, [{ Key: "project", Value: "first-shadow-test" }]);
  await sagemaker.send(
    new UpdateInferenceExperimentCommand({
      Name: name,
      Description: "Is a lower threshold much better?",
      ShadowModeConfig: shadowMode(100),
    }),
  );
  const changed = await experimentIs("Created");
  assert.equal(changed.Description, "Is a lower threshold much better?");
  const listed = [];
  for await (const page of paginateListInferenceExperiments(
    { client: sagemaker, pageSize: 1 },
    { NameContains: name, StatusEquals: "Created" },
  )) {
    listed.push(...page.InferenceExperiments.map((summary) => summary.Name));
  }
  assert.deepEqual(listed, [name]);

  console.log("It is started before its time.");
  await sagemaker.send(new StartInferenceExperimentCommand({ Name: name }));
  await experimentIs("Running");
  for (let number = 0; number < REQUESTS; number += 1) {
    const delay = number % 20;
    assert.deepEqual(await invoke(delay), [delay > 15 ? "late" : "on time", "production"]);
  }

  // And the one before the test. Metrics come a moment after what they count.
  for (let look = 0; look < 40 && (await invocations("production")) <= REQUESTS; look += 1) {
    await pause(250);
  }
  assert.equal(await invocations("production"), REQUESTS + 1);

  console.log("The end: the shadow is promoted.");
  await sagemaker.send(
    new StopInferenceExperimentCommand({
      Name: name,
      ModelVariantActions: { production: "Remove", shadow: "Promote" },
      DesiredState: "Completed",
      Reason: "The lower threshold is better.",
    }),
  );
  const completed = await experimentIs("Completed");
  assert.equal(completed.StatusReason, "The lower threshold is better.");
  assert.deepEqual(await invoke(12), ["late", "shadow"]);

  const report = await (await fetch(`${url}/gnomon/v1/experiments/${name}/report`)).json();
  console.log(`  mirrored ${report.mirror.mirrored} of ${report.mirror.candidates}`);
  console.log(`  the two models agree on ${report.pairs.same} of ${report.pairs.pairs} pairs`);
  assert.equal(report.mirror.mirrored, REQUESTS);
  assert.equal(report.pairs.different, REQUESTS / 4);

  await sagemaker.send(new DeleteEndpointCommand({ EndpointName: name }));
  await waitUntilEndpointDeleted(patience, { EndpointName: name });
  await sagemaker.send(new DeleteInferenceExperimentCommand({ Name: name }));
  await assert.rejects(
    sagemaker.send(new DescribeInferenceExperimentCommand({ Name: name })),
    ResourceNotFound,
  );
  await sagemaker.send(new DeleteEndpointConfigCommand({ EndpointConfigName: name }));
  for (const variant of ["production", "shadow"]) {
    await sagemaker.send(new DeleteModelCommand({ ModelName: `${name}-${variant}` }));
  }
}

try {
  await main();
} finally {
  rmSync(work, { recursive: true });
}
