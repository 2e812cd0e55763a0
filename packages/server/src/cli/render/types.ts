/** The views of the contract under the names the renderers use. */
import type { JsonValue } from "@countersign/contract";

export type { ChangeSetSummary, ChangeSetView, ItemView, JsonValue } from "@countersign/contract";

/** One operation of a JSON Patch as a plan shows it. */
export interface PatchOperationView {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: JsonValue;
}
