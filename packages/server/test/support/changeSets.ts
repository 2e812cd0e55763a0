/**
 * Values for tests of what commands on change-sets decide, without a database: a tenant's people with their keys, and a change-set of the
 * agent `builder` in any status. Ids are names, time stands still at `nowMs`.
 */
import {
  isRefusal,
  type PolicyDecision,
  type Refusal,
  type RiskAssessment,
  type Status,
  type TenantId,
} from "@countersign/contract";
import {
  generateSigningKeyPair,
  revisionDigestOfItems,
  signMessage,
  resourceStateHash,
  voteSigningBytes,
} from "@countersign/proof";
import { digestApproval } from "../../src/change-sets/proposing/judgement.rules.js";
import type { Loaded } from "../../src/change-sets/loaded.rules.js";
import type { ChangeSetRow, ItemRow, RevisionRow, VoteRow, Whole } from "../../src/change-sets/rows.js";
import { permissionsOf, type Configuration, type Route } from "../../src/governance/index.js";
import type { Decided, DecideContext, Write } from "../../src/ledger/index.js";
import { systemCaller } from "../../src/tenancy/caller.js";
import type { Caller } from "../../src/tenancy/index.js";
import { membersOf, type Members } from "../../src/tenancy/people.js";
import type { PrincipalRow } from "../../src/tenancy/rows.js";
import { configuration } from "./governance.js";

export const nowMs = Date.UTC(2026, 10, 20, 12);
export const tenant = "tenant" as TenantId;

/** A decision's time and ids: `id-1`, `id-2`, …; random bytes are zeros. */
export function at(timeMs = nowMs): DecideContext {
  let ids = 0;
  return { nowMs: timeMs, uuid: () => `id-${++ids}`, randomBytes: (count) => new Uint8Array(count) };
}

// ── People ───────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Member {
  readonly kind?: PrincipalRow["kind"];
  readonly roles?: readonly string[];
  readonly groups?: readonly string[];
  readonly status?: PrincipalRow["status"];
  readonly answerable?: string;
}

/** `alice` answers for `builder`; `bob` and `carol` review; `rita` operates; `dan` may vote and is on no route. */
export const everybody: Readonly<Record<string, Member>> = {
  alice: { roles: ["member"], groups: ["reviewers"] },
  bob: { roles: ["member"], groups: ["reviewers"] },
  carol: { roles: ["member"], groups: ["reviewers"] },
  dan: { roles: ["member"] },
  olga: { roles: ["on_call"] },
  rita: { roles: ["operator"] },
  builder: { kind: "agent", roles: ["agent"], answerable: "alice" },
  other: { kind: "agent", roles: ["agent"], answerable: "bob" },
  sync: { kind: "service", roles: ["agent"], answerable: "bob" },
};

const keyPairs = new Map(
  Object.keys(everybody).map((name, index) => [name, generateSigningKeyPair(new Uint8Array(32).fill(index + 1))]),
);

export function peopleOf(
  members: Readonly<Record<string, Member>> = everybody,
  more: { readonly mode?: Members["mode"]; readonly revokedKeys?: readonly string[] } = {},
): Members {
  const all = Object.entries(members);
  const binding = (principal: string, kind: "role" | "group") => (name: string) => ({
    ...{ id: `${principal} ${kind} ${name}`, version: 1, principal_id: principal, kind, name },
    ...{ status: "ACTIVE" as const, granted_by: null, granted_at_ms: 0 },
  });
  return membersOf({
    epoch: 7,
    tenant: {
      ...{ id: tenant, version: 1, kind: "customer", name: "T", mode: more.mode ?? "organisation" },
      ...{ status: "ACTIVE", created_at_ms: 0 },
    },
    principals: all.map(([id, { kind = "human", status = "ACTIVE", answerable = null }]) => ({
      ...{ id, version: 1, kind, name: id, agent_type: null, status, answerable, answerable_before: null },
      ...{ created_by: null, created_at_ms: 0 },
    })),
    bindings: all.flatMap(([id, { roles = [], groups = [] }]) => [
      ...roles.map(binding(id, "role")),
      ...groups.map(binding(id, "group")),
    ]),
    signingKeys: all
      .filter(([, { kind }]) => kind === undefined)
      .flatMap(([id]) => [`key-${id}`, `key2-${id}`].map((key) => ({ id, key })))
      .map(({ id, key }) => ({
        ...{ id: key, version: 3, principal_id: id, algorithm: "Ed25519", label: "test", minted_by: null },
        public_key: keyPairs.get(id)?.publicKey ?? "",
        status: more.revokedKeys?.includes(key) === true ? "REVOKED" : "ACTIVE",
        enrolled_at_ms: 0,
        revoked_at_ms: null,
      })),
  });
}

