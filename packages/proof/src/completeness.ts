/**
 * Compares the entries that were read with the ledger's own checkpoints, anchors, witnesses and the deployment's
 * ledger. Pure. It gives two verdicts: findings (somebody outside holds proof that the ledger was different), and
 * completeness (somebody outside confirms that it is whole). INVARIANT: a source that the verifier's policy does not
 * trust can cause a finding, but never completeness. A place that is away, late, or ahead of an older export causes no
 * finding.
 */
import { Claims } from "./claims.js";
import type { Evidence } from "./evidence.js";
import type { CheckpointSummary, Completeness, CompletenessSource, Finding, VerifyNote } from "./findings.js";
import { checkHistory, findEquivocation } from "./history.js";
import { checkOwnKeys, isSelectionUndecided, noteKeys, summarizeOwn } from "./ownCheckpoints.js";
import { Sources } from "./sources.js";

export type { Evidence, Restore } from "./evidence.js";

export interface Judgement {
  readonly findings: readonly Finding[];
  readonly notes: readonly VerifyNote[];
  readonly completeness: Completeness;
  readonly checkpoints: CheckpointSummary;
  /** Why nothing can be said of entries that are shown by one checkpoint alone. */
  readonly undecided?: string;
  /** Why not all of the ledger's own statements about keys count. */
  readonly statementsProblem?: string;
}

export function judge(evidence: Evidence): Judgement {
  const claims = new Claims(evidence);
  const equivocation = findEquivocation(claims);
  const own = checkOwnKeys(claims);
  const history = checkHistory(evidence, claims);
  const findings = [...equivocation, ...own.findings, ...history.findings];
  const { completeness, notes } = complete(evidence, claims, findings.length > 0);
  const { problem } = claims.keys;
  const told = {
    ...(problem === undefined ? {} : { statementsProblem: problem }),
    findings,
    notes: [...own.notes, ...history.notes, ...noteKeys(claims), ...restoreNotes(claims), ...notes],
    completeness,
    checkpoints: summarizeOwn(claims),
  };
  return isSelectionUndecided(evidence, claims) ? { ...told, undecided: undecidedSelection } : told;
}

function restoreNotes({ restores }: Claims): VerifyNote[] {
  return restores.map(({ by, incarnation, size, lostSize }) => {
    const lost =
      lostSize > size ? `entries ${size} to ${lostSize - 1} of the one before were given up` : "nothing was lost";
    const detail = `restored from a backup: incarnation ${incarnation} began; ${lost}`;
    return { class: "RESTORED", seq: by, by, incarnation, detail };
  });
}

interface Complete {
  readonly completeness: Completeness;
  readonly notes: readonly VerifyNote[];
}

function complete(evidence: Evidence, claims: Claims, contradicted: boolean): Complete {
  const { trust, from, size, selection } = evidence;
  const sources = new Sources(evidence, claims);
  const list = sources.list();
  const anchored = sources.anchored();
  const covered = Math.min(anchored ?? 0, size);
  const unanchored = selection !== undefined && anchored !== null ? 0 : Math.max(0, size - Math.max(covered, from));
  const untrusted = sources.noteUntrusted();
  const unknown = sources.noteUnknownKeys();
  const doubted = untrusted !== undefined || unknown !== undefined;
  const demanded = isDemanded(evidence, claims) || doubted;
  const beyond = claims.all.some(({ comparison, anchors }) => comparison === "ahead" && anchors.length > 0);
  const whole = unanchored === 0 && !(beyond && evidence.reachesEnd);
  const enough = anchored !== null && (trust.requireAnchored !== true || whole);
  const holds = evidence.holds && !contradicted;
  const shown = enough && !doubted && holds && claims.keysMatter;
  const status: Completeness["status"] = !demanded ? "not_demanded" : shown ? "shown" : "not_shown";
  const isShort = unanchored > 0 && (anchored !== null || trust.anchors.length > 0);
  const notes = [
    ...list.flatMap(unreadable),
    ...(untrusted === undefined ? [] : [untrusted]),
    ...(unknown === undefined ? [] : [unknown]),
    ...(isShort ? [unanchoredNote(size, unanchored)] : []),
  ];
  const doubts = { isUntrusted: untrusted !== undefined, isUnknown: unknown !== undefined };
  const statement = statementOf(evidence, claims, { status, anchored, unanchored, contradicted, ...doubts });
  return { completeness: { status, anchored, unanchored, statement, sources: list }, notes };
}

