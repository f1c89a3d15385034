// What the AWS SDK for JavaScript makes of a streamed answer: a line of JSON for its head, for each
// part as it comes, and for its end.
//
//     node response_stream.mjs ENDPOINT_NAME [PARTS]
//
// After so many parts it leaves.

import {
  InvokeEndpointWithResponseStreamCommand,
  SageMakerRuntimeClient,
} from "@aws-sdk/client-sagemaker-runtime";

const [name, parts] = process.argv.slice(2);
const say = (line) => console.log(JSON.stringify(line));
const runtime = new SageMakerRuntimeClient({ maxAttempts: 1 });
try {
  const answer = await runtime.send(
    new InvokeEndpointWithResponseStreamCommand({
      EndpointName: name,
      Body: "1,2",
      ContentType: "text/csv",
      Accept: "text/plain",
    }),
  );
  say({ variant: answer.InvokedProductionVariant, type: answer.ContentType });
  let came = 0;
  for await (const event of answer.Body) {
    say({ part: Buffer.from(event.PayloadPart.Bytes).toString() });
    came += 1;
    if (came === Number(parts)) {
      // As a process does that is ended.
      process.exit(0);
    }
  }
  say({ end: "whole" });
} catch (error) {
  say({ end: error.name, code: error.ErrorCode, status: error.$metadata?.httpStatusCode });
}
