/** `@countersign/sdk`: a typed client of Countersign for agents, in Node ≥ 20 and browsers. */
export {
  Countersign,
  defaultUrl,
  type CountersignOptions,
  type FollowOptions,
  type ProposeOptions,
  type WaitOptions,
} from "./client.js";
export { clientCodes, CountersignError, isCountersignError, type ClientCode } from "./errors.js";
export { buildRequest, type Request } from "./request.js";
export { streamOperations, type StreamOperationId } from "./types.js";
export type { CallOptions, Input, Output, OperationMethods, PagedOperationId, RowOf } from "./types.js";
