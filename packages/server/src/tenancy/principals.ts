/** Adding people, agents and services; who is answerable; roles and groups; suspending. */
import {
  type CheckedInput,
  isUuid,
  type OperationOutput,
  type Problem,
  refused,
  type Refusal,
  refusedForProblems,
} from "@countersign/contract";
import type { DecideContext, EntryDraft, Guard } from "../ledger/index.js";
import { checkAdministratorLeft } from "./administrators.rules.js";
import type { Caller } from "./caller.js";
import {
  answer,
  changeMembers,
  membersWith,
  type Plan,
  type TenancyDesk,
  type TenancyRequest,
  touched,
} from "./change.js";
import { mintCredential } from "./credentials.rules.js";
import { checkedScopes, codeIssued, keyMinted } from "./keys.rules.js";
import { loadMembers, type Members } from "./people.js";
import { agentRole, memberRole, type RolesConfiguration, unknownRoles } from "./permissions.rules.js";
import { type BindingRow, insert, type New, type PrincipalRow, update } from "./rows.js";
import { apiKeyView, newPrincipalView, principalView } from "./views.rules.js";

type Answer<K extends "createAgent" | "createHuman" | "acceptAgent"> = Promise<OperationOutput<K> | Refusal>;

export async function createAgent(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"createAgent">,
  request: TenancyRequest,
): Answer<"createAgent"> {
  if (caller.principal.kind !== "human") {
    return refused(
      "human_root_required",
      "an agent or service needs a human who is answerable; let a human create it: `countersign agent create`",
    );
  }
  const shown = { secret: "" };
  const outcome = await changeMembers(desk, request, {
    tenant: caller.tenant,
    guards: () => caller.guards,
    decide: ({ members }, context) => {
      const taken = nameTaken(members, input.name);
      if (taken !== undefined) return taken;
      const row: New<PrincipalRow> = {
        id: context.uuid(),
        kind: input.kind,
        name: input.name,
        agent_type: input.kind === "agent" ? input.agentType : null,
        status: "ACTIVE",
        answerable: caller.principal.id,
        answerable_before: null,
        created_by: caller.principal.id,
        created_at_ms: context.nowMs,
      };
      const bindings = newBindings(row.id, { roles: [agentRole], groups: [] }, caller.principal.id, context);
      const minted = mintCredential("csk", caller.tenant, context.uuid(), (count) => context.randomBytes(count));
      shown.secret = minted.text;
      const key = keyMinted(
        caller,
        minted,
        { principalId: row.id, name: "first", scopes: checkedScopes(input.scopes), days: input.keyDays },
        context,
      );
      const principal = newPrincipalView(row, bindings, members);
      return {
        kind: "plan",
        guards: [freeName(input.name)],
        entries: [principalCreated(caller, row, bindings), key.entry],
        result: { principal, key: apiKeyView(key.row, { id: row.id, kind: row.kind, name: row.name }) },
      };
    },
  });
  return answer(outcome, { secret: shown.secret });
}

export async function createHuman(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"createHuman">,
  request: TenancyRequest,
): Answer<"createHuman"> {
  const shown = { enrolmentCode: "" };
  const outcome = await changeMembers(desk, request, {
    tenant: caller.tenant,
    guards: () => caller.guards,
    decide: ({ members, roles }, context) => {
      const bound = { roles: input.roles.length === 0 ? [memberRole] : input.roles, groups: input.groups };
      const refusal = checkBindings(bound, roles) ?? nameTaken(members, input.name);
      if (refusal !== undefined) return refusal;
      const row = humanRow(input.name, caller.principal.id, context);
      const bindings = newBindings(row.id, bound, caller.principal.id, context);
      const minted = mintCredential("cse", caller.tenant, context.uuid(), (count) => context.randomBytes(count));
      shown.enrolmentCode = minted.text;
      const code = codeIssued(caller, minted, { principalId: row.id }, context);
      return {
        kind: "plan",
        guards: [freeName(input.name)],
        entries: [principalCreated(caller, row, bindings), code.entry],
        result: { principal: newPrincipalView(row, bindings, members), expiresAt: code.expiresAt },
      };
    },
  });
  return answer(outcome, shown);
}

