/**
 * A verdict in words, for terminals and logs: the verdict first, integrity and completeness apart, then the place of
 * the failure and the notes. All text from the verified file is cleaned, because it may hold characters that deceive a
 * terminal.
 */
import type { BundleHeader } from "./bundle.js";
import { exitCodeOf, type CompletenessSource, type Finding, type VerifyNote, type VerifyResult } from "./findings.js";
import { fingerprintOf, spacedFingerprint } from "./note.js";
import type { Approval, Listed, SummaryResult } from "./summary.js";

/** `TRUNCATED have=550 anchored=600`, `LINK_BROKEN seq=6 (suspect 5)`, `STATE_MISMATCH targets 0199…`. */
export function findingTitle(finding: Finding): string {
  const { class: name, seq, suspect, table, id, have, anchored, size, between } = finding;
  const row = [table, id].flatMap((part) => (part === undefined ? [] : [printable(part)])).join(" ");
  const place = seq === null ? "" : `seq=${seq}`;
  const where = ((): string => {
    switch (name) {
      case "TRUNCATED":
      case "ROLLED_BACK":
        return have === undefined ? place : `have=${have} anchored=${anchored ?? "?"}`;
      case "HISTORY_REWRITTEN":
      case "ANCHOR_MISMATCH":
        return between === undefined ? `first=${seq ?? "?"}` : `between ${between[0]} and ${between[1]}`;
      case "EQUIVOCATION":
        return `size=${size ?? "?"}`;
      case "KEY_UNTRUSTED":
        return `from seq=${seq ?? 0}`;
      default:
        return place;
    }
  })();
  const guessed = suspect === undefined || suspect === seq ? "" : `(suspect ${suspect})`;
  return [name, where, row, guessed].filter((part) => part !== "").join(" ");
}

/** `RESTORED incarnation=1 by seq=17`. */
export function noteTitle({ class: name, by, incarnation }: VerifyNote): string {
  const which = incarnation === undefined ? "" : ` incarnation=${incarnation}`;
  return `${name}${which}${by === undefined ? "" : ` by seq=${by}`}`;
}

/** The note under every verdict, on the limits of the proof. */
export const notCovered =
  "This shows what was recorded and that nobody changed it since, as far as said above. It does not show that what was recorded is true or wise, that a target outside did what it reported, or who held a key when it was enrolled.";

export type Verdict = "ok" | "tampered" | "not_shown" | "undecided" | "malformed";

const verdicts: Readonly<Record<number, Verdict>> = {
  0: "ok",
  1: "tampered",
  2: "not_shown",
  3: "undecided",
  4: "malformed",
};

export function verdictOf(result: VerifyResult): Verdict {
  return verdicts[exitCodeOf(result)] ?? "undecided";
}

export interface ReportOptions {
  /** The path of the verified file. */
  readonly source: string;
  readonly policySource: string;
  readonly header?: BundleHeader | undefined;
  readonly summary?: SummaryResult | undefined;
  /** Findings and notes shown. Default 20. */
  readonly shownMax?: number;
}

/** Lines without line ends. */
export function reportLines(result: VerifyResult, options: ReportOptions): string[] {
  const { header, summary, shownMax = 20 } = options;
  return [
    verdictLine(result),
    "",
    ...facts([
      ["bundle", printable(options.source)],
      ["ledger", header === undefined ? undefined : ledgerLine(header)],
      ["policy", policyLine(options.policySource)],
      ["integrity", integrityLine(result)],
      ["completeness", `${result.completeness.status.replace("_", " ")}: ${result.completeness.statement}`],
      ...result.completeness.sources.map((source) => ["", sourceLine(source)] as const),
      ["checkpoints", checkpointLine(result)],
      ["votes", votesLine(result)],
      [
        "bodies",
        header?.bodies === "withheld"
          ? "withheld: what was committed to them is shown, not what they say"
          : bodiesLine(result),
      ],
      ["speed", speedLine(result)],
    ]),
    ...findingLines(result, shownMax),
    ...noteLines(result, shownMax),
    ...(summary === undefined ? [] : summaryLines(summary, shownMax)),
    "",
    ...wrapped(notCovered),
  ];
}

