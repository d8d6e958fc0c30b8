// Flovyn Server's management API for browsers.
//
//   const transport = createConnectTransport({ baseUrl: "https://flovyn.example.com", interceptors: [bearer(key)] });
//   const executions = createClient(WorkflowExecutionService, transport);
//   await executions.startWorkflowExecution({ org: "acme", kind: "order", input: encodeJSON({ id: 1 }) });
export { Code, ConnectError, createClient } from "@connectrpc/connect";
export { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";

import type { Interceptor } from "@connectrpc/connect";

export * from "./gen/flovyn/api/v1/audit_pb.js";
export * from "./gen/flovyn/api/v1/organization_pb.js";
export * from "./gen/flovyn/api/v1/promise_pb.js";
export * from "./gen/flovyn/api/v1/query_pb.js";
export * from "./gen/flovyn/api/v1/schedule_pb.js";
export * from "./gen/flovyn/api/v1/stream_pb.js";
export * from "./gen/flovyn/api/v1/task_execution_pb.js";
export * from "./gen/flovyn/api/v1/worker_pb.js";
export * from "./gen/flovyn/api/v1/worker_token_pb.js";
export * from "./gen/flovyn/api/v1/workflow_execution_pb.js";

/** Sends a credential with every call: a token, or a function that gets one. */
export function bearer(token: string | (() => string | Promise<string>)): Interceptor {
  return (next) => async (request) => {
    request.header.set("Authorization", "Bearer " + (typeof token === "string" ? token : await token()));
    return next(request);
  };
}

/** Makes a payload, which is JSON in bytes, of a value. */
export function encodeJSON(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}

/**
 * Reads a payload. A number beyond 2^53 loses digits here as everywhere in
 * JavaScript; decodeText returns it as it was sent.
 */
export function decodeJSON(payload: Uint8Array): unknown {
  return payload.length === 0 ? null : JSON.parse(decodeText(payload));
}

/** Returns a payload as the text that was sent. */
export function decodeText(payload: Uint8Array): string {
  return new TextDecoder().decode(payload);
}
