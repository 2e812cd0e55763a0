/**
 * SQL of the anchors' tables: anchor_states, and the receipts that are added to anchor_receipts (read by the publisher,
 * who owns the checkpoints they belong to). Every statement runs with `app.tenants` set.
 */
import type { Query } from "../../ledger/index.js";
import type { AnchorReceipt } from "./anchor.js";
import type { AnchorStanding, AnchorState } from "./states.js";

interface StateRow {
  readonly anchor: string;
  readonly incarnation: number;
  readonly standing: AnchorStanding;
  readonly size: string;
  readonly confirmed_ms: string | null;
  readonly wanted: string;
  readonly attempts: string;
  readonly failures: string;
  readonly since_ms: string | null;
  readonly last_error: string | null;
  readonly next_ms: string | null;
}

/** By anchor_states_pkey. */
export function readStates(tenant: string): Query {
  return {
    name: "countersign_anchor_states",
    text: `select anchor, incarnation, standing, size, confirmed_ms, wanted, attempts, failures, since_ms, last_error, next_ms
 from countersign.anchor_states where tenant_id = $1`,
    values: [tenant],
  };
}

export function stateOf(row: unknown): AnchorState {
  const found = row as StateRow;
  const number = (text: string | null): number | null => (text === null ? null : Number(text));
  return {
    anchor: found.anchor,
    incarnation: found.incarnation,
    standing: found.standing,
    size: Number(found.size),
    confirmedMs: number(found.confirmed_ms),
    wanted: Number(found.wanted),
    attempts: Number(found.attempts),
    failures: Number(found.failures),
    sinceMs: number(found.since_ms),
    lastError: found.last_error,
    nextMs: number(found.next_ms),
  };
}

/** By anchor_states_pkey. */
export function writeState(tenant: string, state: AnchorState): Query {
  return {
    name: "countersign_anchor_state_write",
    text: `insert into countersign.anchor_states
 (tenant_id, anchor, incarnation, standing, size, confirmed_ms, wanted, attempts, failures, since_ms, last_error, next_ms)
 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
 on conflict (tenant_id, anchor) do update set incarnation = excluded.incarnation, standing = excluded.standing, size = excluded.size,
 confirmed_ms = excluded.confirmed_ms, wanted = excluded.wanted, attempts = excluded.attempts, failures = excluded.failures,
 since_ms = excluded.since_ms, last_error = excluded.last_error, next_ms = excluded.next_ms`,
    values: [
      tenant,
      state.anchor,
      state.incarnation,
      state.standing,
      state.size,
      state.confirmedMs,
      state.wanted,
      state.attempts,
      state.failures,
      state.sinceMs,
      state.lastError,
      state.nextMs,
    ],
  };
}

/** A receipt that is there stays: the anchor gave it first. By anchor_receipts_pkey. */
export function addReceipt(
  tenant: string,
  given: { readonly anchor: string; readonly incarnation: number; readonly receipt: AnchorReceipt },
): Query {
  const { anchor, incarnation, receipt } = given;
  return {
    name: "countersign_anchor_receipt_add",
    text: `insert into countersign.anchor_receipts (tenant_id, anchor, incarnation, size, at_ms, receipt) values ($1, $2, $3, $4, $5, $6)
 on conflict (tenant_id, anchor, incarnation, size) do nothing`,
    values: [tenant, anchor, incarnation, receipt.size, receipt.atMs, receipt.receipt],
  };
}
