/**
 * Tenants: their mode, making them, and the first start of a deployment.
 *
 * Promises: the first start may be run by any number of processes at once and any number of times; each leaves the same
 * deployment tenant and the same first tenant. A tenant in the directory is complete, or the next start completes it.
 */
import {
  type CheckedInput,
  isRefusal,
  type OperationOutput,
  refused,
  type Refusal,
  RefusalError,
  type TenantId,
  type TenantMode,
} from "@countersign/contract";
import { asTenantId } from "@countersign/contract";
import type { DecideContext, EntryDraft, Outcome, Write } from "../ledger/index.js";
import { moveEpoch } from "../ledger/index.js";
import { administrators } from "./administrators.rules.js";
import { type Caller, systemCaller } from "./caller.js";
import { answer, changeMembers, type Plan, type TenancyDesk, type TenancyRequest } from "./change.js";
import { mintCredential } from "./credentials.rules.js";
import { deploymentTenant } from "./deployment.js";
import { codeIssued } from "./keys.rules.js";
import { isDownward, mayBeOne, modeRequestHours } from "./mode.rules.js";
import { findMembers, loadMembers, membersEpoch, type Members } from "./people.js";
import { humanRow, newBindings, principalCreated } from "./principals.js";
import { countWorkingHumanKeys, readDirectory, readModeRequest, readOpenCodes } from "./queries.js";
import { insert, type ModeRequestRow, type New, type TenantRow, update } from "./rows.js";
import { newPrincipalView, tenantView } from "./views.rules.js";

export async function getTenant(desk: TenancyDesk, caller: Caller): Promise<OperationOutput<"getTenant">> {
  return tenantView((await desk.ledger.snapshot(caller.tenant, loadMembers)).tenant);
}

// ── Mode ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

type ModeAnswer = Omit<OperationOutput<"setTenantMode">, "receipts">;

export async function setTenantMode(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"setTenantMode">,
  request: TenancyRequest,
): Promise<OperationOutput<"setTenantMode"> | Refusal> {
  const outcome = await changeMembers(desk, request, {
    tenant: caller.tenant,
    guards: () => caller.guards,
    also: (snapshot) => readModeRequest(snapshot),
    decide: ({ members, also: pending }, context) => modePlan(caller, input.mode, { members, pending }, context),
  });
  return answer(outcome, {});
}

function modePlan(
  caller: Caller,
  mode: TenantMode,
  { members, pending }: { members: Members; pending: ModeRequestRow | undefined },
  context: DecideContext,
): Refusal | Plan<ModeAnswer> {
  const { tenant } = members;
  const now = { tenant: tenantView(tenant), waitingForSecondPerson: false };
  if (tenant.mode === mode) return { kind: "nothing", result: now };
  const open =
    pending !== undefined && pending.mode === mode && pending.expires_at_ms > context.nowMs ? pending : undefined;
  const closed: Write[] = pending === undefined ? [] : [update("mode_requests", pending, { status: "DONE" })];
  if (isDownward(tenant.mode, mode)) {
    if (open === undefined) return requestMode(caller, mode, { members, pending }, context);
    if (open.requested_by === caller.principal.id) {
      return refused(
        "release_needs_another",
        `you asked for \`${mode}\` already; another person must agree: \`countersign init --mode ${mode}\``,
        { details: { until: new Date(open.expires_at_ms).toISOString() } },
      );
    }
    if (mayBeOne(members.voters, open.requested_by, caller.principal.id)) {
      return refused(
        "release_needs_another",
        "one of you issued the code with which the other enrolled a later key: revoke that key, or let another person agree",
      );
    }
  }
  const entry: EntryDraft = {
    actor: caller.actor,
    action: "tenant.mode_changed",
    subject: { type: "tenant", id: tenant.id },
    data: { from: tenant.mode, to: mode, ...(open === undefined ? {} : { requestedBy: open.requested_by }) },
    writes: [update("tenants", tenant, { mode }), ...closed],
  };
  return {
    kind: "plan",
    entries: [entry],
    result: { tenant: tenantView({ ...tenant, mode }), waitingForSecondPerson: false },
  };
}