const defaults = configuration();

/** Somebody of `everybody`, with what their roles permit; or the engine itself. */
export function callerOf(name: string): Caller {
  if (name === "system") return systemCaller(tenant);
  const { kind = "human", roles = [], groups = [], answerable } = everybody[name] as Member;
  const humans = kind === "human" ? [name] : [answerable ?? ""];
  const permissions = permissionsOf(roles, defaults);
  return {
    ...{ tenant, tenantMode: "organisation", principal: { id: name, kind, name, agentType: null } },
    ...{ humans, roles, groups, permissions, rolePermissions: permissions, apiKeyId: "k", keyExpiresAtMs: null },
    actor: { type: kind, id: name, humans },
    guards: [{ kind: "row", table: "api_keys", id: "k", version: 1 }],
  };
}

// ── A change-set ─────────────────────────────────────────────────────────────────────────────────────────────────────

export const risk: RiskAssessment = {
  ...{ score: 20, level: "LOW", scoreLevel: "LOW", factors: [], floors: [] },
  ...{ approvalsByLevel: 1, auto: false, autoWhy: "", recommendations: [] },
};

export function decision(outcome: PolicyDecision["outcome"] = "allow", items = 1): PolicyDecision {
  const one = { outcome, policies: ["rule"], why: `${outcome} by rule` };
  return {
    outcome,
    version: "built-in",
    items: Array.from({ length: items }, (_, index) => ({ sequence: index + 1, ...one })),
    stages: [],
  };
}

/** Reviewers, this many. */
export function routeFor(required: number): Route {
  const stages = required === 0 ? [] : [{ name: "reviewers", groups: ["reviewers"], quorum: 1, uncapped: 1 }];
  return {
    ...{ mode: "organisation", required, uncapped: required, capped: false, auto: required === 0, stages },
    escalation: ["role:admin"],
  };
}

export function itemRow(more: Partial<ItemRow> = {}): ItemRow {
  const { sequence = 1, target_id: id = "a", target_environment: environment = "development" } = more;
  const key = `resource:${environment}:CONFIG:${id}`;
  const state = (value: number) => ({ exists: true, document: { value }, hash: resourceStateHash({ value }) });
  return {
    ...{ id: `item-${sequence}`, version: 1, change_set_id: "cs", revision_id: "rev", sequence, position: sequence },
    ...{ operation: "UPDATE", target_kind: "resource", target_type: "CONFIG", target_id: id },
    ...{ target_environment: environment, target_key: key, other_target_key: null },
    input: { operation: "UPDATE", target: { kind: "resource", type: "CONFIG", id, environment }, after: { value: 2 } },
    effects: [
      { target: { kind: "resource", type: "CONFIG", id, environment, key }, before: state(1), after: state(2) },
    ],
    ...{ diff: [], reversibility: "exact", flags: [], policy: null },
    ...more,
  };
}

/** Statuses that a change-set may have without having been submitted. */
const unsubmitted: ReadonlySet<Status> = new Set(["DRAFT", "CANCELLED", "REJECTED"]);

export interface Given {
  readonly changeSet?: Partial<ChangeSetRow>;
  readonly revision?: Partial<RevisionRow>;
  readonly items?: readonly ItemRow[];
  readonly votes?: readonly VoteRow[];
  readonly people?: Members;
  readonly configuration?: Configuration;
  /** Approvals that its route requires; none yet in a draft. */
  readonly required?: number;
}

