/** The verifier's result, in the form that the API and the command line show. */
import type { VerifyReport } from "@countersign/contract";
import type { Finding, VerifyResult } from "@countersign/proof";

/** Of a database, of a bundle, of a range. */
type Verified = VerifyResult & {
  readonly entriesPerSecond?: number;
  readonly rows?: number;
  readonly root?: string;
  readonly base?: { readonly size: number };
};

export function verifyView(result: Verified): VerifyReport {
  const { completeness, durationMs } = result;
  const perSecond = result.entriesPerSecond ?? (durationMs > 0 ? (result.entries * 1000) / durationMs : 0);
  return {
    tenant: result.tenant,
    integrity: result.integrity,
    completeness: {
      status: completeness.status,
      note: completeness.statement,
      anchored: completeness.anchored,
      unanchored: completeness.unanchored,
      sources: completeness.sources.map(({ atMs, detail, ...source }) => ({
        ...source,
        at: atMs === null ? null : new Date(atMs).toISOString(),
        detail: detail ?? null,
      })),
    },
    entries: result.entries,
    from: result.from,
    to: result.head?.seq ?? (result.base === undefined ? null : result.base.size - 1),
    head: result.head?.hash ?? null,
    root: result.root ?? result.head?.root ?? null,
    base: result.base?.size ?? null,
    findings: result.findings.map(findingView),
    findingsTotal: result.findingsTotal,
    notes: result.notes.map(({ class: name, seq, by, detail }) => ({
      class: name,
      seq,
      by: by ?? null,
      message: detail,
    })),
    votes: { ...result.votes },
    bodies: { ...result.bodies },
    rows: result.rows ?? null,
    undecided: result.undecided ?? null,
    durationMs: Math.round(durationMs),
    entriesPerSecond: Math.round(perSecond),
  };
}

function findingView(finding: Finding): VerifyReport["findings"][number] {
  const { have, anchored, between, suspect, detail, expected, actual } = finding;
  const parts = [
    detail,
    have === undefined ? undefined : `have ${have}, anchored ${anchored ?? "?"}`,
    between === undefined ? undefined : `between entry ${between[0]} and ${between[1]}`,
    suspect === undefined ? undefined : `probably entry ${suspect} was altered`,
    `expected ${expected}, found ${actual}`,
  ];
  return {
    class: finding.class,
    seq: finding.seq,
    table: finding.table ?? null,
    id: finding.id ?? null,
    message: parts.filter((part) => part !== undefined).join("; "),
    expected,
    actual,
  };
}