function verdictLine(result: VerifyResult): string {
  const { entries, completeness, undecided } = result;
  const first = result.first;
  switch (verdictOf(result)) {
    case "ok":
      return `OK: ${counted(entries, "entry verifies", "entries verify")}${completeness.status === "shown" ? ", and the policy's demand on completeness is met" : "; completeness was not demanded"}`;
    case "tampered":
      return `TAMPERED: ${first === undefined ? "see below" : findingTitle(first)}`;
    case "not_shown":
      if (entries === 0) return "NOTHING SHOWN: there are no entries in it";
      return `NOT SHOWN TO BE WHOLE: integrity holds, completeness was demanded and is not shown`;
    case "malformed":
      return `MALFORMED: ${printable(first?.actual ?? "")}`;
    case "undecided":
      return `UNDECIDED: ${printable(undecided ?? "not everything could be read")}`;
  }
}

function ledgerLine({ deployment, tenant, selection, from, to, head, exportedAtMs }: BundleHeader): string {
  const part = selection === "entries" ? "a selection" : to < from ? "no entries" : `entries ${from} to ${to}`;
  const end = head === null || selection === "entries" || head.seq === to ? "" : ` of ${head.seq + 1}`;
  return `${printable(deployment)}/${tenant}, ${part}${end}, exported ${time(exportedAtMs)} by its own word`;
}

function policyLine(source: string): string {
  return source === "none"
    ? "none given: every key is the bundle's own, nothing outside it was asked"
    : printable(source);
}

function integrityLine({ integrity, findings, findingsTotal, entries }: VerifyResult): string {
  if (integrity === "ok" && entries === 0) return "there is nothing in it that could have been changed";
  if (integrity === "ok")
    return entries === 1
      ? "ok: nothing in the entry was changed"
      : `ok: all of ${counted(entries, "entry", "entries")} follow from each other and nothing in them was changed`;
  if (integrity === "undecided" && findings.length === 0) return "undecided: not everything could be read";
  return `${integrity}: ${counted(findingsTotal, "finding", "findings")}`;
}

function sourceLine({ name, kind, location, size, atMs, state, detail }: CompletenessSource): string {
  const knows =
    size === null ? "" : `, ${counted(size, "entry", "entries")}${atMs === null ? "" : ` at ${time(atMs)}`}`;
  const who =
    kind === "own" ? `the ${location}'s own checkpoints` : `${kind} ${printable(name)} ${printable(location)}`.trim();
  return `  ${who}: ${state}${knows}${detail === undefined ? "" : ` (${printable(detail)})`}`;
}

function checkpointLine({ checkpoints: { agreeing, size, signedBy } }: VerifyResult): string | undefined {
  if (size === null) return undefined;
  const keys = signedBy.map(
    ({ publicKey, trust }) =>
      `key ${spacedFingerprint(fingerprintOf(publicKey) ?? "?")} (${trust === "pinned" ? "pinned by the policy" : "by its own word"})`,
  );
  return `${agreeing} agree, the largest of ${counted(size, "entry", "entries")}; signed by ${keys.join(", ") || "no key that is known"}`;
}

function votesLine({ votes }: VerifyResult): string {
  const unchecked =
    votes.unchecked === 0 ? "" : `, ${votes.unchecked} by keys enrolled before what was read: not checked`;
  return `${counted(votes.checked, "signature", "signatures")} verified${unchecked}`;
}

function bodiesLine({ bodies: { checked, absent } }: VerifyResult): string | undefined {
  if (checked + absent === 0) return undefined;
  return `${checked} are the ones committed to${absent === 0 ? "" : `, ${absent} not there`}`;
}