export async function acceptAgent(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"acceptAgent">,
  request: TenancyRequest,
): Answer<"acceptAgent"> {
  if (caller.principal.kind !== "human")
    return refused("human_root_required", "only a human can accept to be answerable");
  const outcome = await changeMembers(desk, request, {
    tenant: caller.tenant,
    guards: () => caller.guards,
    about: () => input.id,
    decide: ({ members }) => {
      const row = members.rows.principals.get(input.id);
      if (row === undefined) return noPrincipal(input.id);
      if (row.kind === "human")
        return refused("human_root_required", `\`${row.name}\` is a human and answers for themselves`);
      if (row.answerable === caller.principal.id)
        return { kind: "nothing", result: { principal: principalView(members, row.id) } };
      // The human before stays on record: neither the old nor the new human root approves change-sets proposed
      // meanwhile.
      const changes = { answerable: caller.principal.id, answerable_before: row.answerable };
      const after = membersWith(members, { principals: [{ ...row, ...changes }] });
      const entry: EntryDraft = {
        actor: caller.actor,
        action: "principal.answerability_accepted",
        subject: { type: "principal", id: row.id },
        refs: [{ type: "principal", id: caller.principal.id }],
        data: {
          answerable: caller.principal.id,
          ...(row.answerable === null ? {} : { answerableBefore: row.answerable }),
        },
        writes: [update("principals", row, changes)],
      };
      return { kind: "plan", entries: [entry], result: { principal: principalView(after, row.id) } };
    },
  });
  return answer(outcome, {});
}

export async function setPrincipalStatus(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"setPrincipalStatus">,
  request: TenancyRequest,
): Answer<"acceptAgent"> {
  const outcome = await changeMembers(desk, request, {
    tenant: caller.tenant,
    guards: () => caller.guards,
    about: () => input.id,
    decide: ({ members, roles }) => {
      const row = members.rows.principals.get(input.id);
      if (row === undefined) return noPrincipal(input.id);
      if (row.status === input.status)
        return { kind: "nothing", result: { principal: principalView(members, row.id) } };
      const after = membersWith(members, { principals: [{ ...row, status: input.status }] });
      const last = checkAdministratorLeft(after, roles);
      if (last !== undefined) return last;
      const entry: EntryDraft = {
        actor: caller.actor,
        action: input.status === "SUSPENDED" ? "principal.suspended" : "principal.reinstated",
        subject: { type: "principal", id: row.id },
        data: { from: row.status, to: input.status },
        writes: [update("principals", row, { status: input.status })],
      };
      return { kind: "plan", entries: [entry], result: { principal: principalView(after, row.id) } };
    },
  });
  return answer(outcome, {});
}

export async function setBindings(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"setBindings">,
  request: TenancyRequest,
): Answer<"acceptAgent"> {
  const outcome = await changeMembers(desk, request, {
    tenant: caller.tenant,
    guards: () => caller.guards,
    about: () => input.id,
    decide: ({ members, roles }, context) => bindingsPlan(caller, input, { members, roles }, context),
  });
  return answer(outcome, {});
}

function bindingsPlan(
  caller: Caller,
  input: CheckedInput<"setBindings">,
  { members, roles }: { members: Members; roles: RolesConfiguration },
  context: DecideContext,
): Refusal | Plan<{ principal: ReturnType<typeof principalView> }> {
  const row = members.rows.principals.get(input.id);
  if (row === undefined) return noPrincipal(input.id);
  const refusal = checkBindings(input, roles);
  if (refusal !== undefined) return refusal;
  const wanted = newBindings(row.id, input, caller.principal.id, context);
  const known = members.rows.bindings.filter((binding) => binding.principal_id === row.id);
  const same = (a: New<BindingRow>, b: New<BindingRow>): boolean => a.kind === b.kind && a.name === b.name;
  const added = wanted.filter((binding) => !known.some((old) => same(old, binding)));
  const given = { granted_by: caller.principal.id, granted_at_ms: context.nowMs };
  const restored = known.filter((old) => old.status === "REMOVED" && wanted.some((binding) => same(binding, old)));
  const removed = known.filter((old) => old.status === "ACTIVE" && !wanted.some((binding) => same(binding, old)));
  if (added.length + restored.length + removed.length === 0)
    return { kind: "nothing", result: { principal: principalView(members, row.id) } };

  const now = [
    ...added.map((binding): BindingRow => ({ ...binding, version: 1 })),
    ...restored.map((old): BindingRow => ({ ...old, ...given, status: "ACTIVE" })),
    ...removed.map((old): BindingRow => ({ ...old, status: "REMOVED" })),
  ];
  const after = membersWith(members, { bindings: now });
  const last = checkAdministratorLeft(after, roles);
  if (last !== undefined) return last;
  const entry: EntryDraft = {
    actor: caller.actor,
    action: "principal.bindings_changed",
    subject: { type: "principal", id: row.id },
    data: { added: added.length + restored.length, removed: removed.length },
    body: { roles: [...input.roles], groups: [...input.groups] },
    writes: [
      touched(members, row.id),
      ...added.map((binding) => insert("role_bindings", binding)),
      ...restored.map((old) => update("role_bindings", old, { ...given, status: "ACTIVE" })),
      ...removed.map((old) => update("role_bindings", old, { status: "REMOVED" })),
    ],
  };
  return { kind: "plan", entries: [entry], result: { principal: principalView(after, row.id) } };
}

