/** The parts that change-set commands work with, over a storage and a tenant that exist; for tests and their programs. */
import { type Permission, permissionNames, type TenantId } from "@countersign/contract";
import type { Desk } from "../../src/change-sets/index.js";
import { checkConfiguration } from "../../src/governance/index.js";
import type { Ledger } from "../../src/ledger/index.js";
import { type Clock, openLog, systemClock } from "../../src/platform/index.js";
import type { Storage } from "../../src/storage/index.js";
import { createTargets, openBlobs } from "../../src/targets/index.js";
import { type Caller, loadPeople, principalNames, systemCaller } from "../../src/tenancy/index.js";
import { checkReferences } from "../../src/change-sets/references.js";
import { openTestLedger, testSealing, type TestLedger } from "./ledger.js";

/** What commands work with; its ledger can be verified. */
export interface TestDesk extends Desk {
  readonly ledger: TestLedger;
}

export async function openDesk(storage: Storage, dataDirectory: string, clock: Clock = systemClock): Promise<TestDesk> {
  const ledger = await openTestLedger(storage, { clock, references: checkReferences });
  const targets = createTargets({
    dataDirectory,
    checkConfiguration: (target, document, pointer) => checkConfiguration(target.id, document, pointer),
  });
  return {
    ledger,
    storage,
    tenancy: { loadPeople, principalNames, systemCaller },
    targets,
    blobs: (tenant) => openBlobs(storage, testSealing, tenant),
    now: () => clock.nowMs(),
    log: openLog({ level: "silent" }),
  };
}

/** A principal as an edge hands it down, with every permission. */
export function callerOf(ledger: Ledger, tenant: TenantId, id: string): Promise<Caller> {
  return ledger.snapshot(tenant, async (snapshot) => {
    const all = await loadPeople(snapshot);
    const person = all.principals.get(id);
    if (person === undefined) throw new Error(`no principal ${id}`);
    const humans = all.humansOf(id);
    const permissions = new Set<Permission>(permissionNames);
    return {
      ...systemCaller(tenant),
      tenantMode: all.mode,
      principal: { id, kind: person.kind, name: person.name, agentType: person.agentType },
      humans,
      roles: person.boundRoles,
      groups: person.groups,
      permissions,
      rolePermissions: permissions,
      actor: { type: person.kind, id, humans },
      guards: [{ kind: "row", table: "principals", id, version: person.version }],
    };
  });
}
