/**
 * What change-sets cite, held against what is there, for verification of the whole ledger: the items of every revision against
 * its digest, their states against their hashes, route, risk and policy against the approval digest, and counted votes against the
 * entries that people signed. Whoever swaps one of these and makes all row digests anew is found here.
 *
 * Erased change-sets are left out: what their digests covered is gone, and an entry says so.
 */
import type { Finding } from "@countersign/proof";
import type { ReferenceCheck } from "../verification/index.js";
import { digestMismatches } from "./authority.rules.js";
import { citedRevisions } from "./queries.js";
import type { ChangeSetRow, ItemRow, RevisionRow, VoteRow } from "./rows.js";

/** One revision with its items; `signed`: data of the votes' entries, null where a content is gone. */
export interface CitedRevision {
  readonly changeSet: ChangeSetRow;
  readonly revision: RevisionRow;
  readonly items: readonly ItemRow[];
  readonly votes: readonly VoteRow[];
  readonly signed: readonly (SignedVote | null)[];
}
interface SignedVote {
  readonly voter: string;
  readonly digest: string;
  readonly decision: string;
  readonly signature: string;
}

export const checkReferences: ReferenceCheck = async function* (query) {
  for await (const cited of query<CitedRevision>(citedRevisions)) {
    yield* wrongDigests(cited);
    yield* unsignedVotes(cited);
  }
};

function* wrongDigests({ changeSet, revision, items }: CitedRevision): Generator<Finding> {
  const isCurrent = changeSet.revision_id === revision.id;
  // What an earlier revision was approved as is history; its items still are what its digest says.
  const asDraft = { ...changeSet, status: "DRAFT" as const };
  for (const wrong of digestMismatches({ changeSet: isCurrent ? changeSet : asDraft, revision, items })) {
    const [table = "revisions", quoted = ""] = wrong.split(" ");
    yield mismatch(table, quoted.replaceAll("`", ""), {
      expected: revision.digest,
      actual: "something else",
      detail: wrong.slice(wrong.indexOf("(") + 1, -1),
    });
  }
}

/** Votes that count towards the present approval: each was signed for the digest that is approved. */
function* unsignedVotes({ changeSet, revision, votes, signed }: CitedRevision): Generator<Finding> {
  if (changeSet.revision_id !== revision.id || changeSet.status === "DRAFT" || signed.includes(null)) return;
  for (const vote of votes) {
    if (vote.dismissed || vote.revision_id !== revision.id) continue;
    const isSigned = signed.some(
      (one) =>
        one?.voter === vote.voter_id &&
        one.signature === vote.signature &&
        one.digest === vote.digest &&
        one.decision === vote.decision,
    );
    if (isSigned && vote.digest === changeSet.approval_digest) continue;
    yield mismatch("votes", vote.id, {
      expected: changeSet.approval_digest ?? "no approval",
      actual: vote.digest,
      detail: isSigned ? "the vote was cast on another digest" : "no entry has this vote",
    });
  }
}

function mismatch(table: string, id: string, what: Pick<Finding, "expected" | "actual" | "detail">): Finding {
  return { class: "REFERENCE_MISMATCH", seq: null, table, id, ...what };
}
