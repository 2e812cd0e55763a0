/**
 * The caller of a request. It is read from the database with every request; nothing about a credential is remembered
 * between two requests.
 *
 * INVARIANT: a caller's `guards` name everything the identity depends on, so that a change decided for a caller is not
 * committed after the key was revoked, the principal suspended or a role taken away.
 */
import {
  type AgentType,
  limits,
  type Permission,
  refused,
  type Refusal,
  type TenantId,
  type TenantMode,
} from "@countersign/contract";
import type { Actor, Guard, Snapshot } from "../ledger/index.js";
import { credentialLength, parseCredential, sameSecret, type Credential } from "./credentials.rules.js";
import { findMembers, membersEpoch, type Members } from "./people.js";
import { allPermissions, narrow, permissionsOfRoles, type RolesConfiguration } from "./permissions.rules.js";
import { readApiKey } from "./queries.js";
import type { ApiKeyRow } from "./rows.js";

export interface Caller {
  readonly tenant: TenantId;
  readonly tenantMode: TenantMode;
  readonly principal: {
    readonly id: string;
    readonly kind: "human" | "agent" | "service";
    readonly name: string;
    readonly agentType: AgentType | null;
  };
  /** Human roots: for a human their own id; for others the answerable human, and the one before a transfer. */
  readonly humans: readonly string[];
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  /** Of the roles, narrowed by the key's scopes. */
  readonly permissions: ReadonlySet<Permission>;
  readonly rolePermissions: ReadonlySet<Permission>;
  readonly apiKeyId: string | null;
  readonly keyExpiresAtMs: number | null;
  /** For entries. */
  readonly actor: Actor;
  /** The rows that this identity depends on. They are added to the guards of every change that is decided for it. */
  readonly guards: readonly Guard[];
}

export interface Reading {
  readonly snapshot: Snapshot;
  readonly nowMs: number;
  readonly roles: (snapshot: Snapshot) => Promise<RolesConfiguration>;
}

export function parseApiKey(text: string | undefined): Credential | Refusal {
  if (text === undefined || text === "")
    return refused("unauthenticated", "the request carries no API key; send `Authorization: Bearer csk_…`");
  const credential = parseCredential("csk", text);
  return (
    credential ??
    refused(
      "key_malformed",
      `the API key is not one of ours (\`csk_\` and ${credentialLength - 4} characters, the last 6 a checksum); copy it again`,
    )
  );
}

/** The caller behind a key as the snapshot has it. One round trip, unless people changed since the last. */
export async function readCaller(credential: Credential, reading: Reading): Promise<Caller | Refusal> {
  const { snapshot, nowMs } = reading;
  const [row, members, roles] = await Promise.all([
    readApiKey(snapshot, credential.id),
    findMembers(snapshot),
    reading.roles(snapshot),
  ]);
  // Whether the tenant, the row or the secret is wrong is not told apart: one answer for all that is guessed.
  if (row === undefined || members === undefined || !sameSecret(credential, row.secret_hash))
    return refused("key_unknown", "no such API key; `countersign login` stores a valid one");
  return checkKey(row, nowMs) ?? checkPrincipal(row, members) ?? callerOf(row, members, roles);
}

function checkKey(row: ApiKeyRow, nowMs: number): Refusal | undefined {
  if (row.revoked_at_ms !== null)
    return refused(
      "key_revoked",
      `the API key \`${row.id}\` was revoked at ${iso(row.revoked_at_ms)}; an administrator can mint another`,
    );
  if (row.expires_at_ms <= nowMs)
    return refused(
      "key_expired",
      `the API key \`${row.id}\` expired at ${iso(row.expires_at_ms)}; mint another: \`countersign key create\``,
    );
  return undefined;
}

function checkPrincipal(row: ApiKeyRow, members: Members): Refusal | undefined {
  const person = members.principals.get(row.principal_id);
  if (person === undefined) throw new Error(`the principal of API key ${row.id} is missing`);
  if (members.tenant.status !== "ACTIVE") return refused("principal_suspended", "the tenant is closed");
  if (person.status !== "ACTIVE")
    return refused("principal_suspended", `\`${person.name}\` is suspended; an administrator can let it act again`);
  const root = person.answerable === null ? undefined : members.principals.get(person.answerable);
  if (root !== undefined && root.status !== "ACTIVE") {
    return refused(
      "principal_suspended",
      `\`${root.name}\`, who is answerable for \`${person.name}\`, is suspended; another human can accept: \`countersign agent accept\``,
    );
  }
  return undefined;
}

function callerOf(row: ApiKeyRow, members: Members, roles: RolesConfiguration): Caller {
  const person = members.principals.get(row.principal_id);
  if (person === undefined) throw new Error(`the principal of API key ${row.id} is missing`);
  const rolePermissions = permissionsOfRoles(person.boundRoles, roles);
  const humans = members.humansOf(person.id);
  return {
    tenant: members.tenant.id as TenantId,
    tenantMode: members.mode,
    principal: { id: person.id, kind: person.kind, name: person.name, agentType: person.agentType },
    humans,
    roles: person.boundRoles,
    groups: person.groups,
    permissions: narrow(rolePermissions, row.scopes),
    rolePermissions,
    apiKeyId: row.id,
    keyExpiresAtMs: row.expires_at_ms,
    actor: { type: person.kind, id: person.id, humans },
    guards: [
      { kind: "row", table: "api_keys", id: row.id, version: row.version },
      { kind: "row", table: "principals", id: person.id, version: person.version },
      { kind: "epoch", name: membersEpoch, value: members.epoch },
    ],
  };
}

/** The engine acting by itself: deadlines, AUTO applies, recovery. It has no human roots and never votes. */
export function systemCaller(tenant: TenantId): Caller {
  return {
    tenant,
    tenantMode: "organisation",
    principal: { id: tenant, kind: "service", name: "Countersign", agentType: null },
    humans: [],
    roles: [],
    groups: [],
    permissions: allPermissions,
    rolePermissions: allPermissions,
    apiKeyId: null,
    keyExpiresAtMs: null,
    actor: { type: "system", id: tenant, humans: [] },
    guards: [],
  };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/** Days a key from `enrol` lives: its owner could not sign in again without somebody else's help. */
export const enrolledKeyDays = limits.apiKeyDaysMax;