export async function listPrincipals(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"listPrincipals">,
): Promise<OperationOutput<"listPrincipals"> | Refusal> {
  if (input.cursor !== undefined && !isUuid(input.cursor)) return badCursor();
  const after = input.cursor ?? "";
  const members = await desk.ledger.snapshot(caller.tenant, loadMembers);
  const wanted = [...members.principals.values()].filter(
    (person) => (input.kind === undefined || person.kind === input.kind) && person.id > after,
  );
  const page = wanted.slice(0, input.limit);
  const more = wanted.length > page.length;
  return {
    rows: page.map((person) => principalView(members, person.id)),
    nextCursor: more ? (page.at(-1)?.id ?? null) : null,
  };
}

// ── What they share ──────────────────────────────────────────────────────────────────────────────────────────────────

export function humanRow(name: string, createdBy: string | null, context: DecideContext): New<PrincipalRow> {
  return {
    id: context.uuid(),
    kind: "human",
    name,
    agent_type: null,
    status: "ACTIVE",
    answerable: null,
    answerable_before: null,
    created_by: createdBy,
    created_at_ms: context.nowMs,
  };
}

export function newBindings(
  principalId: string,
  names: { readonly roles: readonly string[]; readonly groups: readonly string[] },
  grantedBy: string | null,
  context: DecideContext,
): New<BindingRow>[] {
  const binding = (kind: BindingRow["kind"], name: string): New<BindingRow> => ({
    id: context.uuid(),
    principal_id: principalId,
    kind,
    name,
    status: "ACTIVE",
    granted_by: grantedBy,
    granted_at_ms: context.nowMs,
  });
  return [
    ...[...new Set(names.roles)].map((name) => binding("role", name)),
    ...[...new Set(names.groups)].map((name) => binding("group", name)),
  ];
}

export function principalCreated(
  by: Pick<Caller, "actor">,
  row: New<PrincipalRow>,
  bindings: readonly New<BindingRow>[],
): EntryDraft {
  const names = (kind: BindingRow["kind"]): string[] =>
    bindings.filter((binding) => binding.kind === kind).map((binding) => binding.name);
  return {
    actor: by.actor,
    action: "principal.created",
    subject: { type: "principal", id: row.id },
    data: {
      kind: row.kind,
      ...(row.agent_type === null ? {} : { agentType: row.agent_type }),
      ...(row.answerable === null ? {} : { answerable: row.answerable }),
    },
    body: { name: row.name, roles: names("role"), groups: names("group") },
    writes: [insert("principals", row), ...bindings.map((binding) => insert("role_bindings", binding))],
  };
}

function freeName(name: string): Guard {
  return { kind: "absent", table: "principals", key: { name } };
}

function nameTaken(members: Members, name: string): Refusal | undefined {
  const known = [...members.principals.values()].find((person) => person.name === name);
  if (known === undefined) return undefined;
  return refused("name_taken", `\`${name}\` is the ${known.kind} \`${known.id}\` already; choose another name`, {
    problems: [{ code: "name_taken", pointer: "/name", message: `\`${name}\` is taken` }],
  });
}

export function noPrincipal(id: string): Refusal {
  return refused(
    "not_found",
    `there is no principal \`${id}\`; \`countersign human list\` and \`countersign agent list\` show them`,
  );
}

export function badCursor(): Refusal {
  return refusedForProblems([
    { code: "invalid_request", pointer: "/cursor", message: "`cursor` is not one of this list; start without it" },
  ]);
}

/** The form of a role's or group's name: one word that terminals and patterns need not escape. */
const bindingName = /^[a-z][a-z0-9_.-]{0,62}$/;

function checkBindings(
  names: { readonly roles: readonly string[]; readonly groups: readonly string[] },
  roles: RolesConfiguration,
): Refusal | undefined {
  const known = Object.keys(roles.roles).map((role) => `\`${role}\``);
  const problems: Problem[] = [
    ...unknownRoles(names.roles, roles).map(({ role, index }): Problem => ({
      code: "invalid_request",
      pointer: `/roles/${index}`,
      message: `there is no role \`${role}\`; there are ${known.join(", ")}`,
    })),
    ...names.groups.flatMap((group, index): Problem[] =>
      bindingName.test(group)
        ? []
        : [
            {
              code: "invalid_request",
              pointer: `/groups/${index}`,
              message: `\`${group}\` is no group name; use lower-case letters, digits, \`_\`, \`.\`, \`-\``,
            },
          ],
    ),
  ];
  return problems.length === 0 ? undefined : refusedForProblems(problems);
}
