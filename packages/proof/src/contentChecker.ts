/**
 * Checks the content of an entry: its hash and id, votes and keys, the body it commits to, and the ledger's entries
 * about itself. The place of an entry and its link are checked elsewhere.
 *
 * INVARIANT: a content is read only if its hash holds. Nothing is parsed that a search in its bytes rules out, and
 * canonical JSON makes those searches exact; `thorough` parses every content. Memory grows with the signing keys seen
 * and with the missing ranges, both bounded, not with entries.
 */
import { utf8Bytes } from "./bytes.js";
import { isCanonical } from "./canonicalJson.js";
import { bodyCommitmentOfText, contentHashHex, hashPattern, parseEntryContent } from "./entry.js";
import type { Findings, VerifyResult } from "./findings.js";
import { LedgerRecords } from "./records.js";
import type { StoredEntry } from "./storedEntry.js";
import type { Summary } from "./summary.js";
import type { TreeFollower } from "./tree.js";
import type { VerifyOptions } from "./verifyOptions.js";
import { VoteChecker } from "./votes.js";

export class ContentChecker {
  /** The ledger's entries about itself, and the missing contents and bodies. */
  readonly records = new LedgerRecords();
  readonly #findings: Findings;
  readonly #votes: VoteChecker;
  /** Read from the first entry on, so every key that was enrolled was seen. */
  readonly #knowsAllKeys: boolean;
  readonly #countsBodies: boolean;
  readonly #bodiesExpected: boolean;
  readonly #thorough: boolean;
  readonly #summary: Summary | undefined;
  readonly #rootOf: (size: number) => Uint8Array | undefined;
  #votesChecked = 0;
  #votesUnchecked = 0;
  #bodiesChecked = 0;
  #bodiesAbsent = 0;

  /** `tree`: the tree of the entries before this one. */
  constructor(options: VerifyOptions, findings: Findings, tree: TreeFollower | undefined) {
    this.#findings = findings;
    this.#votes = new VoteChecker(options.tenant);
    this.#knowsAllKeys = (options.from ?? 0) === 0 && options.selection === undefined;
    this.#bodiesExpected = options.bodiesExpected === true;
    this.#countsBodies = options.countBodies === true || this.#bodiesExpected;
    this.#thorough = options.thorough === true;
    this.#summary = options.summary;
    this.#rootOf = (size) => (tree?.size === size ? tree.root() : undefined);
  }

  get votes(): VerifyResult["votes"] {
    return { checked: this.#votesChecked, unchecked: this.#votesUnchecked };
  }

  get bodies(): VerifyResult["bodies"] {
    return { checked: this.#bodiesChecked, absent: this.#bodiesAbsent };
  }

  /** True if the content is there and its hash is the one stored. */
  holds({ seq, content, contentHash }: StoredEntry): boolean {
    if (content === null) {
      this.records.excuses.gone(seq, "content");
      return false;
    }
    const actual = contentHashHex(content);
    if (actual === contentHash) return true;
    this.#findings.find("CONTENT_MISMATCH", seq, contentHash, actual);
    return false;
  }

  /** `take`, and the column beside the content. The content holds. */
  ask(entry: StoredEntry): void {
    const content = entry.content as string | Uint8Array;
    if (entry.entryId !== null && !hasId(content, entry.entryId)) {
      this.#findings.find("COLUMN_MISMATCH", entry.seq, "the id in the content", entry.entryId, { detail: "entry_id" });
    }
    if (this.#thorough) {
      const parsed = parseEntryContent(textOf(content));
      if (!parsed.ok) this.#findMalformed(entry.seq, parsed.problem);
    }
    this.take(entry.seq, entry.timeMs, content, entry.body);
  }

  /**
   * Takes every entry's content in order, after its hash was checked. No object is made for a content that does not
   * matter to the verifier.
   */
  take(seq: number, timeMs: number, content: string | Uint8Array, body: StoredEntry["body"]): void {
    this.#checkVotes(seq, content);
    const problem = this.records.take(seq, content, this.#rootOf);
    if (problem !== undefined) this.#findMalformed(seq, problem);
    this.#summary?.take(seq, timeMs, content, body?.text);
    if (body !== undefined) this.#checkBody(seq, content, body);
    else if (this.#countsBodies) this.#countBody(seq, content);
  }

  #checkVotes(seq: number, content: string | Uint8Array): void {
    const outcome = this.#votes.take(seq, content);
    if (outcome.kind === "none") return;
    if (outcome.kind === "malformed") return this.#findMalformed(seq, outcome.why);
    if (outcome.kind === "good") this.#votesChecked++;
    else if (outcome.kind === "forged")
      this.#findings.find("VOTE_FORGED", seq, "a vote signed with the voter's key", outcome.why);
    else if (this.#knowsAllKeys)
      this.#findings.find("VOTE_FORGED", seq, "a key that was enrolled before", "unknown key");
    else this.#votesUnchecked++;
  }

  #countBody(seq: number, content: string | Uint8Array): void {
    if (!hasCommitment(content)) return;
    this.#bodiesAbsent++;
    if (this.#bodiesExpected) this.records.excuses.gone(seq, "body");
  }

  #checkBody(seq: number, content: string | Uint8Array, body: { readonly salt: string; readonly text: string }): void {
    this.#bodiesChecked++;
    const parsed = parseEntryContent(textOf(content));
    const expected = parsed.ok ? (parsed.content.body?.commitment ?? "no body") : parsed.problem;
    const salt = hashPattern.test(body.salt) ? Buffer.from(body.salt, "hex") : undefined;
    const actual = salt === undefined ? "a salt that is not 32 bytes" : bodyCommitmentOfText(salt, body.text);
    if (actual !== expected) {
      const detail = "the body is not the one committed to";
      this.#findings.find("REFERENCE_MISMATCH", seq, expected, actual, { detail });
    } else if (!isCanonical(body.text)) {
      this.#findings.find("MALFORMED", seq, "a body in canonical JSON", "another text");
    }
  }

  #findMalformed(seq: number, problem: string): void {
    this.#findings.find("MALFORMED", seq, "content in the documented form", problem);
  }
}

/**
 * In canonical JSON a content's `id` stands right before its `nonce`, and `data` never holds an object with both (the builder
 * refuses it), so one search finds the id without parsing: 0.1 µs against 5.
 */
function hasId(content: string | Uint8Array, id: string): boolean {
  const start = `,"id":"${id}","nonce":"`;
  return typeof content === "string" ? content.includes(start) : bufferOf(content).includes(start, 0, "latin1");
}

function hasCommitment(content: string | Uint8Array): boolean {
  if (typeof content === "string") return content.includes(',"body":{"commitment":"');
  const buffer = bufferOf(content);
  for (let at = buffer.indexOf(rareInCommitment); at >= 0; at = buffer.indexOf(rareInCommitment, at + 1))
    if (beforeRare.every((byte, i) => buffer[at - beforeRare.length + i] === byte)) return true;
  return false;
}

// Searched for by its first byte: a comma or a quote would be met at every turn.
const rareInCommitment = utf8Bytes('mmitment":"');
const beforeRare = utf8Bytes(',"body":{"co');

function textOf(content: string | Uint8Array): string {
  return typeof content === "string" ? content : bufferOf(content).toString("utf8");
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
