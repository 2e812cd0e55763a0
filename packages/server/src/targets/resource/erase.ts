/**
 * What erasing a change-set takes away of the resources it wrote: documents of their earlier revisions. The present state of a
 * resource is nobody's but its own; it is changed by a change-set.
 */
import { refused, type Refusal } from "@countersign/contract";
import type {
  EntryDraft,
  ErasureBy,
  ErasureSubject,
  Ledger,
  ModuleErasure,
  Row,
  Snapshot,
} from "../../ledger/index.js";
import { type StoredVersion, versionsOfChangeSet } from "./queries.js";

export async function eraseSubject(
  ledger: Pick<Ledger, "attest">,
  snapshot: Snapshot,
  subject: ErasureSubject,
  by: ErasureBy,
): Promise<ModuleErasure | Refusal> {
  if (subject.type !== "change_set") return { writes: [], erased: [] };
  const versions = await versionsOfChangeSet(snapshot, subject.id);
  const byResource = new Map<string, StoredVersion[]>();
  for (const version of versions)
    byResource.set(version.resource, [...(byResource.get(version.resource) ?? []), version]);
  const entries: EntryDraft[] = [];
  for (const [resource, rows] of byResource) {
    const { mismatches } = await ledger.attest(snapshot, {
      subjectId: resource,
      rows: rows.map(({ id }) => ({ table: "resource_versions", id })),
      onlyThese: true,
    });
    if (mismatches.length > 0)
      return refused(
        "ledger_mismatch",
        `the database and the ledger disagree about the resource \`${resource}\`; nothing was erased: run \`countersign audit verify\``,
      );
    entries.push(entryOf(resource, rows, subject, by));
  }
  return {
    writes: [],
    entries,
    erased: versions.length === 0 ? [] : [{ what: "earlier revisions of resources", count: versions.length }],
  };
}

/** About the resource, so that the newest digests of its revisions are found among its own entries. */
function entryOf(resource: string, rows: readonly StoredVersion[], subject: ErasureSubject, by: ErasureBy): EntryDraft {
  return {
    actor: by.actor,
    action: "resource.revisions_erased",
    subject: { type: "resource", id: resource },
    refs: [subject],
    data: { revisions: rows.map(({ revision }) => revision) },
    writes: rows.map(({ version, document: _, ...row }) => ({
      verb: "update",
      table: "resource_versions",
      row: Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as Row,
      from: version,
    })),
  };
}
