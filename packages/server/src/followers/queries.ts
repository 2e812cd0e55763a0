/** All SQL of follower_cursors. */
import type { TenantId } from "@countersign/contract";
import type { Storage } from "../storage/index.js";

/** How far a follower is behind. */
export interface Lag {
  readonly follower: string;
  readonly tenant: TenantId;
  readonly entries: number;
}

/** Those in which the follower has not done all, or has not begun. By entries_pkey and follower_cursors_pkey, one probe a tenant: 200 with 20,000 entries, 2 ms. */
export async function tenantsBehind(
  storage: Pick<Storage, "inTenants">,
  tenants: readonly TenantId[],
  follower: string,
): Promise<TenantId[]> {
  const { rows } = await storage.inTenants(tenants, (client) =>
    client.query<{ id: TenantId }>({
      name: "countersign_tenants_behind",
      text: `select t.id
  from unnest($1::uuid[]) as t (id)
 cross join lateral (select seq from countersign.entries where tenant_id = t.id order by seq desc limit 1) as head
  left join countersign.follower_cursors as c on c.tenant_id = t.id and c.follower = $2
 where c.after_seq is distinct from head.seq`,
      values: [tenants, follower],
    }),
  );
  return rows.map((row) => row.id);
}

/** The cursor, undefined before it has begun, and the newest entry, -1 for none. */
export async function cursorOf(
  storage: Pick<Storage, "inTenant">,
  tenant: TenantId,
  follower: string,
): Promise<{ readonly after: number | undefined; readonly head: number }> {
  const { rows } = await storage.inTenant(tenant, (client) =>
    client.query<{ after: string | null; head: string }>({
      name: "countersign_follower_cursor",
      text: `select (select after_seq from countersign.follower_cursors where tenant_id = $1 and follower = $2) as after,
       coalesce((select seq from countersign.entries where tenant_id = $1 order by seq desc limit 1), -1) as head`,
      values: [tenant, follower],
    }),
  );
  const after = rows[0]?.after ?? null;
  return { after: after === null ? undefined : Number(after), head: Number(rows[0]?.head ?? -1) };
}

/** Makes the cursor, if no other process was faster; where it is. */
export async function newCursor(
  storage: Pick<Storage, "inTenant">,
  tenant: TenantId,
  { name, after, nowMs }: { readonly name: string; readonly after: number; readonly nowMs: number },
): Promise<number> {
  const { rows } = await storage.inTenant(tenant, (client) =>
    client.query<{ after: string }>({
      name: "countersign_follower_begins",
      text: `insert into countersign.follower_cursors as c (tenant_id, follower, after_seq, moved_ms) values ($1, $2, $3, $4)
 on conflict (tenant_id, follower) do update set after_seq = c.after_seq
 returning after_seq as after`,
      values: [tenant, name, after, nowMs],
    }),
  );
  return Number(rows[0]?.after ?? after);
}

/** False: it is not where it was, another process has it. */
export async function moveCursor(
  storage: Pick<Storage, "inTenant">,
  tenant: TenantId,
  to: { readonly name: string; readonly after: number; readonly seq: number; readonly nowMs: number },
): Promise<boolean> {
  const { rowCount } = await storage.inTenant(tenant, (client) =>
    client.query({
      name: "countersign_follower_moves",
      text: `update countersign.follower_cursors set after_seq = $4, moved_ms = $5
 where tenant_id = $1 and follower = $2 and after_seq = $3`,
      values: [tenant, to.name, to.after, to.seq, to.nowMs],
    }),
  );
  return rowCount === 1;
}

/** Of all followers that have begun in one of the tenants, a row each. */
export async function followerLags(storage: Pick<Storage, "inTenants">, tenants: readonly TenantId[]): Promise<Lag[]> {
  const { rows } = await storage.inTenants(tenants, (client) =>
    client.query<{ follower: string; tenant: TenantId; entries: string }>({
      name: "countersign_follower_lags",
      text: `select c.follower, c.tenant_id as tenant, greatest(0, head.seq - c.after_seq) as entries
  from countersign.follower_cursors as c
 cross join lateral (select seq from countersign.entries where tenant_id = c.tenant_id order by seq desc limit 1) as head`,
      values: [],
    }),
  );
  return rows.map(({ follower, tenant, entries }) => ({ follower, tenant, entries: Number(entries) }));
}
