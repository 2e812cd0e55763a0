/** All SQL of `workspaces`. */
import type { Snapshot } from "../../ledger/index.js";

export interface WorkspaceRow {
  readonly id: string;
  readonly version: number;
  readonly name: string;
  /** Real path. */
  readonly root: string;
  readonly environment: string;
  readonly status: "ACTIVE" | "REMOVED";
  readonly createdBy: string | null;
  readonly createdAtMs: number;
}

const workspaceColumns = `id, version, name, root, environment, status, created_by as "createdBy", created_at_ms as "createdAtMs"`;

/** All of them, removed ones too, by name: a tenant has few. */
export async function allWorkspaces(snapshot: Snapshot): Promise<WorkspaceRow[]> {
  const rows = await snapshot.query<WorkspaceRow>({
    name: "targets_workspaces",
    text: `select ${workspaceColumns} from countersign.workspaces where tenant_id = $1 order by name`,
    values: [snapshot.tenant],
  });
  return rows.map((row) => ({ ...row, createdAtMs: Number(row.createdAtMs) }));
}

/** Served by workspaces_by_name. */
export async function workspaceByName(snapshot: Snapshot, name: string): Promise<WorkspaceRow | undefined> {
  const rows = await snapshot.query<WorkspaceRow>({
    name: "targets_workspace_by_name",
    text: `select ${workspaceColumns} from countersign.workspaces where tenant_id = $1 and name = $2`,
    values: [snapshot.tenant, name],
  });
  return rows[0] && { ...rows[0], createdAtMs: Number(rows[0].createdAtMs) };
}

/** Served by the primary key. */
export async function workspaceById(snapshot: Snapshot, id: string): Promise<WorkspaceRow | undefined> {
  const rows = await snapshot.query<WorkspaceRow>({
    name: "targets_workspace_by_id",
    text: `select ${workspaceColumns} from countersign.workspaces where tenant_id = $1 and id = $2`,
    values: [snapshot.tenant, id],
  });
  return rows[0] && { ...rows[0], createdAtMs: Number(rows[0].createdAtMs) };
}
