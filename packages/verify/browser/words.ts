/**
 * What the page says. A verdict is made here, of the result and of what the auditor brought, and nowhere else: green only
 * where something outside the file vouches for it. Words follow docs/auditors.md and docs/forensics.md.
 */
import { exitCodes, type Finding, type FindingClass, type NoteClass } from "@countersign/proof";
import type { Report } from "./messages.js";
import { counted, formatCount } from "./visible.js";

/** good: green · doubt: amber · bad: red · unread: what was dropped is not what this page reads. */
export type Tone = "good" | "doubt" | "bad" | "unread";

export interface Verdict {
  readonly tone: Tone;
  /** One word, beside the colour. */
  readonly word: string;
  readonly headline: string;
  readonly sentence: string;
}

export function verdictOf(report: Report): Verdict {
  const { result, exitCode, trust } = report;
  if (exitCode === exitCodes.tampered) return tampered(report);
  if (exitCode === exitCodes.malformed)
    return {
      tone: "unread",
      word: "Not readable",
      headline: "This is not a bundle that can be read.",
      sentence: `${sentenceOf(result.first?.actual ?? "it is not in the documented form")} That alone is no sign of tampering: files get cut off and damaged on their way. Get the file again, and compare its size and SHA-256 with the sender's.`,
    };
  if (exitCode === exitCodes.undecided)
    return {
      tone: "doubt",
      word: "Undecided",
      headline: "This could not be decided.",
      sentence: `Not everything could be read: ${result.undecided ?? "the reading ended early"}. Nothing is said about the file, neither good nor bad.`,
    };
  if ((trust.policy?.problems.length ?? 0) > 0)
    return {
      tone: "doubt",
      word: "Policy not read",
      headline: "The file agrees with itself, but your policy could not be read.",
      sentence: "Nothing was held against it. Correct the lines named below and drop the policy again.",
    };
  if (exitCode === exitCodes.incomplete) return incomplete(report);
  if (trust.policy === null)
    return {
      tone: "doubt",
      word: "By its own word",
      headline: "The file agrees with itself.",
      sentence:
        "Nothing in it was altered without altering all of it. But without a policy the keys are the bundle’s own word: whoever can forge a record can forge the keys that come with it. Add your policy file to hold it against keys that you know.",
    };
  return isVouchedFor(report) ? good(report) : unvouched();
}

/** Something that the auditor brought confirms it: a key pinned in the policy, or an anchor. */
function isVouchedFor({ result }: Report): boolean {
  const { checkpoints, completeness } = result;
  const byKey =
    checkpoints.agreeing > 0 &&
    checkpoints.signedBy.some((key) => key.trust === "pinned" && key.revokedAtMs === undefined);
  // A receipt is the log’s own word too, kept by somebody else.
  const byOthers = completeness.sources.some(
    ({ kind, state }) => state === "agrees" && kind !== "own" && kind !== "receipt",
  );
  return byKey || byOthers;
}

function unvouched(): Verdict {
  return {
    tone: "doubt",
    word: "Not vouched for",
    headline: "The file agrees with itself. Nothing in your policy vouches for it.",
    sentence:
      "No checkpoint in it is signed with a key that your policy names, and no witness or anchor of yours knows it. Either it belongs to another deployment, or it was exported before anything was signed.",
  };
}

function incomplete({ result }: Report): Verdict {
  if (result.entries === 0)
    return {
      tone: "doubt",
      word: "Nothing shown",
      headline: "There are no entries in this file.",
      sentence:
        "It can be read, and nothing in it could have been altered. Nor does it show that nothing happened: ask for a file with entries.",
    };
  return {
    tone: "doubt",
    word: "Not shown whole",
    headline: "Nothing was altered. That it is everything was not shown.",
    sentence: `${sentenceOf(result.completeness.statement)} Your policy demands it, so this does not pass.`,
  };
}

function good({ result }: Report): Verdict {
  const { completeness } = result;
  const isSelection = result.header?.selection === "entries";
  if (isSelection)
    return {
      tone: "good",
      word: "Holds",
      headline: "These entries are in the ledger.",
      sentence:
        "Each is proven to be in a tree signed with a key that you trust. A selection cannot show that there are no others; only a range can.",
    };
  if (completeness.status !== "shown")
    return {
      tone: "good",
      word: "Intact",
      headline: "Nothing was altered.",
      sentence:
        "Every entry is what was written, and signed with a key that you trust. Your policy demands no witness or anchor, so whether it is everything was not asked.",
    };
  const rest = completeness.unanchored;
  return rest === 0
    ? {
        tone: "good",
        word: "Intact and complete",
        headline: "Nothing was altered, and nothing is missing.",
        sentence: sentenceOf(completeness.statement),
      }
    : {
        tone: "good",
        word: "Intact",
        headline: `Nothing was altered. Complete but for the newest ${formatCount(rest)}.`,
        sentence: `${sentenceOf(completeness.statement)} The ${counted(rest, "entry", "entries")} after that ${rest === 1 ? "is" : "are"} newer than what was confirmed: normal for a ledger in use. Ask again later.`,
      };
}