function speedLine({ entries, bytes, durationMs }: VerifyResult): string | undefined {
  if (durationMs <= 0) return undefined;
  const perSecond = Math.round((entries * 1000) / durationMs);
  return `${(durationMs / 1000).toFixed(durationMs < 10_000 ? 2 : 0)} s, ${perSecond.toLocaleString("en")} entries/s, ${(bytes / 1e6).toFixed(1)} MB of content`;
}

function findingLines({ findings, findingsTotal }: VerifyResult, max: number): string[] {
  if (findings.length === 0) return [];
  const bad = findings.find(({ seq }) => seq !== null)?.seq;
  const shown = findings
    .slice(0, max)
    .flatMap((finding) => [
      `  ${findingTitle(finding)}`,
      `    expected ${printable(finding.expected)}`,
      `    found    ${printable(finding.actual)}`,
      ...(finding.detail === undefined ? [] : wrapped(printable(finding.detail), "    ")),
    ]);
  const more = findingsTotal - Math.min(findings.length, max);
  return [
    "",
    bad === undefined || bad === null ? "findings" : `first bad entry: ${bad}`,
    ...shown,
    ...(more > 0 ? [`  … and ${more} more`] : []),
  ];
}

function noteLines({ notes, notesTotal }: VerifyResult, max: number): string[] {
  if (notes.length === 0) return [];
  const shown = notes.slice(0, max).flatMap((note) => wrapped(`${noteTitle(note)}: ${printable(note.detail)}`, "  "));
  const more = notesTotal - Math.min(notes.length, max);
  return ["", "notes", ...shown, ...(more > 0 ? [`  … and ${more} more`] : [])];
}

function summaryLines(summary: SummaryResult, max: number): string[] {
  const { approvals, selfApprovals, applied, rollbacks, stops, breakGlass, erasures, restored, keyChanges } = summary;
  const counts: readonly (readonly [string, Listed<unknown>])[] = [
    ["votes", approvals],
    ["self-approvals", selfApprovals],
    ["applied", applied],
    ["rolled back", rollbacks],
    ["emergency authority used", breakGlass],
    ["kill-switch", stops],
    ["erasures and prunings", erasures],
    ["restores", restored],
    ["key changes", keyChanges],
  ];
  const some = counts.filter(([, { total }]) => total > 0);
  if (some.length === 0) return [];
  return [
    "",
    "what happened, by the entries",
    `  ${some.map(([name, { total }]) => `${name} ${total}`).join(" · ")}`,
    ...approvals.rows.slice(-max).map((approval) => `  ${approvalLine(approval)}`),
    ...(approvals.total > max ? [`  (the last ${max} of ${approvals.total} votes; --json has more)`] : []),
  ];
}

function approvalLine({ seq, atMs, changeSet, voter, voterName, key, decision, self }: Approval): string {
  const who = voterName === undefined ? printable(voter) : `${printable(voterName)} (${printable(voter)})`;
  return `${time(atMs)} entry ${seq}: ${printable(decision)} of change-set ${printable(changeSet)} by ${who} with key ${printable(key)}${self ? ", answerable for its author" : ""}`;
}

// ---- text ---------------------------------------------------------------------------------------------------------------

const labelWidth = 14;

function facts(rows: readonly (readonly [string, string | undefined])[]): string[] {
  return rows.flatMap(([label, value]) => {
    if (value === undefined) return [];
    const [first = "", ...more] = wrapped(value, " ".repeat(labelWidth));
    return [label.padEnd(labelWidth) + first.slice(labelWidth), ...more];
  });
}

const lineWidth = 110;

function wrapped(text: string, indent = ""): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line.length + word.length > lineWidth && line.trim() !== "") {
      lines.push(line.trimEnd());
      line = indent;
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()];
}

/** Control characters, line ends and characters that turn the direction of writing are shown by their codes. */
export function printable(text: string): string {
  return text
    .slice(0, 2000)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

function counted(count: number, one: string, many: string): string {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

function time(atMs: number): string {
  return Math.abs(atMs) < 8.64e15 ? new Date(atMs).toISOString() : "at no time";
}
