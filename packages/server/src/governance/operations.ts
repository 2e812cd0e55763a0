/** The kill-switch and the configuration in force, as they are asked for over the interfaces. */
import type { OperationOutput } from "@countersign/contract";
import type { JsonObject } from "@countersign/proof";
import type { Caller, Handlers } from "../tenancy/index.js";
import { loadConfiguration } from "./config.js";
import { engage, type KillDesk, list, release } from "./killSwitch.js";

export function governanceHandlers(desk: KillDesk) {
  return {
    listKillSwitches: ({ caller }) => list(desk, caller),
    engageKillSwitch: ({ caller, input, request }) => engage(desk, caller, input, request.transact),
    releaseKillSwitch: ({ caller, request }) => release(desk, caller, request.transact),
    getConfiguration: ({ caller }) => configuration(desk, caller),
  } satisfies Partial<Handlers>;
}

async function configuration(
  { ledger }: Pick<KillDesk, "ledger">,
  { tenant }: Caller,
): Promise<OperationOutput<"getConfiguration">> {
  const { sources } = await ledger.snapshot(tenant, loadConfiguration);
  return {
    rows: Object.entries(sources).map(([name, source]) => ({
      name,
      document: source.document as JsonObject,
      source: source.source,
      revision: source.revision,
    })),
  };
}
