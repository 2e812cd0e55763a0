/** SQL of governance: the table kill_switches, and the configuration among the resources (read only; targets write it). */
import { configurationEnvironment, configurationPrefix, configurationType } from "@countersign/contract";
import type { Query, Snapshot } from "../ledger/index.js";
import type { KillLoaded, KillRow, ReleaseVote } from "./kill.rules.js";
import { killEpoch } from "./kill.rules.js";

export interface ConfigurationRow {
  readonly name: string;
  readonly revision: number;
  /** The document as PostgreSQL prints it: equal texts are equal documents. */
  readonly text: string;
}

/** One probe of resources_by_name, whose first columns are these. */
export async function readConfiguration(snapshot: Snapshot): Promise<ConfigurationRow[]> {
  const query: Query = {
    name: "governance_configuration",
    text: `select resource_id, revision, document::text as document
             from countersign.resources
            where tenant_id = $1
              and environment = $2
              and type = $3
              and not deleted
            order by resource_id`,
    values: [snapshot.tenant, configurationEnvironment, configurationType],
  };
  const rows = await snapshot.query<{ resource_id: string; revision: number; document: string }>(query);
  return rows
    .filter((row) => row.resource_id.startsWith(configurationPrefix))
    .map((row) => ({
      name: row.resource_id.slice(configurationPrefix.length),
      revision: row.revision,
      text: row.document,
    }));
}

/**
 * Ids of the rows behind the configuration, including deleted ones and schemas. These rows are compared with the
 * ledger.
 */
export async function configurationRows(snapshot: Snapshot): Promise<string[]> {
  const query: Query = {
    name: "governance_configuration_rows",
    text: `select id
             from countersign.resources
            where tenant_id = $1
              and environment = $2
              and type = $3
            order by id`,
    values: [snapshot.tenant, configurationEnvironment, configurationType],
  };
  return (await snapshot.query<{ id: string }>(query)).map((row) => row.id);
}

interface StoredKill {
  readonly id: string;
  readonly version: number;
  readonly scope: "tenant";
  readonly status: KillRow["status"];
  readonly reason: string | null;
  readonly engaged_by: string;
  readonly engaged_at_ms: number | string;
  readonly hold_until_ms: number | string | null;
  readonly confirmed_by: string | null;
  readonly release_votes: readonly ReleaseVote[];
}

/** Switches of the whole tenant that were not released, oldest first, and the epoch that moves with them. */
export async function loadKill(snapshot: Snapshot): Promise<KillLoaded> {
  const query: Query = {
    name: "governance_kill_switches",
    text: `select id, version, scope, status, reason, engaged_by, engaged_at_ms, hold_until_ms, confirmed_by, release_votes
             from countersign.kill_switches
            where tenant_id = $1
              and scope = 'tenant'
              and status <> 'RELEASED'
            order by id`,
    values: [snapshot.tenant],
  };
  const rows = await snapshot.query<StoredKill>(query);
  return { tenant: snapshot.tenant, rows: rows.map(killRow), epoch: await snapshot.epoch(killEpoch) };
}

function killRow(row: StoredKill): KillRow {
  return {
    id: row.id,
    version: row.version,
    scope: row.scope,
    status: row.status,
    reason: row.reason,
    engagedBy: row.engaged_by,
    engagedAtMs: Number(row.engaged_at_ms),
    holdUntilMs: row.hold_until_ms === null ? null : Number(row.hold_until_ms),
    confirmedBy: row.confirmed_by,
    releaseVotes: row.release_votes,
  };
}
