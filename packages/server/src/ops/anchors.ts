/** How every anchor of this deployment stands, from what the publisher noted; the anchors themselves are not asked. */
import type { TenantId } from "@countersign/contract";
import { anchorSpecs, readAnchorStates, type AnchorKind, type AnchorState } from "../ledger/index.js";
import { withLedger, type OfflineRequest } from "./open.js";

export interface AnchorReport extends AnchorState {
  readonly tenant: TenantId;
  /** Null: it is no longer configured. */
  readonly kind: AnchorKind | null;
  readonly location: string | null;
}

/** Every configured anchor, for every tenant; and those no longer configured that something is noted of. Throws RefusalError. */
export function anchorStatus(request: OfflineRequest): Promise<AnchorReport[]> {
  return withLedger(request, async ({ storage, config, dataDirectory, tenants }) => {
    const specs = await anchorSpecs({
      dataDirectory,
      ...(config.anchors === undefined ? {} : { lines: config.anchors }),
    });
    const reports: AnchorReport[] = [];
    for (const tenant of tenants) {
      for (const state of await readAnchorStates(
        storage,
        tenant,
        specs.map(({ name }) => name),
      )) {
        const spec = specs.find(({ name }) => name === state.anchor);
        const location = spec === undefined ? null : spec.kind === "witness" ? spec.url : spec.directory;
        reports.push({ ...state, tenant, kind: spec?.kind ?? null, location });
      }
    }
    return reports;
  });
}
