// A page as somebody else might write it: it starts a workflow, follows it live,
// and reads its history, over each transport in turn. What happened it tells its own
// server.
import {
  StreamService, WorkflowExecutionService, bearer, createClient, createConnectTransport, createGrpcWebTransport,
  decodeJSON, decodeText, encodeJSON,
} from "/flovyn.js";

const { baseUrl, key, org, who } = await (await fetch("/settings")).json();
const options = { baseUrl, interceptors: [bearer(key)] };
const transports = {
  "Connect binary": createConnectTransport({ ...options, useBinaryFormat: true }),
  "Connect JSON": createConnectTransport({ ...options, useBinaryFormat: false }),
  "gRPC-Web": createGrpcWebTransport(options),
};

async function use(name, transport) {
  const executions = createClient(WorkflowExecutionService, transport);
  const streams = createClient(StreamService, transport);
  const { workflowExecutionId: id, created } = await executions.startWorkflowExecution({
    org, kind: "greet", queue: "browser", input: encodeJSON({ name }), metadata: { transport: name },
    idempotencyKey: who + " " + name,
  });
  const frames = [];
  for await (const frame of streams.streamWorkflowExecution({ org, id })) {
    frames.push(frame.event);
    if (frame.event === "data" && JSON.parse(frame.data).event === "WORKFLOW_COMPLETED") {
      break;
    }
  }
  const { events } = await executions.listWorkflowEvents({ org, id });
  const last = events.at(-1);
  const { execution } = await executions.getWorkflowExecution({ org, id });
  return {
    created, live: frames.length > 0, sequences: events.map((event) => event.sequence), first: events[0].eventType,
    last: last.eventType, output: decodeJSON(last.data).output, text: decodeText(execution.output), status: execution.status,
    metadata: execution.metadata,
  };
}

const results = {};
for (const [name, transport] of Object.entries(transports)) {
  try {
    results[name] = await use(name, transport);
  } catch (error) {
    results[name] = { error: String(error) };
  }
}
await fetch("/results", { method: "POST", body: JSON.stringify(results) });
