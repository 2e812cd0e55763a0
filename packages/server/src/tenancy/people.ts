/**
 * All principals of a tenant, with their roles, groups and signing keys.
 *
 * Promises: the copy in memory was read at the epoch `members`. Every change of people, bindings or keys moves this
 * epoch, and a snapshot with another epoch reads again. So the first snapshot after the commit of a revocation sees it.
 */
import type { AgentType, TenantId, TenantMode } from "@countersign/contract";
import { deploymentTenant } from "./deployment.js";
import type { Snapshot } from "../ledger/index.js";
import { readBindings, readPrincipals, readSigningKeys, readTenant } from "./queries.js";
import type { BindingRow, PrincipalRow, SigningKeyRow, TenantRow } from "./rows.js";

/** The epoch that moves with people, bindings and keys. */
export const membersEpoch = "members";

export interface Person {
  readonly id: string;
  readonly version: number;
  readonly kind: "human" | "agent" | "service";
  readonly name: string;
  readonly status: "ACTIVE" | "SUSPENDED";
  readonly agentType: AgentType | null;
  readonly answerable: string | null;
  readonly answerableBefore: string | null;
  /** Roles and groups together. */
  readonly roles: readonly string[];
  readonly boundRoles: readonly string[];
  readonly groups: readonly string[];
  readonly createdAtMs: number;
}

export interface SigningKey {
  readonly id: string;
  readonly version: number;
  readonly principalId: string;
  readonly publicKey: string;
  readonly label: string;
  readonly status: "ACTIVE" | "REVOKED";
  readonly mintedBy: string | null;
  readonly enrolledAtMs: number;
  readonly revokedAtMs: number | null;
}

/** A human as far as approving goes; the shape governance takes. */
export interface MemberVoter {
  readonly id: string;
  readonly name: string;
  readonly active: boolean;
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  /** Active signing keys; `first`: the person's first key ever. */
  readonly keys: readonly { readonly id: string; readonly mintedBy: readonly string[]; readonly first: boolean }[];
}

export interface People {
  readonly mode: TenantMode;
  /** Of the snapshot: a decision made from this guards it. */
  readonly epoch: number;
  readonly principals: ReadonlyMap<string, Person>;
  readonly signingKeys: ReadonlyMap<string, SigningKey>;
  readonly voters: readonly MemberVoter[];
  /** Human roots now, and the one before a transfer. */
  humansOf(principalId: string): readonly string[];
}

/** People with the rows behind them, for tenancy's own commands. */
export interface Members extends People {
  readonly tenant: TenantRow;
  readonly rows: {
    readonly principals: ReadonlyMap<string, PrincipalRow>;
    readonly bindings: readonly BindingRow[];
    readonly signingKeys: readonly SigningKeyRow[];
  };
}

// The deployment's tenant has the same id everywhere: with several databases in one process its members are not remembered.
const remembered = new Map<TenantId, Members>();
const rememberedMax = 256;

/** The people of the snapshot's tenant; undefined before the tenant exists. */
export async function findMembers(snapshot: Snapshot): Promise<Members | undefined> {
  const epoch = await snapshot.epoch(membersEpoch);
  const known = snapshot.tenant === deploymentTenant ? undefined : remembered.get(snapshot.tenant);
  if (known?.epoch === epoch) return known;
  const [tenant, principals, bindings, signingKeys] = await Promise.all([
    readTenant(snapshot),
    readPrincipals(snapshot),
    readBindings(snapshot),
    readSigningKeys(snapshot),
  ]);
  if (tenant === undefined) return undefined;
  const members = membersOf({ epoch, tenant, principals, bindings, signingKeys });
  // Epochs only grow: a snapshot that lags behind must not replace newer members.
  if (snapshot.tenant !== deploymentTenant && (known === undefined || known.epoch < epoch)) {
    remembered.delete(snapshot.tenant);
    if (remembered.size >= rememberedMax) remembered.delete(remembered.keys().next().value as TenantId);
    remembered.set(snapshot.tenant, members);
  }
  return members;
}

export async function loadMembers(snapshot: Snapshot): Promise<Members> {
  const members = await findMembers(snapshot);
  if (members === undefined) throw new Error(`tenant ${snapshot.tenant} does not exist`);
  return members;
}