function tampered({ result }: Report): Verdict {
  const first = result.first;
  const { headline } = first === undefined ? { headline: "This record was altered." } : meaningOf(first.class);
  const others = result.findingsTotal - 1;
  const more = others > 0 ? ` ${counted(others, "more finding")} below.` : "";
  const place = result.findings.find(({ seq }) => seq !== null)?.seq;
  const where = place === undefined || place === null ? "" : `It shows first at entry ${formatCount(place)}.`;
  return {
    tone: "bad",
    word: "Tampered",
    headline,
    sentence: `${where}${more} Stop, keep everything as it is, and read on.`.trim(),
  };
}

export function sentenceOf(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

// ---- findings -------------------------------------------------------------------------------------------------------

interface Meaning {
  readonly headline: string;
  readonly what: string;
  readonly next: string;
}

const olderBundle =
  "Compare it with a bundle or archive that was exported earlier: its content hash says which text is the right one.";
const askOutside =
  "Ask whoever runs the witness or keeps the anchor for their copy, and keep both: together they prove it to others.";

const meanings: Readonly<Record<FindingClass, Meaning>> = {
  MALFORMED: {
    headline: "Part of this file is not in the format.",
    what: "A line or a field is not what the format allows. This alone shows no tampering.",
    next: "Get the file again, and compare its SHA-256 with the sender’s.",
  },
  CONTENT_MISMATCH: {
    headline: "An entry is not what was written.",
    what: "What the entry says does not have the hash that was chained when it was written: its text was changed afterwards.",
    next: olderBundle,
  },
  LINK_BROKEN: {
    headline: "The chain is broken.",
    what: "Every entry names the hash of the one before. Here the names do not fit: an entry was edited together with its own hash, or one was put in or taken out.",
    next: "Look at this entry and the suspect one in a bundle that was exported earlier.",
  },
  GAP: {
    headline: "Entries are missing.",
    what: "Sequence numbers run without gaps. Entries that were there have been deleted.",
    next: "A bundle exported earlier has them, and the anchor’s tiles prove that they are the true ones.",
  },
  DUPLICATE_SEQ: {
    headline: "An entry is there twice.",
    what: "One sequence number belongs to one entry. Somebody put a second one beside it.",
    next: "Find out which of the two the next entry continues. In the database this takes dropped constraints: PostgreSQL’s log shows when.",
  },
  ORDER_BROKEN: {
    headline: "Entries were exchanged.",
    what: "The entries are all there, in an order in which they were not written.",
    next: "In the database this takes dropped constraints: PostgreSQL’s log shows when.",
  },
  TIME_REGRESSION: {
    headline: "Time goes backwards.",
    what: "An entry claims to be older than the one before it. The writer never does that: somebody chained by hand.",
    next: "Treat everything from this entry on as suspect, and compare it with an anchor.",
  },
  DEFINITION_MISMATCH: {
    headline: "The database was made to lie.",
    what: "A table, function, trigger or policy of the ledger is not as it was installed.",
    next: "PostgreSQL’s log shows who changed it, and when.",
  },
  COLUMN_MISMATCH: {
    headline: "A stored field disagrees with its entry.",
    what: "A field beside the entry says something else than the entry itself. The entry is right, the field was edited.",
    next: "Whoever looked at the field was misled. Look for what was decided by it.",
  },
  REFERENCE_MISMATCH: {
    headline: "What an entry cites was exchanged.",
    what: "An entry names the digest of a text, a plan or a policy. What is there now has another digest.",
    next: "An archive, or an older bundle with bodies, has the text that was cited.",
  },
  STATE_MISMATCH: {
    headline: "A row was changed around the ledger.",
    what: "The ledger records the digest of every governed row. This row has another.",
    next: "The ledger is right and the row is wrong.",
  },
  STATE_WITHOUT_ENTRY: {
    headline: "A row was added around the ledger.",
    what: "There is a governed row that no entry wrote.",
    next: "Find out who has write access to the tables.",
  },
  ENTRY_WITHOUT_STATE: {
    headline: "A row was removed around the ledger.",
    what: "An entry wrote a row that is gone, and no entry says so.",
    next: "Find out who has write access to the tables.",
  },
  FOREIGN_ENTRY: {
    headline: "An entry belongs to another ledger.",
    what: "It was written for another tenant and moved here.",
    next: "The other tenant’s ledger has a gap where it was. Ask for that bundle too.",
  },
  ERASED_WITHOUT_ENTRY: {
    headline: "A text was removed, and no entry says so.",
    what: "Erasing is allowed and leaves an entry. This was done around it.",
    next: "Ask who had a reason, and why they did not do it openly.",
  },
  PRUNED_WITHOUT_ENTRY: {
    headline: "The beginning of this ledger is missing.",
    what: "Old entries may be moved to an archive, which leaves an entry. Here they are gone without one.",
    next: "Ask for the archive. A bundle exported earlier has the entries.",
  },
  VOTE_FORGED: {
    headline: "A vote was not cast by the person it names.",
    what: "The signature of the vote does not verify with that person’s key: it was made up, taken from another decision, or signed after the key was revoked.",
    next: "Ask the voter. No change can be applied on such a vote by an honest server; look whether one was.",
  },
  TRUNCATED: {
    headline: "The end of this record is missing.",
    what: "Somebody outside has seen a longer ledger than this one. What is here agrees with it, the newest entries were cut off.",
    next: `${askOutside} The anchor’s tiles have the hashes of what is missing.`,
  },
  ROLLED_BACK: {
    headline: "This is an older state of the ledger.",
    what: "The ledger went back to an earlier state, as from a backup, and no signed entry says so.",
    next: "Ask the operator. After an honest accident a signed restore entry can still be made: it names what was lost.",
  },
  HISTORY_REWRITTEN: {
    headline: "This record was rewritten.",
    what: "It holds together in itself, but it is not the ledger that was confirmed outside: somebody wrote it again and computed every hash anew.",
    next: `${askOutside} A bundle exported earlier has the true entries.`,
  },
  ANCHOR_MISMATCH: {
    headline: "This record was rewritten and signed again.",
    what: "It is not the ledger that was confirmed outside, and yet it is signed with the log’s own key: who rewrote it has the key.",
    next: `${askOutside} The log key must be rotated and revoked.`,
  },
  EQUIVOCATION: {
    headline: "Two versions of this ledger were signed.",
    what: "There are two signed checkpoints of the same size with different content. One of them was shown to you, the other to somebody else.",
    next: "Keep both notes (they are in the saved result) and show them to everybody who relies on this ledger.",
  },
  LEDGER_MISSING: {
    headline: "A whole ledger is gone.",
    what: "The deployment’s own ledger knows of this tenant’s, which is not there.",
    next: "The deployment ledger has its last head.",
  },
  KEY_UNTRUSTED: {
    headline: "It is signed with a key that does not descend from yours.",
    what: "From some checkpoint on, the signing key is neither the one in your policy nor one that it has handed over to.",
    next: "Compare the fingerprint with the operator, over another channel than the one this file came by.",
  },
  KEY_REVOKED: {
    headline: "It is signed with a key after its revocation.",
    what: "The key was declared stolen or lost before this was signed.",
    next: "Compare the instant of the revocation with the time of the cosignature.",
  },
};

export function meaningOf(name: FindingClass): Meaning {
  // A class that a newer core knows and this text does not is still a finding.
  return Object.hasOwn(meanings, name)
    ? meanings[name]
    : { headline: "This record was altered.", what: name, next: olderBundle };
}

/** Where a finding shows, in words. */
export function placeOf(finding: Finding): string {
  const parts: string[] = [];
  if (finding.seq !== null) parts.push(`entry ${formatCount(finding.seq)}`);
  if (finding.suspect !== undefined && finding.suspect !== finding.seq)
    parts.push(`probably altered: entry ${formatCount(finding.suspect)}`);
  if (finding.between !== undefined)
    parts.push(`between entry ${formatCount(finding.between[0])} and entry ${formatCount(finding.between[1])}`);
  if (finding.have !== undefined && finding.anchored !== undefined)
    parts.push(`${formatCount(finding.have)} entries here, ${formatCount(finding.anchored)} known outside`);
  if (finding.size !== undefined) parts.push(`size ${formatCount(finding.size)}`);
  return parts.join(" · ") || "the file as a whole";
}

const noteTitles: Readonly<Record<NoteClass, string>> = {
  ERASED: "Erased openly",
  PRUNED: "Moved to an archive",
  RESTORED: "Restored from a backup, openly",
  KEY_ROTATED: "Log key handed over",
  KEY_REVOKED: "Log key revoked",
  UNANCHORED: "Not confirmed outside yet",
  ANCHOR_SOURCE_UNTRUSTED: "Evidence from where it cannot vouch",
  ANCHOR_UNREADABLE: "Anchor not readable",
  ANCHOR_AHEAD: "Anchor knows more",
  KEY_UNKNOWN: "Signed by a key that is not known",
  SELECTION: "A selection",
};

export function noteTitle(name: NoteClass): string {
  return Object.hasOwn(noteTitles, name) ? noteTitles[name] : name;
}

export const sourceStates = {
  agrees: "agrees",
  contradicts: "contradicts",
  unreadable: "could not be read",
  untrusted: "cannot vouch",
  nothing: "knows nothing of it",
} as const;

export const receiptStates = {
  holds: "holds",
  fails: "does not hold",
  undecided: "cannot be decided",
  unreadable: "could not be read",
} as const;

/** What no verdict of this page covers. */
export const notCovered = [
  [
    "Truth",
    "The record shows what was decided and reported, not that it was wise, nor that a target outside did what it said.",
  ],
  ["What was never recorded", "Somebody with rights on a target can change it without Countersign."],
  ["Who a key belongs to", "A vote shows that a key signed. Compare the fingerprint with the person."],
  ["The newest entries", "Until a witness or an anchor has seen them, they can be cut off unnoticed."],
  ["Collusion", "The log key, the database and everybody your quorum counts on, in one hand."],
] as const;