function requestMode(
  caller: Caller,
  mode: TenantMode,
  { members, pending }: { members: Members; pending: ModeRequestRow | undefined },
  context: DecideContext,
): Plan<ModeAnswer> {
  const { tenant } = members;
  const request = {
    mode,
    requested_by: caller.principal.id,
    requested_at_ms: context.nowMs,
    expires_at_ms: context.nowMs + modeRequestHours * 3_600_000,
  };
  // At most one row is pending: a row that expired, or that asked for another mode, is overwritten.
  const write =
    pending === undefined
      ? insert("mode_requests", { id: context.uuid(), status: "PENDING", ...request })
      : update("mode_requests", pending, request);
  const entry: EntryDraft = {
    actor: caller.actor,
    action: "tenant.mode_requested",
    subject: { type: "tenant", id: tenant.id },
    data: { from: tenant.mode, to: mode },
    writes: [write],
  };
  const guard =
    pending === undefined ? [{ kind: "absent", table: "mode_requests", key: { status: "PENDING" } } as const] : [];
  return {
    kind: "plan",
    guards: guard,
    entries: [entry],
    result: { tenant: tenantView(tenant), waitingForSecondPerson: true },
  };
}

// ── Making tenants ───────────────────────────────────────────────────────────────────────────────────────────────────

export interface NewTenant {
  readonly id: TenantId;
  readonly kind: TenantRow["kind"];
  readonly name: string;
  readonly mode: TenantMode;
  /** Name of the first human, who administers it. */
  readonly human: string;
  readonly bindings: { readonly roles: readonly string[]; readonly groups: readonly string[] };
}

/** The tenant's own first entries. Does nothing when somebody was faster. */
async function makeTenant(desk: TenancyDesk, wanted: NewTenant): Promise<void> {
  const by = systemCaller(wanted.id);
  const outcome = await desk.ledger.transact(
    wanted.id,
    (snapshot) => findMembers(snapshot),
    (members, context) => {
      if (members !== undefined) return { kind: "nothing", result: undefined };
      const row: New<TenantRow> = {
        id: wanted.id,
        kind: wanted.kind,
        name: wanted.name,
        mode: wanted.mode,
        status: "ACTIVE",
        created_at_ms: context.nowMs,
      };
      const human = humanRow(wanted.human, null, context);
      const created: EntryDraft = {
        actor: by.actor,
        action: "tenant.created",
        subject: { type: "tenant", id: wanted.id },
        data: { kind: row.kind, mode: row.mode },
        body: { name: row.name },
        writes: [insert("tenants", row), moveEpoch(membersEpoch, 0)],
      };
      const first = principalCreated(by, human, newBindings(human.id, wanted.bindings, null, context));
      return {
        kind: "change",
        change: {
          guards: [
            { kind: "absent", table: "tenants", key: { id: wanted.id } },
            { kind: "epoch", name: membersEpoch, value: 0 },
          ],
          entries: [created, first],
        },
        result: undefined,
      };
    },
  );
  succeeded(outcome);
}

export async function createTenant(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"createTenant">,
  request: TenancyRequest,
  bindings: NewTenant["bindings"],
): Promise<OperationOutput<"createTenant"> | Refusal> {
  if (caller.tenant !== deploymentTenant)
    return refused(
      "forbidden",
      `\`${caller.principal.name}\` is not in the deployment's tenant, in which tenants are created; the person who runs the server enrols there with the code in \`deployment-enrolment-code\` of its data directory (\`countersign enrol\`, with a login of its own: \`--profile\`)`,
    );
  const made = { id: undefined as TenantId | undefined };
  const outcome = await request.transact(
    deploymentTenant,
    async (snapshot) => {
      const names = new Set((await readDirectory(snapshot)).map((row) => row.name));
      const tenant = names.has(input.name) ? undefined : (made.id ??= await makeUnlisted(desk, input, bindings));
      const members = tenant === undefined ? undefined : await desk.ledger.snapshot(tenant, loadMembers);
      return { members };
    },
    ({ members }, context) => {
      if (members === undefined) return nameTaken(input.name);
      const human = firstHuman(members);
      const result = {
        tenant: tenantView(members.tenant),
        principal: newPrincipalView(human, members.rows.bindings, members),
      };
      return {
        kind: "change",
        change: {
          guards: [...caller.guards, { kind: "absent", table: "tenant_directory", key: { name: input.name } }],
          entries: [listed(caller, members.tenant, context)],
        },
        result,
      };
    },
  );
  if (isRefusal(outcome) || outcome.kind === "nothing" || made.id === undefined)
    return answer(outcome as Outcome<never>, { enrolmentCode: "", expiresAt: "" });
  const code = await issueCode(desk, made.id);
  return answer(outcome, { enrolmentCode: code.text, expiresAt: code.expiresAt });
}

/**
 * The tenant is made complete before it is listed, so every tenant in the directory can be used. A tenant that is never
 * listed is never seen.
 */
async function makeUnlisted(
  desk: TenancyDesk,
  input: CheckedInput<"createTenant">,
  bindings: NewTenant["bindings"],
): Promise<TenantId> {
  const id = asTenantId(desk.newId());
  await makeTenant(desk, { id, kind: "customer", name: input.name, mode: input.mode, human: input.human, bindings });
  return id;
}