export function loadPeople(snapshot: Snapshot): Promise<People> {
  return loadMembers(snapshot);
}

export async function loadTenant(
  snapshot: Snapshot,
): Promise<{ readonly id: string; readonly name: string; readonly mode: TenantMode; readonly createdAtMs: number }> {
  const { tenant } = await loadMembers(snapshot);
  return { id: tenant.id, name: tenant.name, mode: tenant.mode, createdAtMs: tenant.created_at_ms };
}

export interface PrincipalName {
  readonly id: string;
  readonly kind: "human" | "agent" | "service";
  readonly name: string;
}

/** For lists; an id nobody has is left out. */
export async function principalNames(
  snapshot: Snapshot,
  ids: readonly string[],
): Promise<ReadonlyMap<string, PrincipalName>> {
  const { principals } = await loadMembers(snapshot);
  return new Map(
    ids.flatMap((id) => {
      const person = principals.get(id);
      return person === undefined ? [] : [[id, { id, kind: person.kind, name: person.name }] as const];
    }),
  );
}

export interface MemberRows {
  readonly epoch: number;
  readonly tenant: TenantRow;
  readonly principals: readonly PrincipalRow[];
  readonly bindings: readonly BindingRow[];
  readonly signingKeys: readonly SigningKeyRow[];
}

export function membersOf({ epoch, tenant, principals: rows, bindings, signingKeys: keyRows }: MemberRows): Members {
  const bound = new Map<string, BindingRow[]>();
  for (const binding of bindings) {
    if (binding.status === "ACTIVE")
      bound.set(binding.principal_id, [...(bound.get(binding.principal_id) ?? []), binding]);
  }
  const principals = new Map(rows.map((row) => [row.id, personOf(row, bound.get(row.id) ?? [])]));
  const humansOf = (id: string): readonly string[] => {
    const person = principals.get(id);
    if (person === undefined) return [];
    if (person.kind === "human") return [id];
    return [person.answerable, person.answerableBefore].filter((human): human is string => human !== null);
  };
  const signingKeys = new Map(keyRows.map((row) => [row.id, signingKeyOf(row)]));
  const voters = [...principals.values()]
    .filter((person) => person.kind === "human")
    .map((person) => voterOf(person, keyRows, humansOf));
  const byId = new Map(rows.map((row) => [row.id, row]));
  return {
    mode: tenant.mode,
    epoch,
    tenant,
    principals,
    signingKeys,
    voters,
    humansOf,
    rows: { principals: byId, bindings, signingKeys: keyRows },
  };
}

function personOf(row: PrincipalRow, bindings: readonly BindingRow[]): Person {
  const names = (kind: BindingRow["kind"]): string[] =>
    bindings.filter((binding) => binding.kind === kind).map((binding) => binding.name);
  const [boundRoles, groups] = [names("role"), names("group")];
  return {
    id: row.id,
    version: row.version,
    kind: row.kind,
    name: row.name,
    status: row.status,
    agentType: row.agent_type,
    answerable: row.answerable,
    answerableBefore: row.answerable_before,
    roles: [...new Set([...boundRoles, ...groups])],
    boundRoles,
    groups,
    createdAtMs: row.created_at_ms,
  };
}

function signingKeyOf(row: SigningKeyRow): SigningKey {
  return {
    id: row.id,
    version: row.version,
    principalId: row.principal_id,
    publicKey: row.public_key,
    label: row.label,
    status: row.status,
    mintedBy: row.minted_by,
    enrolledAtMs: row.enrolled_at_ms,
    revokedAtMs: row.revoked_at_ms,
  };
}

function voterOf(person: Person, keys: readonly SigningKeyRow[], humansOf: People["humansOf"]): MemberVoter {
  const own = keys.filter((key) => key.principal_id === person.id);
  // Ids of keys grow with time, and they are read in that order.
  const first = own[0]?.id;
  return {
    id: person.id,
    name: person.name,
    active: person.status === "ACTIVE",
    roles: person.boundRoles,
    groups: person.groups,
    keys: own
      .filter((key) => key.status === "ACTIVE")
      .map((key) => ({
        id: key.id,
        mintedBy: key.minted_by === null ? [] : humansOf(key.minted_by),
        first: key.id === first,
      })),
  };
}
