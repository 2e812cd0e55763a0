/**
 * What people signed, computed anew from the rows as they are. A signature binds a digest; that the digest is of these rows
 * is looked at here, so that whoever can write the database, its ledger included, still cannot have applied what nobody signed.
 */
import type { JsonObject } from "@countersign/contract";
import { approvalDigest } from "@countersign/proof";
import { policyOutcome, type PolicyDecision, type Route } from "../governance/index.js";
import { isTrueToDigest, type PlannedItem, type StateImage } from "../targets/index.js";
import { digestRevision } from "./plan.rules.js";
import type { ItemRow, RevisionRow, Whole } from "./rows.js";

/** What of a change-set is not what its digests cover; empty when all is. */
export function digestMismatches({
  changeSet,
  revision,
  items,
}: Pick<Whole, "changeSet" | "revision" | "items">): string[] {
  const wrong = items
    .filter((item) => !item.effects.every(isTrueToDigest))
    .map((item) => `items \`${item.id}\` (its states are not those of their hashes)`);
  if (items.length !== revision.item_count || digestOfItems(revision, items) !== revision.digest)
    wrong.push(`revisions \`${revision.id}\` (its items are not those of its digest)`);
  // Back with its author, it has nothing to be approved; what the revision was approved as before is history.
  if (changeSet.status === "DRAFT") return wrong;
  if (changeSet.approval_digest !== revision.approval_digest)
    wrong.push(`revisions \`${revision.id}\` (another approval digest)`);
  if (revision.approval_digest === null || revision.approval_digest === undefined) return wrong;
  const { route, policy } = revision;
  const decided = route !== null && policy !== null && changeSet.risk_level !== null;
  const signed = decided
    ? approvalDigest({
        revision: revision.digest,
        route,
        riskLevel: changeSet.risk_level,
        policy: policyOutcome(policy as unknown as PolicyDecision),
      })
    : undefined;
  if (signed !== revision.approval_digest)
    wrong.push(`revisions \`${revision.id}\` (route, risk or policy are not those of the approval digest)`);
  return wrong;
}

function digestOfItems(revision: RevisionRow, items: readonly ItemRow[]): string {
  const inOrder = [...items].sort((a, b) => a.position - b.position);
  const bases = new Map<string, StateImage>();
  for (const { effects } of inOrder)
    for (const { target, before } of effects) if (!bases.has(target.key)) bases.set(target.key, before);
  const plans = inOrder.map(({ sequence, position, input, effects, diff, reversibility, flags }) => {
    const planned: PlannedItem = { effects, diff, reversibility, flags, blobs: new Map() };
    return { sequence, position, input, planned };
  });
  return digestRevision(revision.nonce, plans, bases);
}

/** Enough people approved, whoever they are now: asked of a run whose intent was decided when everything else was. */
export function hasApprovals({ revision }: Pick<Whole, "revision">, approvers: ReadonlySet<string>): boolean {
  const route = revision.route as unknown as (Route & JsonObject) | null;
  return route !== null && (route.auto || approvers.size >= Math.max(1, route.required));
}