function listed(
  by: Pick<Caller, "actor">,
  tenant: Pick<TenantRow, "id" | "name" | "mode">,
  context: DecideContext,
): EntryDraft {
  return {
    actor: by.actor,
    action: "tenant.listed",
    subject: { type: "tenant", id: tenant.id },
    data: { mode: tenant.mode },
    body: { name: tenant.name },
    writes: [insert("tenant_directory", { id: tenant.id, name: tenant.name, created_at_ms: context.nowMs })],
  };
}

function nameTaken(name: string): Refusal {
  return refused("name_taken", `there is a tenant \`${name}\` already; choose another name`, {
    problems: [{ code: "name_taken", pointer: "/name", message: `\`${name}\` is taken` }],
  });
}

// ── The first start ──────────────────────────────────────────────────────────────────────────────────────────────────

export interface FirstStart {
  /** Name of the first tenant. */
  readonly tenant: string;
  readonly mode: TenantMode;
  readonly human: string;
  readonly bindings: NewTenant["bindings"];
}

/** Makes the missing tenants, and returns the first tenant's id. */
export async function setUp(desk: TenancyDesk, wanted: FirstStart): Promise<TenantId> {
  const { mode, human } = wanted;
  await makeTenant(desk, {
    id: deploymentTenant,
    kind: "deployment",
    name: "deployment",
    mode,
    human,
    bindings: { roles: ["admin"], groups: [] },
  });
  const outcome = await desk.ledger.transact(
    deploymentTenant,
    (snapshot) => readDirectory(snapshot),
    (rows, context) => {
      const known = rows.find((row) => row.name === wanted.tenant);
      if (known !== undefined) return { kind: "nothing", result: known.id };
      const id = context.uuid();
      const entry = listed(systemCaller(deploymentTenant), { id, name: wanted.tenant, mode }, context);
      return {
        kind: "change",
        change: {
          guards: [{ kind: "absent", table: "tenant_directory", key: { name: wanted.tenant } }],
          entries: [entry],
        },
        result: id,
      };
    },
  );
  const id = asTenantId(succeeded(outcome));
  await makeTenant(desk, { id, kind: "customer", name: wanted.tenant, mode, human, bindings: wanted.bindings });
  return id;
}

/** Every tenant, the deployment's first. */
export async function tenantIds(desk: TenancyDesk): Promise<TenantId[]> {
  const rows = await desk.ledger.snapshot(deploymentTenant, readDirectory);
  return [deploymentTenant, ...rows.map((row) => asTenantId(row.id))];
}

export interface IssuedCode {
  readonly text: string;
  readonly expiresAt: string;
  readonly human: string;
}

/** Whether no human of the tenant has a key that opens anything: then only the server's console can let somebody in. */
export function nobodyCanSignIn(desk: TenancyDesk, tenant: TenantId): Promise<boolean> {
  return desk.ledger.snapshot(tenant, async (snapshot) => (await countWorkingHumanKeys(snapshot, desk.now())) === 0);
}

/**
 * A code for the tenant's first administrator, issued by the system: a person who can read the server's console may use
 * it.
 */
export async function issueCode(desk: TenancyDesk, tenant: TenantId): Promise<IssuedCode> {
  const by = systemCaller(tenant);
  const shown = { text: "" };
  const outcome = await changeMembers(desk, desk.ledger, {
    tenant,
    guards: () => [],
    also: async (snapshot, members) => readOpenCodes(snapshot, firstHuman(members).id, desk.now()),
    decide: ({ members, roles, also: open }, context) => {
      const [administrator] = administrators(members, roles).sort();
      const human = members.rows.principals.get(administrator ?? firstHuman(members).id) ?? firstHuman(members);
      const minted = mintCredential("cse", tenant, context.uuid(), (count) => context.randomBytes(count));
      shown.text = minted.text;
      const earlier = open
        .filter((code) => code.principal_id === human.id)
        .map((code) => update("enrolment_codes", code, { expires_at_ms: context.nowMs }));
      const code = codeIssued(by, minted, { principalId: human.id }, context, [
        update("principals", human, {}),
        ...earlier,
      ]);
      return { kind: "plan", entries: [code.entry], result: { expiresAt: code.expiresAt, human: human.name } };
    },
  });
  return { ...succeeded(outcome), text: shown.text };
}

function firstHuman(members: Members) {
  const human = [...members.rows.principals.values()].find((row) => row.kind === "human");
  if (human === undefined) throw new Error(`tenant ${members.tenant.id} has no human`);
  return human;
}

function succeeded<R>(outcome: Outcome<R>): R {
  if (isRefusal(outcome)) throw new RefusalError(outcome);
  return outcome.result;
}
