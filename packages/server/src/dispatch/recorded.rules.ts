/**
 * What a refused request is recorded about. Entries of refusals carry it for ever, and they are looked for by it: what is said
 * here of an operation may not change with how it is documented.
 */
import { operationRow, type OperationId, type Refusal } from "@countersign/contract";
import type { GovernedRefusal } from "../ledger/index.js";

export type RecordedSubject = GovernedRefusal["subject"];

/** Refused for these, with a proof asked for: nobody has looked yet for the thing that was named. */
const proofCodes: ReadonlySet<Refusal["code"]> = new Set([
  "forbidden",
  "signature_invalid",
  "signing_key_unknown",
  "signing_key_revoked",
]);

export function subjectOfRefusal(
  { operation, input }: { readonly operation: OperationId; readonly input: Readonly<Record<string, unknown>> },
  refusal: Refusal,
): RecordedSubject {
  // Refused before anybody looked for the thing that was named: a name may be made up, and a thousand of them are one refusal.
  const unseen =
    refusal.details?.["permission"] !== undefined ||
    (operationRow(operation).proof === true && proofCodes.has(refusal.code));
  if (unseen) return { type: "operation", id: operation };
  const named = refusal.details?.["changeSetId"];
  return typeof named === "string" ? { type: "change_set", id: named } : subjectNamed(operation, input);
}

function subjectNamed(operation: OperationId, input: Readonly<Record<string, unknown>>): RecordedSubject {
  const { subject: type } = operationRow(operation);
  const id = idNamed(input);
  return id === undefined || type === undefined ? { type: "operation", id: operation } : { type, id };
}

export function idNamed({ id }: Readonly<Record<string, unknown>>): string | undefined {
  return typeof id === "string" ? id : undefined;
}
