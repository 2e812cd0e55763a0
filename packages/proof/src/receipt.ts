/**
 * Verifies a receipt: a file that shows that one entry is in a ledger (`tlogProof.ts`), with the leaf's data and key statements in
 * it (`receiptExtra.ts`). Pure. As in a bundle, a key counts if the statements tie it to a key of the policy. The
 * receipt itself names no key that counts, so without a policy nothing can be decided.
 */
import { bytesOfHex, hexOf, textOfUtf8 } from "./bytes.js";
import { parseOrigin } from "./checkpoint.js";
import { judge, type Judgement } from "./completeness.js";
import { contentHashHex, parseEntryContent, type EntryContent } from "./entry.js";
import type { Finding, VerifyResult } from "./findings.js";
import { leafHashHex } from "./hash.js";
import { parseReceiptExtra, type ReceiptExtra } from "./receiptExtra.js";
import { parseTlogProof, verifyTlogProof, type TlogProof } from "./tlogProof.js";
import { noTrust, type Trust } from "./trust.js";

export interface ReceiptOptions {
  /** Asked for once it is known which ledger the receipt is of. */
  readonly trust?: Trust | ((ledger: { readonly deployment: string; readonly tenant: string }) => Trust);
  /** The entry's content, where somebody has it: exactly its bytes. */
  readonly content?: Uint8Array | undefined;
}

export interface ReceiptResult extends VerifyResult {
  /** Absent if it could not be read. */
  readonly receipt?: {
    readonly origin: string;
    /** Of the checkpoint's tree. */
    readonly size: number;
    readonly seq: number;
    readonly timeMs: number;
    readonly hash: string;
    readonly contentHash: string;
    /** If the content was given and is the one. */
    readonly content?: EntryContent;
  };
}

/** Exit code: `exitCodeOf(result)`. Never throws because of the receipt's content. */
export function verifyReceipt(input: string | Uint8Array, options: ReceiptOptions = {}): ReceiptResult {
  const parsed = parseTlogProof(input);
  if (!parsed.ok) return refused(parsed.problem);
  const { proof } = parsed;
  const origin = parseOrigin(proof.checkpoint.origin);
  if (origin === undefined) return refused("the checkpoint's origin is not of a Countersign ledger");
  const read = parseReceiptExtra(proof.extra ?? new Uint8Array());
  if (!read.ok) return refused(read.problem);
  const { trust = noTrust, content } = options;
  const trusted = typeof trust === "function" ? trust(origin) : trust;
  return verified({ proof, ...read.extra, origin, trusted, content });
}

interface Read extends ReceiptExtra {
  readonly proof: TlogProof;
  readonly origin: { readonly deployment: string; readonly tenant: string };
  readonly trusted: Trust;
  readonly content: Uint8Array | undefined;
}

function verified(read: Read): ReceiptResult {
  const { proof, link, linkText, keyStatements, origin, trusted, content } = read;
  const { checkpoint } = proof;
  const hash = leafHashHex(linkText);
  const findings = findingsOf(read, hash);
  const judgement = judge({
    ...{ ...origin, trust: trusted, readFrom: "bundle", from: 0, size: checkpoint.size, reachesEnd: false },
    ...{ readAtMs: undefined, selection: checkpoint, rootAt: () => undefined, firstDifferent: () => undefined },
    ...{ damagedFrom: Infinity, own: [checkpoint], ownStatements: keyStatements, consistency: new Map(), restores: [] },
    ...{ recordedHead: undefined, complete: true, holds: findings.length === 0 },
  });
  const all = [...findings, ...judgement.findings];
  const first = all[0];
  const opened = content === undefined ? undefined : parseEntryContent(textOfUtf8(content));
  const undecided = whyUndecided(trusted, judgement);
  return {
    ...empty,
    integrity: all.length > 0 ? "tampered" : undecided !== undefined ? "undecided" : "ok",
    completeness: judgement.completeness,
    tenant: origin.tenant,
    entries: 1,
    from: link.seq,
    head: { seq: link.seq, hash, timeMs: link.timeMs },
    ...(first === undefined ? {} : { first }),
    findings: all,
    findingsTotal: all.length,
    notes: judgement.notes,
    notesTotal: judgement.notes.length,
    checkpoints: judgement.checkpoints,
    ...(undecided === undefined ? {} : { undecided }),
    receipt: {
      ...{ origin: checkpoint.origin, size: checkpoint.size, seq: link.seq, timeMs: link.timeMs, hash },
      contentHash: link.contentHash,
      ...(opened?.ok === true && all.length === 0 ? { content: opened.content } : {}),
    },
  };
}

/**
 * The reason why a receipt without findings cannot be accepted. A bundle's last line covers its statements; nothing
 * covers a receipt's. The statements from a damaged one on do not count, and one of those may have revoked the key that
 * signed.
 */
function whyUndecided({ policy, keyStatements: kept }: Trust, { undecided, statementsProblem }: Judgement) {
  if (policy === undefined && kept.length === 0)
    return "no policy was given, so nobody's signature on the checkpoint could be checked";
  if (statementsProblem === undefined) return undecided;
  return `not all key statements in the receipt count, so what was said of its key is not known (${statementsProblem}); take the receipt anew`;
}

function findingsOf({ proof, link, origin, content }: Read, hash: string): Finding[] {
  const { index, checkpoint } = proof;
  const findings: Finding[] = [];
  const find = (name: Finding["class"], expected: string, actual: string, detail: string): void =>
    void findings.push({ class: name, seq: link.seq, expected, actual, detail });
  if (!verifyTlogProof(proof, bytesOfHex(hash)))
    find(
      "LINK_BROKEN",
      hexOf(checkpoint.root),
      "another root",
      `the path does not lead to the root of ${checkpoint.size} entries`,
    );
  if (link.seq !== index)
    find("ORDER_BROKEN", `entry ${index}`, `entry ${link.seq}`, "the receipt is of another entry");
  if (link.tenant !== origin.tenant)
    find("FOREIGN_ENTRY", origin.tenant, link.tenant, "the entry was chained for another tenant");
  const actual = content === undefined ? link.contentHash : contentHashHex(content);
  if (actual !== link.contentHash)
    find("CONTENT_MISMATCH", link.contentHash, actual, "the content given is not the one of this entry");
  return findings;
}

const empty = {
  checkpoints: { agreeing: 0, size: null, signedBy: [] },
  votes: { checked: 0, unchecked: 0 },
  bodies: { checked: 0, absent: 0 },
  bytes: 0,
  durationMs: 0,
} as const;

function refused(problem: string): ReceiptResult {
  const finding: Finding = {
    class: "MALFORMED",
    seq: null,
    expected: "a receipt of a Countersign ledger",
    actual: problem,
  };
  return {
    ...empty,
    integrity: "undecided",
    completeness: { status: "not_demanded", anchored: null, unanchored: 0, statement: "nothing was read", sources: [] },
    tenant: "",
    entries: 0,
    from: 0,
    first: finding,
    findings: [finding],
    findingsTotal: 1,
    notes: [],
    notesTotal: 0,
  };
}
