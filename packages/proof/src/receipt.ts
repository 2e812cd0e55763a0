/**
 * Verifies a receipt: a file that shows that one entry is in a ledger (`tlogProof.ts`), with the leaf's data in it. Pure. The
 * receipt names no key that counts: without a policy nothing can be decided.
 */
import { bytesOfHex, hexOf, isUtf8, textOfUtf8 } from "./bytes.js";
import { parseOrigin } from "./checkpoint.js";
import { judge } from "./completeness.js";
import {
  contentHashHex,
  hashPattern,
  linkTextStart,
  parseEntryContent,
  type EntryContent,
  type Link,
} from "./entry.js";
import type { Finding, VerifyResult } from "./findings.js";
import { leafHashHex } from "./hash.js";
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

/** Exit code: `exitCodeOf(result)`. Never throws for what is in the receipt. */
export function verifyReceipt(input: string | Uint8Array, options: ReceiptOptions = {}): ReceiptResult {
  const parsed = parseTlogProof(input);
  if (!parsed.ok) return refused(parsed.problem);
  const { proof } = parsed;
  const origin = parseOrigin(proof.checkpoint.origin);
  if (origin === undefined) return refused("the checkpoint's origin is not of a Countersign ledger");
  const link = proof.extra === undefined ? undefined : readLink(proof.extra);
  if (link === undefined) return refused("the receipt does not hold the entry's link");
  const { trust = noTrust } = options;
  const trusted = typeof trust === "function" ? trust(origin) : trust;
  return verified({
    proof,
    link,
    text: textOfUtf8(proof.extra as Uint8Array),
    origin,
    trusted,
    content: options.content,
  });
}

interface Read {
  readonly proof: TlogProof;
  readonly link: Link;
  readonly text: string;
  readonly origin: { readonly deployment: string; readonly tenant: string };
  readonly trusted: Trust;
  readonly content: Uint8Array | undefined;
}

function verified(read: Read): ReceiptResult {
  const { proof, link, text, origin, trusted, content } = read;
  const { checkpoint } = proof;
  const hash = leafHashHex(text);
  const findings = findingsOf(read, hash);
  const judgement = judge({
    ...{ ...origin, trust: trusted, readFrom: "bundle", from: 0, size: checkpoint.size, reachesEnd: false },
    ...{ readAtMs: undefined, selection: checkpoint, rootAt: () => undefined, firstDifferent: () => undefined },
    ...{ damagedFrom: Infinity, own: [checkpoint], ownStatements: [], consistency: new Map(), restores: [] },
    ...{ recordedHead: undefined, complete: true, holds: findings.length === 0 },
  });
  const all = [...findings, ...judgement.findings];
  const first = all[0];
  const opened = content === undefined ? undefined : parseEntryContent(textOfUtf8(content));
  const undecided =
    trusted.policy === undefined && trusted.keyStatements.length === 0
      ? "no policy was given, so nobody's signature on the checkpoint could be checked"
      : judgement.undecided;
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

const numberPattern = /^(0|[1-9]\d{0,15})$/;

/** The leaf's data is exactly what `linkText` writes. */
function readLink(bytes: Uint8Array): Link | undefined {
  if (bytes.length > 1000 || !isUtf8(bytes)) return undefined;
  const text = textOfUtf8(bytes);
  const [, tenant = "", seq = "", timeMs = "", prev = "", contentHash = "", end, ...more] = text.split("\n", 9);
  if (!text.startsWith(linkTextStart(tenant)) || end !== "" || more.length > 0) return undefined;
  if (!numberPattern.test(seq) || !numberPattern.test(timeMs)) return undefined;
  if (!hashPattern.test(prev) || !hashPattern.test(contentHash)) return undefined;
  const [at, placed] = [Number(timeMs), Number(seq)];
  if (!Number.isSafeInteger(at) || !Number.isSafeInteger(placed)) return undefined;
  return { tenant, seq: placed, timeMs: at, prev, contentHash };
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
