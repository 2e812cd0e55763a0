/**
 * The standing of every anchor of this deployment, from the publisher's records; the anchors themselves are not asked.
 */
import type { TenantId } from "@countersign/contract";
import { anchorSpecs, readStanding, type AnchorKind, type AnchorReach } from "../publishing/index.js";
import { systemClock } from "../platform/index.js";
import { withLedger, type OfflineRequest } from "./open.js";

export interface AnchorReport extends AnchorReach {
  readonly tenant: TenantId;
  /** Of the tenant's ledger, confirmed or not. */
  readonly entries: number;
  /** Null: it is no longer configured. */
  readonly kind: AnchorKind | null;
  readonly location: string | null;
  /** At most one submission in this time; 0: each checkpoint. */
  readonly everyMs: number | null;
}

/**
 * Every configured anchor, for every tenant; and recorded anchors that are no longer configured. Throws RefusalError.
 */
export function anchorStatus(request: OfflineRequest): Promise<AnchorReport[]> {
  return withLedger(request, async ({ ledger, config, dataDirectory, tenants }) => {
    const specs = await anchorSpecs({
      dataDirectory,
      ...(config.anchors === undefined ? {} : { lines: config.anchors }),
    });
    const names = specs.map(({ name }) => name);
    const reports: AnchorReport[] = [];
    for (const tenant of tenants) {
      const nowMs = systemClock.nowMs();
      const { entries, anchors } = await ledger.snapshot(tenant, (snapshot) => readStanding(snapshot, names, nowMs));
      for (const state of anchors) {
        const spec = specs.find(({ name }) => name === state.anchor);
        const location = spec === undefined ? null : spec.kind === "witness" ? spec.url : spec.directory;
        const common = { tenant, entries, kind: spec?.kind ?? null, location, everyMs: spec?.everyMs ?? null };
        // An anchor that is not configured any more gets no checkpoints.
        reports.push({ ...state, ...common, dueMs: spec === undefined ? null : state.dueMs });
      }
    }
    return reports;
  });
}
