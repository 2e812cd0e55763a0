/**
 * The verifier: takes the stored entries of one tenant in storage order and says whether the chain holds, and if not,
 * which entry was altered, and how. This file checks the place and the link of each entry, and gives the verdict.
 * `contentChecker.ts` checks contents, `suspects.ts` finds the cause of a wrong hash, `gaps.ts` tracks missing entries,
 * and `verdict.ts` compares with sources elsewhere. Pure: no clock, no database, no files. Memory is constant, but for
 * the signing keys seen and a bounded list of findings and suspects. Nothing read is trusted; hostile input ends in a
 * finding, never in a crash.
 *
 * INVARIANT: entries that the writer made and nobody touched give no finding. INVARIANT: with every entry from seq 0 at hand,
 * a changed byte in any stored field gives one. What a chain alone cannot show (a cut tail, a rewrite of everything up to the
 * end) is `completeness`, and is said as such.
 *
 * `addBytes` and `addLine` run for every entry of millions: nothing belongs there that makes an object or a function for each, or
 * a call that meets more than one kind of object.
 */
import { bytesOfHex, hexOf, utf8Length } from "./bytes.js";
import { ContentChecker } from "./contentChecker.js";
import { entryHasher, entryHashHex, zeroHash, type Link } from "./entry.js";
import { Lane, type EntryBytes } from "./entryBytes.js";
import { LineLane, type EntryLine } from "./entryLines.js";
import { Findings, Notes, type Finding, type VerifyResult } from "./findings.js";
import { Gaps } from "./gaps.js";
import { verifyInclusion } from "./merkle.js";
import { findMalformed, isCount, MalformedSourceError, type StoredEntry } from "./storedEntry.js";
import { Suspects, type Candidate } from "./suspects.js";
import type { TreeFollower } from "./tree.js";
import { treeToFollow } from "./treeToFollow.js";
import { conclude, type Reading } from "./verdict.js";
import type { EntrySource, VerifyOptions } from "./verifyOptions.js";

export { MalformedSourceError, type StoredEntry };

/**
 * Verifies all of a source. An error thrown by the source is no sign of tampering: it ends the reading as `undecided`.
 */
export async function verifyEntries(source: EntrySource, options: VerifyOptions): Promise<VerifyResult> {
  const verifier = new ChainVerifier(options);
  try {
    for await (const item of source) {
      if (Array.isArray(item)) for (const entry of item as readonly StoredEntry[]) verifier.add(entry);
      else if ("next" in item) for (let row = item.next(); row !== undefined; row = item.next()) verifier.addBytes(row);
      else verifier.add(item as StoredEntry);
    }
  } catch (error) {
    if (error instanceof MalformedSourceError) verifier.malformed(error);
    else return verifier.finish(error instanceof Error ? error.message : String(error));
  }
  return verifier.finish();
}

/** Entries of one sequence number of which the next may continue any. */
const alternativesMax = 4;
const progressMask = 0xffff;

export class ChainVerifier {
  readonly #options: VerifyOptions;
  readonly #tenant: string;
  readonly #from: number;
  readonly #startedMs: number;
  readonly #hash: ReturnType<typeof entryHasher>;
  readonly #findings: Findings;
  readonly #notes = new Notes();
  readonly #content: ContentChecker;
  readonly #suspects: Suspects;
  readonly #gaps: Gaps;
  readonly #tree: TreeFollower | undefined;
  /** Made when entries come as bytes, which they do from a database, or as lines, as from a bundle. */
  #rowLane: Lane | undefined;
  #lineLane: LineLane | undefined;
  /** The last entry is this lane's; `#last` is older. */
  #inLane: Lane | LineLane | undefined;
  #laneMs = 0;
  /** Entries with the last sequence number in order; more than one only after a duplicate. */
  #last: Candidate[] = [];
  #next: number;
  #entries = 0;
  #bytes = 0;
  #sourceMalformed = false;
  readonly #hashes: { readonly seq: number; readonly hash: string }[] = [];
  #hashWanted: number;

  constructor(options: VerifyOptions) {
    this.#options = options;
    this.#tenant = options.tenant;
    this.#from = options.from ?? 0;
    this.#next = this.#from;
    this.#hash = entryHasher(options.tenant);
    this.#startedMs = options.clock?.() ?? 0;
    this.#findings = new Findings(options.findingsMax ?? 100);
    this.#tree = treeToFollow(options);
    this.#content = new ContentChecker(options, this.#findings, this.#tree);
    this.#suspects = new Suspects(this.#findings, options.otherTenants ?? []);
    this.#gaps = new Gaps(this.#findings);
    this.#hashWanted = options.hashesAt?.[0] ?? -1;
  }

