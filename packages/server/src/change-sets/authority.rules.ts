/**
 * What people signed, computed anew from the rows as they are. A signature binds a digest; that the digest is of these rows
 * is looked at here, so that whoever can write the database, its ledger included, still cannot have applied what nobody signed.
 */
import { approvalDigest, revisionDigestOfItems } from "@countersign/proof";
import { policyOutcome } from "../governance/index.js";
import { isTrueToDigest } from "../targets/index.js";
import type { ItemRow, Whole } from "./rows.js";
import { endedUnappliedStatuses, isIn } from "@countersign/contract";

/** What of a change-set is not what its digests cover; empty when all is. */
export function digestMismatches({
  changeSet,
  revision,
  items,
}: Pick<Whole, "changeSet" | "revision" | "items">): string[] {
  const wrong = items
    .filter((item) => !item.effects.every(isTrueToDigest))
    .map((item) => `items \`${item.id}\` (its states are not those of their hashes)`);
  if (
    items.length !== revision.item_count ||
    revisionDigestOfItems(revision.nonce, items.map(partsOf)) !== revision.digest
  )
    wrong.push(`revisions \`${revision.id}\` (its items are not those of its digest)`);
  // Back with its author, it has nothing to be approved, nor if it ended there; what the revision was approved as before is history.
  if (
    changeSet.status === "DRAFT" ||
    (changeSet.approval_digest === null && isIn(endedUnappliedStatuses, changeSet.status))
  )
    return wrong;
  if (changeSet.approval_digest !== revision.approval_digest)
    wrong.push(`revisions \`${revision.id}\` (another approval digest)`);
  if (!isSigned(changeSet, revision))
    wrong.push(`revisions \`${revision.id}\` (route, risk or policy are not those of the approval digest)`);
  return wrong;
}

/** The approval digest, where there is one, is that of these rows. */
function isSigned({ risk_level: riskLevel }: Whole["changeSet"], revision: Whole["revision"]): boolean {
  const { route, policy, digest, approval_digest: approval } = revision;
  if (approval === null || approval === undefined) return true;
  if (route === null || policy === null || riskLevel === null) return false;
  return approvalDigest({ revision: digest, route, riskLevel, policy: policyOutcome(policy) }) === approval;
}

function partsOf({ sequence, position, input, effects, reversibility }: ItemRow) {
  return { sequence, position, input, effects, reversibility };
}

/** Enough people approved, whoever they are now: asked of a run whose intent was decided when everything else was. */
export function hasApprovals({ revision }: Pick<Whole, "revision">, approvers: ReadonlySet<string>): boolean {
  const { route } = revision;
  return route !== null && (route.auto || approvers.size >= Math.max(1, route.required));
}
