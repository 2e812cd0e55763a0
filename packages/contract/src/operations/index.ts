/** Every operation, by id. Adding a capability is adding a row here and a handler in the module that does it. */
import type { z } from "zod";
import { auditOperations } from "./audit.js";
import { changeSetOperations } from "./changeSets.js";
import type { Operation } from "./operation.js";
import { peopleOperations } from "./people.js";
import { publishingOperations } from "./publishing.js";
import { recordOperations } from "./records.js";
import { retentionOperations } from "./retention.js";
import { verificationOperations } from "./verification.js";

export const operations = {
  ...changeSetOperations,
  ...peopleOperations,
  ...recordOperations,
  ...auditOperations,
  ...verificationOperations,
  ...publishingOperations,
  ...retentionOperations,
};
export type Operations = typeof operations;
export type OperationId = keyof Operations;
export const operationIds = Object.keys(operations) as readonly OperationId[];

/** The input that a caller passes. */
export type OperationInput<K extends OperationId> = z.input<Operations[K]["input"]>;
/** The input that the handler gets, checked and with defaults. */
export type CheckedInput<K extends OperationId> = z.output<Operations[K]["input"]>;
export type OperationOutput<K extends OperationId> = z.output<Operations[K]["output"]>;

export function operationRow(id: OperationId): Operation {
  return operations[id];
}
export * from "./operation.js";