/** `CS-1` of `builder` at revision 2, as a command finds it. */
export function loadedIn(status: Status, given: Given = {}): Loaded {
  const items = given.items ?? [itemRow()];
  const digest = revisionDigestOfItems("ab", items);
  const route = unsubmitted.has(status) && given.required === undefined ? null : routeFor(given.required ?? 1);
  const policy = route === null ? null : decision("allow", items.length);
  const approvalDigest =
    route === null || policy === null ? null : digestApproval(digest, route, { decision: policy, risk });
  const changeSet: ChangeSetRow = {
    ...{ id: "cs", version: 5, number: "CS-1", title: "Title", description: "Text", author_id: "builder" },
    ...{ author_humans: ["alice"], agent_type: null, category: "CONFIG_UPDATE", category_requested: null },
    ...{ priority: "NORMAL", apply_mode: "MANUAL", tags: [], metadata: {}, depends_on: [], status },
    ...{ status_reason: null, blocked: null, revision: 2, revision_id: "rev", approval_digest: approvalDigest },
    ...{ risk_score: 20, risk_level: "LOW", required_approvals: route?.required ?? null, attempts: 0 },
    ...{ application_id: null, created_at_ms: 1, updated_at_ms: 2, submitted_at_ms: null, deadline_at_ms: null },
    ...{ approved_until_ms: null, applied_at_ms: null, undo_until_ms: null },
    ...given.changeSet,
  };
  const revision: RevisionRow = {
    ...{ id: "rev", version: 2, change_set_id: "cs", number: 2, nonce: "ab", digest, made_by: "builder" },
    ...{ item_count: items.length, category: "CONFIG_UPDATE", risk, policy, route, approval_digest: approvalDigest },
    created_at_ms: 1,
    ...given.revision,
  };
  const whole: Whole = {
    ...{ changeSet, revision, items, votes: given.votes ?? [], application: null, applicationItems: [] },
  };
  return {
    whole,
    people: given.people ?? peopleOf(),
    configuration: given.configuration ?? defaults,
    configurationEpoch: 4,
    overlaps: [],
  };
}

export function voteRow(voter: string, more: Partial<VoteRow> = {}): VoteRow {
  return {
    ...{ id: `vote-${voter}`, version: 1, change_set_id: "cs", revision_id: "rev", voter_id: voter },
    ...{ key_id: `key-${voter}`, decision: "APPROVED", digest: "", signature: "", reason: null },
    ...{ self_approved: false, dismissed: false, at_ms: nowMs - 60_000 },
    ...more,
  };
}

/** The parts of a vote on the change-set, signed by the voter's own key. */
export function signedBy(
  voter: string,
  loaded: Loaded,
  of: { readonly decision: VoteRow["decision"]; readonly atMs?: number },
): { digest: string; keyId: string; atMs: number; signature: string } {
  const digest = loaded.whole.changeSet.approval_digest ?? "0".repeat(64);
  const { decision: decided, atMs = nowMs } = of;
  const bytes = voteSigningBytes({
    ...{ tenant, changeSetId: "cs", approvalDigest: digest, decision: decided, voterId: voter, atMs },
  });
  const { privateKey } = keyPairs.get(voter) as { privateKey: string };
  return { digest, keyId: `key-${voter}`, atMs, signature: signMessage(privateKey, bytes) };
}

// ── What was decided ─────────────────────────────────────────────────────────────────────────────────────────────────

/** For tables: the code of a refusal, `nothing`, or the actions recorded, and the status the answer shows. */
export function shown(decided: Refusal | Decided<unknown> | undefined): string {
  if (decided === undefined) return "fine";
  if (isRefusal(decided)) return decided.code;
  if (decided.kind === "nothing") return "nothing";
  const actions = decided.change.entries.map((entry) => entry.action.replace("change_set.", "")).join(" + ");
  const status = (decided.result as { changeSet?: { status: string } } | undefined)?.changeSet?.status;
  return status === undefined ? actions : `${actions} → ${status}`;
}

/** What is committed; throws when it was refused. */
export function changeOf<R>(decided: Refusal | Decided<R>) {
  if (isRefusal(decided) || decided.kind === "nothing") throw new Error(`nothing is committed: ${shown(decided)}`);
  return decided.change;
}

/** The rows of one table that the change writes. */
export function written(decided: Refusal | Decided<unknown>, table: Write["table"]): Write["row"][] {
  return changeOf(decided)
    .entries.flatMap((entry) => entry.writes ?? [])
    .filter((write) => write.table === table)
    .map((write) => write.row);
}