function isDemanded({ trust: { requireAnchored, policy } }: Evidence, claims: Claims): boolean {
  return requireAnchored === true || (policy !== undefined && (policy.quorum !== null || !claims.keysMatter));
}

function unanchoredNote(size: number, unanchored: number): VerifyNote {
  const detail = `entries ${size - unanchored} to ${size - 1} (${unanchored}) are later than what the policy's quorum confirmed`;
  return { class: "UNANCHORED", seq: size - unanchored, detail };
}

function unreadable({ name, state, detail }: CompletenessSource): VerifyNote[] {
  return state === "unreadable"
    ? [{ class: "ANCHOR_UNREADABLE", seq: null, detail: `anchor ${name}: ${detail ?? ""}` }]
    : [];
}

/** The facts that the statement is made of. */
interface Reached extends Pick<Completeness, "status" | "anchored" | "unanchored"> {
  /** There are findings. */
  readonly contradicted: boolean;
  /** The place lies inside the data under verification. */
  readonly isUntrusted: boolean;
  /** Checkpoints by keys that are not known. */
  readonly isUnknown: boolean;
}

function statementOf(evidence: Evidence, claims: Claims, of: Reached): string {
  if (of.contradicted) return "what is known elsewhere of this ledger disagrees with it: see the findings";
  if (of.isUntrusted)
    return "the keys or anchors asked lie inside what is verified; they show nothing (ANCHOR_SOURCE_UNTRUSTED)";
  if (!claims.keysMatter)
    return `the policy ${evidence.trust.policySource} names no log key for \`${evidence.deployment ?? "this ledger"}\``;
  if (of.isUnknown)
    return "anchors hold later checkpoints by keys that are not known; nothing is shown until statements say whose they are (KEY_UNKNOWN)";
  const covers = coveredOf(evidence, of);
  if (of.status === "shown") return covers;
  if (of.status === "not_shown") {
    if (!evidence.holds) return "what was read does not hold, so nothing is shown of the rest";
    return of.anchored === null ? "no quorum of the policy's anchors and witnesses confirms this ledger" : covers;
  }
  if (of.anchored !== null) return `no quorum is demanded; ${covers}`;
  if (evidence.trust.policy === undefined && claims.keys.keys.length === 0 && claims.all.length > 0)
    return "no policy was given and no key is known: nobody's signature on the checkpoints was checked";
  if (claims.all.some(({ ownNotes }) => ownNotes.length > 0))
    return claims.keys.pinned
      ? "the log's own checkpoints agree; no anchor is configured: entries cut from the end after the last of them, or a ledger signed anew with the log's key, would not show"
      : "the ledger's checkpoints are signed with keys that it brings itself: they show that it agrees with itself, not that it is the one that was published; give a policy with the log's key and anchors";
  return "no anchor is configured: entries cut from the end, or a ledger rewritten as a whole, would not show";
}

function coveredOf({ size, selection, from }: Evidence, { anchored, unanchored }: Reached): string {
  if (selection !== undefined)
    return `the tree of ${selection.size} entries that these are part of is confirmed outside`;
  if (size === from) return "there are no entries to confirm";
  if (unanchored === 0) return `every entry read is confirmed outside (${Math.max(anchored ?? 0, size)} entries are)`;
  if ((anchored ?? 0) <= from) return `nothing of entries ${from} to ${size - 1} is confirmed outside`;
  return `entries up to ${(anchored ?? 0) - 1} are confirmed outside, the ${unanchored} after them not yet`;
}

const undecidedSelection =
  "the checkpoint that vouches for it is signed by a revoked key, and nobody says whether before the revocation";
