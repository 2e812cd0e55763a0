/** All SQL of `resources` and `resource_versions`. */
import type { JsonValue } from "@countersign/contract";
import type { Snapshot } from "../../ledger/index.js";

export interface ResourceRow {
  readonly id: string;
  readonly version: number;
  readonly environment: string;
  readonly type: string;
  readonly resourceId: string;
  /** Null when deleted. */
  readonly document: JsonValue;
  readonly deleted: boolean;
  readonly revision: number;
  readonly hash: string | null;
  readonly changeSetId: string | null;
}

const resourceColumns = `id, version, environment, type, resource_id as "resourceId", document, deleted, revision, hash, change_set_id as "changeSetId"`;

/** Served by resources_by_name. */
export async function resourceByName(
  snapshot: Snapshot,
  environment: string,
  type: string,
  id: string,
): Promise<ResourceRow | undefined> {
  const rows = await snapshot.query<ResourceRow>({
    name: "targets_resource_by_name",
    text: `select ${resourceColumns} from countersign.resources where tenant_id = $1 and environment = $2 and type = $3 and resource_id = $4`,
    values: [snapshot.tenant, environment, type, id],
  });
  return rows[0];
}

/** The name of a row; served by the primary key. */
export async function resourceName(
  snapshot: Snapshot,
  id: string,
): Promise<{ readonly environment: string; readonly type: string; readonly id: string } | undefined> {
  const rows = await snapshot.query<{ environment: string; type: string; id: string }>({
    name: "targets_resource_name",
    text: `select environment, type, resource_id as id from countersign.resources where tenant_id = $1 and id = $2`,
    values: [snapshot.tenant, id],
  });
  return rows[0];
}

/**
 * Several at once, in no order. One probe of resources_by_name each, whatever the planner knows of the table: as a join, planned while
 * the table was small, it read all of the tenant's.
 */
export function resourcesByName(
  snapshot: Snapshot,
  names: readonly { readonly environment: string; readonly type: string; readonly id: string }[],
): Promise<ResourceRow[]> {
  return snapshot.query<ResourceRow>({
    name: "targets_resources_by_name",
    text: `select r.* from unnest((select $2::text[]), (select $3::text[]), (select $4::text[])) as n (environment, type, id)
      cross join lateral (select ${resourceColumns} from countersign.resources as r
        where r.tenant_id = $1 and r.environment = n.environment and r.type = n.type and r.resource_id = n.id offset 0) as r`,
    values: [
      snapshot.tenant,
      names.map((name) => name.environment),
      names.map((name) => name.type),
      names.map((name) => name.id),
    ],
  });
}

export interface ResourceFilter {
  readonly environment?: string;
  readonly type?: string;
  /** Beginning of the id. */
  readonly prefix?: string;
  /** Deleted ones too. */
  readonly deleted?: boolean;
  /** The last row of the page before. */
  readonly after?: { readonly environment: string; readonly type: string; readonly id: string };
  readonly limit: number;
}

/** Without documents, by environment, type and id. Served by resources_by_name. */
export function listResources(snapshot: Snapshot, filter: ResourceFilter): Promise<Omit<ResourceRow, "document">[]> {
  const { environment = null, type = null, prefix = "", deleted = false, after, limit } = filter;
  return snapshot.query({
    name: "targets_resources_list",
    text: `select id, version, environment, type, resource_id as "resourceId", deleted, revision, hash, change_set_id as "changeSetId"
      from countersign.resources
      where tenant_id = $1 and ($2::text is null or environment = $2) and ($3::text is null or type = $3)
        and starts_with(resource_id, $4) and (not deleted or $5)
        and ($6::text is null or (environment, type, resource_id) > ($6, $7, $8))
      order by environment, type, resource_id
      limit $9`,
    values: [
      snapshot.tenant,
      environment,
      type,
      prefix,
      deleted,
      after?.environment ?? null,
      after?.type ?? null,
      after?.id ?? null,
      limit,
    ],
  });
}

export interface ResourceVersionRow {
  readonly revision: number;
  readonly document: JsonValue;
  readonly deleted: boolean;
  readonly hash: string | null;
  readonly changeSetId: string | null;
  readonly atMs: number;
}

/** Newest first, `before` exclusive. Served by resource_versions_by_revision. */
export async function resourceVersions(
  snapshot: Snapshot,
  resource: string,
  page: { readonly before?: number; readonly limit: number },
): Promise<ResourceVersionRow[]> {
  const rows = await snapshot.query<ResourceVersionRow>({
    name: "targets_resource_versions",
    text: `select revision, document, deleted, hash, change_set_id as "changeSetId", at_ms as "atMs"
      from countersign.resource_versions
      where tenant_id = $1 and resource = $2 and ($3::integer is null or revision < $3)
      order by revision desc
      limit $4`,
    values: [snapshot.tenant, resource, page.before ?? null, page.limit],
  });
  return rows.map((row) => ({ ...row, atMs: Number(row.atMs) }));
}

/** A row as its digest covers it. */
export interface StoredVersion {
  readonly id: string;
  readonly version: number;
  readonly resource: string;
  readonly revision: number;
  readonly document: JsonValue;
  readonly deleted: boolean;
  readonly hash: string | null;
  readonly change_set_id: string | null;
  readonly at_ms: number;
}

/** Revisions a change-set made that are not the present one any more and hold a document still. Reads all; erasures are rare. */
export async function versionsOfChangeSet(snapshot: Snapshot, changeSetId: string): Promise<StoredVersion[]> {
  const rows = await snapshot.query<{ row: StoredVersion }>({
    name: "targets_versions_of_change_set",
    text: `select to_jsonb(v) - 'row_salt' - 'tenant_id' as row
      from countersign.resource_versions as v
      join countersign.resources as r on r.tenant_id = v.tenant_id and r.id = v.resource
      where v.tenant_id = $1 and v.change_set_id = $2 and v.document is not null and v.revision < r.revision
      order by v.id`,
    values: [snapshot.tenant, changeSetId],
  });
  return rows.map(({ row }) => row);
}

/** True if a live document of the tenant holds this text as a whole value: it may be a reference. Reads all; moves are rare. */
export async function isReferenced(snapshot: Snapshot, id: string, exceptRow: string): Promise<boolean> {
  const rows = await snapshot.query<{ found: boolean }>({
    name: "targets_resource_referenced",
    text: `select exists (
        select from countersign.resources
        where tenant_id = $1 and not deleted and id <> $2
          and jsonb_path_exists(document, 'strict $.** ? (@ == $id)', jsonb_build_object('id', $3::text), true)) as found`,
    values: [snapshot.tenant, exceptRow, id],
  });
  return rows[0]?.found === true;
}