  /** `add` from the bytes of an entry: the same verdict, sooner where nothing is wrong. */
  addBytes(row: EntryBytes): void {
    const { bytes, seq, timeMs, contentAt, contentEnd } = row;
    const lane = (this.#rowLane ??= new Lane(this.#tenant));
    const inPlace = row.isPlain && seq === this.#next && Number.isSafeInteger(timeMs) && this.#mayFollow(timeMs, lane);
    if (!inPlace) return this.add(row.entry());
    const content = bytes.subarray(contentAt, contentEnd);
    if (!lane.follow(row, content)) return this.add(row.entry());
    this.#takeFollowed(seq, timeMs, content, lane);
  }

  /** The same from an entry's line in a bundle of this tenant that is a range. */
  addLine(line: EntryLine): void {
    const lane = (this.#lineLane ??= new LineLane(this.#tenant));
    const inPlace = line.isPlain && line.seq === this.#next && this.#mayFollow(line.timeMs, lane);
    if (!inPlace || !lane.follow(line)) return this.add(line.entry());
    this.#takeFollowed(line.seq, line.timeMs, line.content, lane);
  }

  /** Nothing is wrong with the entry before, and it is not later. */
  #mayFollow(timeMs: number, lane: Lane | LineLane): boolean {
    if (this.#inLane === lane) return timeMs >= this.#laneMs;
    this.#leaveLane();
    const before = this.#last[0];
    if (before === undefined || this.#last.length > 1 || this.#options.thorough === true) return false;
    if (before.explained || before.computed !== before.stored || timeMs < before.link.timeMs) return false;
    lane.enter(before.computed);
    return true;
  }

  /** A line that a lane followed continues the chain; its content is still to be checked. */
  #takeFollowed(seq: number, timeMs: number, content: Buffer, lane: Lane | LineLane): void {
    this.#inLane = lane;
    this.#laneMs = timeMs;
    this.#next++;
    this.#entries++;
    this.#bytes += content.length;
    if ((this.#entries & progressMask) === 0) this.#options.onProgress?.(this.#entries, this.#bytes);
    this.#content.take(seq, timeMs, content, undefined);
    this.#tree?.take(lane.hashBytes);
    if (seq === this.#hashWanted) this.#keepHash(seq, lane.hash);
  }

  /** The last entry of the lane, as all others need it. */
  #leaveLane(): void {
    if (this.#inLane === undefined) return;
    const { prev, contentHash, hash } = this.#inLane;
    this.#inLane = undefined;
    const link = { tenant: this.#tenant, seq: this.#next - 1, timeMs: this.#laneMs, prev, contentHash };
    this.#last = [{ link, stored: hash, computed: hash, explained: false, linkBroken: false }];
  }

  /** Takes the next entry in storage order. Never throws because of its content. */
  add(entry: StoredEntry): void {
    this.#leaveLane();
    this.#entries++;
    if ((this.#entries & progressMask) === 0) this.#options.onProgress?.(this.#entries, this.#bytes);
    const problem = findMalformed(entry);
    if (problem !== undefined) return this.#takeMalformed(entry, problem);

    const { content } = entry;
    if (content !== null) this.#bytes += typeof content === "string" ? utf8Length(content) : content.length;
    const contentHolds = this.#content.holds(entry);
    if (entry.tenantId !== this.#tenant) {
      this.#findings.find("FOREIGN_ENTRY", entry.seq, this.#tenant, entry.tenantId, {
        detail: "the tenant column names another tenant",
      });
    }
    if (contentHolds) this.#content.ask(entry);
    const candidate = this.#candidateOf(entry);
    if (this.#options.selection !== undefined) this.#checkInclusion(candidate, entry);
    if (this.#continues(candidate)) {
      this.#last[0] = candidate;
      this.#next++;
      this.#follow(candidate);
    } else if (entry.seq !== this.#next) this.#takeOutOfPlace(candidate);
    else this.#takeInPlace(candidate, candidate.computed !== entry.hash);
  }

  /** Adds the caller's findings that are not about entries. */
  report(finding: Finding): void {
    this.#findings.add(finding);
  }

  /** The source is not in the format from here on. */
  malformed(error: Error): void {
    this.#findings.find("MALFORMED", null, "an entry in the documented form", error.message);
    this.#sourceMalformed = true;
  }

  /** The verdict. `unreadable` says why reading ended early. */
  finish(unreadable?: string): VerifyResult {
    this.#leaveLane();
    const toTheEnd = unreadable === undefined && !this.#sourceMalformed;
    this.#closeLast(undefined);
    if (toTheEnd) this.#checkEnd();
    const { completeness, checkpoints, undecided } = conclude(this.#readingOf(toTheEnd), unreadable);
    const findings = this.#findings.sorted;
    const head = this.#last[0];
    const decided = undecided === undefined && this.#findings.total === 0;
    const first = findings[0];
    return {
      integrity: this.#findings.tampered ? "tampered" : decided ? "ok" : "undecided",
      completeness,
      tenant: this.#tenant,
      entries: this.#entries,
      from: this.#from,
      ...(head !== undefined ? { head: this.#headOf(head.link, head.computed) } : {}),
      ...(first !== undefined ? { first } : {}),
      findings,
      findingsTotal: this.#findings.total,
      notes: this.#notes.list,
      notesTotal: this.#notes.total,
      checkpoints,
      votes: this.#content.votes,
      bodies: this.#content.bodies,
      ...(this.#options.hashesAt === undefined ? {} : { hashes: this.#hashes }),
      bytes: this.#bytes,
      durationMs: (this.#options.clock?.() ?? 0) - this.#startedMs,
      ...(undecided !== undefined ? { undecided } : {}),
    };
  }

  #readingOf(toTheEnd: boolean): Reading {
    return {
      options: this.#options,
      next: this.#next,
      records: this.#content.records,
      tree: this.#tree,
      findings: this.#findings,
      notes: this.#notes,
      toTheEnd,
    };
  }

  #headOf({ seq, timeMs }: Link, hash: string): NonNullable<VerifyResult["head"]> {
    const root = this.#tree?.size === seq + 1 ? this.#tree.root() : undefined;
    return { seq, hash, timeMs, ...(root === undefined ? {} : { root: hexOf(root) }) };
  }

  // ---- the chain ----------------------------------------------------------------------------------------------------

  #candidateOf(entry: StoredEntry): Candidate {
    const { seq, timeMs, prev, contentHash } = entry;
    const link = { tenant: this.#tenant, seq, timeMs, prev, contentHash };
    return {
      link,
      stored: entry.hash,
      computed: this.#hash(seq, timeMs, prev, contentHash),
      explained: false,
      linkBroken: false,
    };
  }

  /**
   * Nearly always the entry and the one before it are good, so this is checked first. All other cases are told apart
   * later.
   */
  #continues({ link, stored, computed }: Candidate): boolean {
    const before = this.#last[0];
    if (before === undefined || this.#last.length !== 1 || link.seq !== this.#next || computed !== stored) return false;
    if (link.prev !== before.computed || before.computed !== before.stored || link.timeMs < before.link.timeMs)
      return false;
    return !before.explained;
  }

  /** Takes a decided entry into the tree, and keeps its hash if somebody wants it. */
  #follow({ link, computed }: Candidate): void {
    if (this.#tree?.size === link.seq) this.#tree.take(bytesOfHex(computed));
    if (link.seq === this.#hashWanted) this.#keepHash(link.seq, computed);
  }

  #keepHash(seq: number, hash: string): void {
    this.#hashes.push({ seq, hash });
    this.#hashWanted = this.#options.hashesAt?.[this.#hashes.length] ?? -1;
  }

  /** An entry of a selection stands for itself. */
  #checkInclusion({ link, computed }: Candidate, { proof = [] }: StoredEntry): void {
    const { size, root } = this.#options.selection as NonNullable<VerifyOptions["selection"]>;
    const isIn = verifyInclusion({ index: link.seq, size, leafHash: bytesOfHex(computed), proof, root });
    if (isIn) return;
    const detail = `its proof does not lead to the root of ${size} entries`;
    this.#findings.find("LINK_BROKEN", link.seq, hexOf(root), "another root", { detail, suspect: link.seq });
  }

  #takeInPlace(candidate: Candidate, selfBroken: boolean): void {
    if (selfBroken) this.#suspects.recogniseForeign(candidate);
    this.#checkTime(candidate);
    this.#checkLink(candidate, selfBroken);
    this.#closeLast(candidate);
    this.#last = [candidate];
    this.#next = candidate.link.seq + 1;
    if (selfBroken && candidate.computed !== candidate.stored) this.#suspects.recogniseExchanged(candidate);
    this.#follow(candidate);
  }

  /** `prev` is the hash of the entry before, computed here. */
  #checkLink(candidate: Candidate, selfBroken: boolean): void {
    const { seq, prev } = candidate.link;
    const expected = this.#expectedPrev(prev);
    if (expected === undefined || prev === expected || candidate.explained) return;
    const before = this.#last[0];
    if (before?.explained === true) return;
    let suspect = before === undefined || selfBroken ? seq : seq - 1;
    if (before !== undefined && before.computed !== before.stored) suspect = seq - 1;
    if (selfBroken && entryHashHex({ ...candidate.link, prev: expected }) === candidate.stored) {
      // With the right `prev` the stored hash is true: only that column was edited, and the chain goes on behind it.
      suspect = seq;
      candidate.computed = candidate.stored;
    }
    this.#findings.find("LINK_BROKEN", seq, expected, prev, { suspect });
    candidate.linkBroken = true;
    if (before !== undefined) before.explained = true;
  }

  /** Undefined where nothing is known about the entry before: at the start of a range, after a gap. */
  #expectedPrev(actual: string): string | undefined {
    if (this.#last.length > 0)
      return this.#last.find((one) => one.computed === actual)?.computed ?? this.#last[0]?.computed;
    if (this.#next === 0) return zeroHash;
    return this.#next === this.#from ? this.#options.prevHash : undefined;
  }

  /** Now that its successor is known (or there is none): was only the hash column of the last entry edited? */
  #closeLast(successor: Candidate | undefined): void {
    for (const one of this.#last) {
      if (one.computed === one.stored || one.explained) continue;
      one.explained = true;
      const { seq } = one.link;
      if (successor === undefined && !one.linkBroken)
        this.#findings.find("LINK_BROKEN", seq, one.computed, one.stored, { suspect: seq });
      else if (successor?.link.prev === one.computed)
        this.#findings.find("COLUMN_MISMATCH", seq, one.computed, one.stored, { detail: "hash" });
    }
  }

  #checkTime({ link, explained }: Candidate): void {
    const before = this.#last[0];
    if (before === undefined || explained || before.explained || link.timeMs >= before.link.timeMs) return;
    this.#findings.find("TIME_REGRESSION", link.seq, `${before.link.timeMs} or later`, String(link.timeMs));
  }

  /** The sequence number is not the next one: entries are missing, or this one stands elsewhere too or belongs elsewhere. */
  #takeOutOfPlace(candidate: Candidate): void {
    const { seq } = candidate.link;
    if (seq > this.#next) return this.#takeAfterGap(candidate);
    if (this.#gaps.takeLate(seq)) return this.#checkLate(candidate);
    if (seq < this.#from)
      return this.#findings.find("ORDER_BROKEN", seq, `entry ${this.#next}`, `entry ${seq}`, {
        detail: "before the range",
      });
    this.#findings.find("DUPLICATE_SEQ", seq, `entry ${this.#next}`, `entry ${seq} again`);
    if (seq === this.#next - 1 && this.#last.length < alternativesMax) {
      candidate.explained = true;
      this.#last.push(candidate);
    }
  }

  /** Its fields say nothing, but it stands in a place. */
  #takeMalformed(entry: StoredEntry, problem: string): void {
    const seq = isCount(entry.seq) ? entry.seq : null;
    this.#findings.find("MALFORMED", seq, "an entry in the documented form", problem);
    if (seq !== this.#next) return;
    this.#closeLast(undefined);
    this.#last = [];
    this.#next = seq + 1;
  }

  #takeAfterGap(candidate: Candidate): void {
    const { seq } = candidate.link;
    this.#closeLast(undefined);
    if (this.#options.selection === undefined) this.#reportGap(this.#next, seq - 1, `entry ${seq}`);
    this.#last = [candidate];
    this.#next = seq + 1;
  }

  #reportGap(first: number, last: number, actual: string): void {
    this.#gaps.report({ first, last, actual, entriesRead: this.#entries });
  }

  /** A late entry has no neighbours to compare with, only its own hash. */
  #checkLate({ link: { seq }, computed, stored }: Candidate): void {
    if (computed !== stored) this.#findings.find("LINK_BROKEN", seq, computed, stored, { suspect: seq });
  }

  #checkEnd(): void {
    const { to, headHash } = this.#options;
    this.#gaps.close(this.#entries);
    if (to !== undefined && this.#next <= to) this.#reportGap(this.#next, to, "the end");
    const head = this.#last[0];
    if (
      headHash !== undefined &&
      head !== undefined &&
      head.link.seq === to &&
      head.computed !== headHash &&
      !head.explained
    ) {
      this.#findings.find("LINK_BROKEN", head.link.seq, headHash, head.computed, {
        suspect: head.link.seq,
        detail: "not the head named",
      });
    }
  }
}
