/**
 * All entries of the ledger about one subject, hashed again and compared with the rows, with the texts that people
 * read. For reports: a fact that is shown as proven is proven here.
 */
import { attest, type Attestation } from "./attest.js";
import { readAuditLog, type AuditEntry } from "./auditLog.js";
import type { Catalogue } from "./catalogue.js";
import { subjectsBetween } from "./queries.js";
import type { OpenBody } from "./reading.js";
import type { Snapshot } from "./types.js";

export interface Story extends Attestation {
  /** Those of the attestation with their texts; also such as could not be believed. In order. */
  readonly told: readonly AuditEntry[];
}

const pageEntries = 500;

/** `bodies`: the entries with their texts, up to and including `to`. */
export async function readStory(
  parts: { readonly catalogue: Catalogue; readonly openBody: OpenBody },
  snapshot: Snapshot,
  asked: { readonly subjectId: string; readonly to: number },
): Promise<Story> {
  const attested = await attest(parts.catalogue, snapshot, { subjectId: asked.subjectId, rows: [] });
  const told: AuditEntry[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await readAuditLog(
      snapshot,
      {
        subjectId: asked.subjectId,
        order: "oldest",
        limit: pageEntries,
        ...(cursor === undefined ? {} : { cursor }),
      },
      parts.openBody,
    );
    told.push(...page.entries.filter(({ seq }) => seq <= asked.to));
    cursor = page.next;
    if (cursor === undefined || Number(cursor) > asked.to) return { ...attested, told };
  }
}

export interface ActiveQuestion {
  /** Of these; of all change-sets when left out. */
  readonly among?: readonly string[];
  readonly from: number;
  readonly to: number;
}

/** Ids of subjects that have an entry in the range. */
export async function activeSubjects(snapshot: Snapshot, asked: ActiveQuestion): Promise<string[]> {
  const rows = await snapshot.query<{ id: string }>(subjectsBetween(snapshot.tenant, asked));
  return rows.map(({ id }) => id);
}
