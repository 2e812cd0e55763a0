/** JSON resources as operations show them: only what the caller was granted to read. */
import {
  type CheckedInput,
  isRefusal,
  isUuid,
  type OperationOutput,
  type Refusal,
  refused,
  type TargetFacts,
} from "@countersign/contract";
import { type Configuration, decideRead, loadConfiguration, permissionsOf, policySet } from "../../governance/index.js";
import type { Ledger, Snapshot } from "../../ledger/index.js";
import { listResources, resourceByName, resourceName, resourceVersions, type ResourceRow } from "./queries.js";
import { badCursor, type Caller } from "../../tenancy/index.js";

export interface ReadingDesk {
  readonly ledger: Ledger;
  /** Number of a change-set, for showing. */
  readonly changeSetNumbers: (snapshot: Snapshot, ids: readonly string[]) => Promise<ReadonlyMap<string, string>>;
}

interface Name {
  readonly environment: string;
  readonly type: string;
  readonly id: string;
}

const factsOf = (name: Name): TargetFacts => ({
  kind: "resource",
  type: name.type,
  id: name.id,
  environment: name.environment,
});

/** The `read` grant, asked before anything is looked at. */
function checkRead(caller: Caller, configuration: Configuration, name: Name): Refusal | undefined {
  const { principal } = caller;
  const policyPrincipal = {
    id: principal.id,
    name: principal.name,
    type: principal.kind,
    roles: [...caller.roles],
    groups: [...caller.groups],
    permissions: permissionsOf(caller.roles, configuration),
    ...(principal.agentType === null ? {} : { agentType: principal.agentType }),
  };
  return decideRead(
    policyPrincipal,
    [{ sequence: 1, targets: [factsOf(name)] }],
    policySet(configuration),
    () => "/id",
  );
}

export async function list(
  desk: ReadingDesk,
  caller: Caller,
  input: CheckedInput<"listResources">,
): Promise<OperationOutput<"listResources"> | Refusal> {
  const { cursor } = input;
  if (cursor !== undefined && !isUuid(cursor)) return badCursor();
  return desk.ledger.snapshot(caller.tenant, async (snapshot) => {
    const after = cursor === undefined ? undefined : await resourceName(snapshot, cursor);
    if (cursor !== undefined && after === undefined) return badCursor();
    const configuration = await loadConfiguration(snapshot);
    const filter = {
      ...(input.environment === undefined ? {} : { environment: input.environment }),
      ...(input.type === undefined ? {} : { type: input.type }),
      ...(input.prefix === undefined ? {} : { prefix: input.prefix }),
      ...(after === undefined ? {} : { after }),
      deleted: input.deleted,
    };
    const found = await listResources(snapshot, { ...filter, limit: input.limit + 1 });
    const page = found.slice(0, input.limit);
    const last = found.length > page.length ? page.at(-1) : undefined;
    const visible = page.filter(
      (row) =>
        checkRead(caller, configuration, { environment: row.environment, type: row.type, id: row.resourceId }) ===
        undefined,
    );
    return {
      rows: visible.map(withoutDocument),
      // The row by its id, because the caller may not be permitted to read its name.
      nextCursor: last === undefined ? null : last.id,
    };
  });
}

function withoutDocument(row: Omit<ResourceRow, "document">) {
  return {
    uuid: row.id,
    environment: row.environment,
    type: row.type,
    id: row.resourceId,
    revision: row.revision,
    deleted: row.deleted,
    hash: row.hash,
  };
}

export async function get(
  desk: ReadingDesk,
  caller: Caller,
  input: CheckedInput<"getResource">,
): Promise<OperationOutput<"getResource"> | Refusal> {
  return desk.ledger.snapshot(caller.tenant, async (snapshot) => {
    const row = await readGranted(snapshot, caller, input);
    if (isRefusal(row)) return row;
    if (input.revision === undefined || input.revision === row.revision)
      return { ...withoutDocument(row), document: row.deleted ? null : row.document };
    const [version] = await resourceVersions(snapshot, row.id, { before: input.revision + 1, limit: 1 });
    if (version?.revision !== input.revision)
      return refused(
        "not_found",
        `\`${input.type} ${input.id}\` has no revision \`${input.revision}\`; it is at \`${row.revision}\``,
      );
    return {
      ...withoutDocument(row),
      revision: version.revision,
      deleted: version.deleted,
      hash: version.hash,
      document: version.deleted ? null : version.document,
    };
  });
}

export async function history(
  desk: ReadingDesk,
  caller: Caller,
  input: CheckedInput<"getResourceHistory">,
): Promise<OperationOutput<"getResourceHistory"> | Refusal> {
  const before = input.cursor === undefined ? undefined : Number(input.cursor);
  if (before !== undefined && !(Number.isSafeInteger(before) && before > 0 && before <= 2 ** 31 - 1))
    return badCursor();
  return desk.ledger.snapshot(caller.tenant, async (snapshot) => {
    const row = await readGranted(snapshot, caller, input);
    if (isRefusal(row)) return row;
    const found = await resourceVersions(snapshot, row.id, {
      limit: input.limit + 1,
      ...(before === undefined ? {} : { before }),
    });
    const page = found.slice(0, input.limit);
    const numbers = await desk.changeSetNumbers(
      snapshot,
      page.flatMap((version) => version.changeSetId ?? []),
    );
    return {
      rows: page.map((version) => ({
        revision: version.revision,
        hash: version.hash,
        deleted: version.deleted,
        changeSetId: version.changeSetId,
        changeSetNumber: version.changeSetId === null ? null : (numbers.get(version.changeSetId) ?? null),
        at: new Date(version.atMs).toISOString(),
      })),
      nextCursor: found.length > page.length ? String(page.at(-1)?.revision ?? 0) : null,
    };
  });
}

async function readGranted(snapshot: Snapshot, caller: Caller, name: Name): Promise<ResourceRow | Refusal> {
  const refusal = checkRead(caller, await loadConfiguration(snapshot), name);
  if (refusal !== undefined) return refusal;
  const row = await resourceByName(snapshot, name.environment, name.type, name.id);
  return (
    row ??
    refused(
      "not_found",
      `there is no resource \`${name.type} ${name.id}\` in \`${name.environment}\`; \`countersign resource list\` shows them`,
    )
  );
}
