/** API keys, one-time enrolment codes, and people's signing keys. */
import { type CheckedInput, isUuid, type OperationOutput, refused, type Refusal } from "@countersign/contract";
import { enrolmentBytes, importPublicKey, verifySignature } from "@countersign/proof";
import type { DecideContext, EntryDraft } from "../ledger/index.js";
import { checkSigningAdministratorLeft } from "./administrators.rules.js";
import { type Caller, enrolledKeyDays } from "./caller.js";
import {
  answer,
  changeMembers,
  type Loaded,
  membersWith,
  type Plan,
  type TenancyDesk,
  type TenancyRequest,
  touched,
} from "./change.js";
import { mintCredential, parseCredential, sameSecret, type Credential } from "./credentials.rules.js";
import { checkedScopes, codeIssued, keyMinted } from "./keys.rules.js";
import { loadMembers } from "./people.js";
import { badCursor, noPrincipal } from "./principals.js";
import { readApiKey, readApiKeys, readEnrolmentCode, readOpenCodes } from "./queries.js";
import { everyScope } from "./permissions.rules.js";
import { type ApiKeyRow, type EnrolmentCodeRow, insert, type SigningKeyRow, update } from "./rows.js";
import { apiKeyView, principalView, signingKeyView, summaryOf, tenantView } from "./views.rules.js";

export async function mintKey(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"mintKey">,
  request: TenancyRequest,
): Promise<OperationOutput<"mintKey"> | Refusal> {
  const shown = { secret: "" };
  const outcome = await changeMembers(desk, request, {
    tenant: caller.tenant,
    guards: () => caller.guards,
    about: () => input.principal,
    decide: ({ members }, context) => {
      const person = members.principals.get(input.principal);
      if (person === undefined) return noPrincipal(input.principal);
      // The holder of a person's API key can propose in that person's name. If an administrator could mint it, the
      // administrator would then be free to approve the proposal.
      if (person.kind === "human" && person.id !== caller.principal.id) {
        return refused(
          "forbidden",
          `\`${person.name}\` is a person: only they mint their own API keys; issue them a code to sign in with: \`countersign human code\``,
        );
      }
      const minted = mintCredential("csk", caller.tenant, context.uuid(), (count) => context.randomBytes(count));
      shown.secret = minted.text;
      const wanted = {
        principalId: person.id,
        name: input.name,
        scopes: checkedScopes(input.scopes),
        days: input.days,
      };
      const key = keyMinted(caller, minted, wanted, context, [touched(members, person.id)]);
      return {
        kind: "plan",
        entries: [key.entry],
        result: { key: apiKeyView(key.row, summaryOf(members, person.id)) },
      };
    },
  });
  return answer(outcome, shown);
}

export async function revokeKey(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"revokeKey">,
  request: TenancyRequest,
): Promise<OperationOutput<"revokeKey"> | Refusal> {
  const outcome = await changeMembers(desk, request, {
    tenant: caller.tenant,
    guards: () => caller.guards,
    about: (_, row: ApiKeyRow | undefined) => row?.principal_id,
    also: (snapshot) => readApiKey(snapshot, input.id),
    decide: ({ members, also: row }, context) => {
      if (row === undefined)
        return refused("not_found", `there is no API key \`${input.id}\`; \`countersign key list\` shows them`);
      const principal = summaryOf(members, row.principal_id);
      if (row.revoked_at_ms !== null) return { kind: "nothing", result: { key: apiKeyView(row, principal) } };
      const entry: EntryDraft = {
        actor: caller.actor,
        action: "principal.api_key_revoked",
        subject: { type: "principal", id: row.principal_id },
        data: { apiKey: row.id },
        writes: [update("api_keys", row, { revoked_at_ms: context.nowMs }), touched(members, row.principal_id)],
      };
      return {
        kind: "plan",
        entries: [entry],
        result: { key: apiKeyView({ ...row, revoked_at_ms: context.nowMs }, principal) },
      };
    },
  });
  return answer(outcome, {});
}

export async function listKeys(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"listKeys">,
): Promise<OperationOutput<"listKeys"> | Refusal> {
  if (input.cursor !== undefined && !isUuid(input.cursor)) return badCursor();
  return desk.ledger.snapshot(caller.tenant, async (snapshot) => {
    const page = { principal: input.principal, before: input.cursor, limit: input.limit + 1 };
    const [members, found] = await Promise.all([loadMembers(snapshot), readApiKeys(snapshot, page)]);
    const rows = found.slice(0, input.limit);
    return {
      rows: rows.map((row) => apiKeyView(row, summaryOf(members, row.principal_id))),
      nextCursor: found.length > rows.length ? (rows.at(-1)?.id ?? null) : null,
    };
  });
}

export async function issueEnrolmentCode(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"issueEnrolmentCode">,
  request: TenancyRequest,
): Promise<OperationOutput<"issueEnrolmentCode"> | Refusal> {
  const shown = { enrolmentCode: "" };
  const outcome = await changeMembers(desk, request, {
    tenant: caller.tenant,
    guards: () => caller.guards,
    about: () => input.id,
    also: (snapshot) => readOpenCodes(snapshot, input.id, desk.now()),
    decide: ({ members, also: open }, context) => {
      const person = members.principals.get(input.id);
      if (person === undefined) return noPrincipal(input.id);
      if (person.kind !== "human")
        return refused(
          "human_root_required",
          `\`${person.name}\` is no human: agents and services never sign; mint an API key: \`countersign key create\``,
        );
      const minted = mintCredential("cse", caller.tenant, context.uuid(), (count) => context.randomBytes(count));
      shown.enrolmentCode = minted.text;
      const writes = [
        touched(members, person.id),
        ...open.map((code) => update("enrolment_codes", code, { expires_at_ms: context.nowMs })),
      ];
      const code = codeIssued(caller, minted, { principalId: person.id }, context, writes);
      return { kind: "plan", entries: [code.entry], result: { expiresAt: code.expiresAt } };
    },
  });
  return answer(outcome, shown);
}

type Enrolled = Omit<OperationOutput<"enrol">, "secret" | "receipts">;

/** A person enrols their own key: the code shows who they are, and the signature shows that the key is theirs. */
export async function enrol(
  desk: TenancyDesk,
  input: CheckedInput<"enrol">,
  request: TenancyRequest,
): Promise<OperationOutput<"enrol"> | Refusal> {
  const credential = parseCredential("cse", input.code.trim());
  if (credential === undefined) return badCode("the enrolment code is not one of ours; copy it again, all of it");
  const key = importPublicKey(input.publicKey);
  if (key === undefined) return badSignature("the public key is no Ed25519 key of 32 bytes in base64url");
  if (!verifySignature(key, enrolmentBytes({ code: input.code.trim(), publicKey: input.publicKey }), input.signature)) {
    return badSignature(
      "the signature over code and public key does not verify with that key; sign exactly the bytes of docs/authentication.md",
    );
  }
  const exists = await desk.ledger.snapshot(
    credential.tenant,
    async (snapshot) => (await readEnrolmentCode(snapshot, credential.id)) !== undefined,
  );
  if (!exists) return badCode(unknownCode);
  const shown = { secret: "" };
  const outcome = await changeMembers(desk, request, {
    tenant: credential.tenant,
    guards: () => [],
    about: (_, code: EnrolmentCodeRow | undefined) => code?.principal_id,
    also: (snapshot) => readEnrolmentCode(snapshot, credential.id),
    decide: (loaded, context) => enrolPlan(loaded, { credential, input, shown }, context),
  });
  return answer(outcome, shown);
}

const unknownCode = "the enrolment code is wrong, used or expired; ask for another: `countersign human code`";

function enrolPlan(
  { members, also: code }: Loaded<EnrolmentCodeRow | undefined>,
  given: { readonly credential: Credential; readonly input: CheckedInput<"enrol">; readonly shown: { secret: string } },
  context: DecideContext,
): Refusal | Plan<Enrolled> {
  const { credential, input, shown } = given;
  if (
    code === undefined ||
    !sameSecret(credential, code.code_hash) ||
    code.used_at_ms !== null ||
    code.expires_at_ms <= context.nowMs
  )
    return badCode(unknownCode);
  const person = members.principals.get(code.principal_id);
  if (person?.status !== "ACTIVE")
    return badCode("the person the code was issued to is suspended; an administrator can let them act again");
  const known = members.rows.signingKeys.find((key) => key.public_key === input.publicKey);
  if (known !== undefined)
    return refused(
      "already_exists",
      `this public key is enrolled as \`${known.id}\` already; make a new pair for every enrolment`,
    );

  const self = { actor: { type: "human", id: person.id, humans: [person.id] } as const };
  const row = {
    id: context.uuid(),
    principal_id: person.id,
    algorithm: "Ed25519",
    public_key: input.publicKey,
    label: input.label,
    status: "ACTIVE",
    minted_by: code.issued_by,
    enrolled_at_ms: context.nowMs,
    revoked_at_ms: null,
  } as const;
  const enrolled: EntryDraft = {
    ...self,
    action: "principal.key_enrolled",
    subject: { type: "principal", id: person.id },
    data: {
      key: row.id,
      algorithm: row.algorithm,
      publicKey: row.public_key,
      code: code.id,
      ...(code.issued_by === null ? {} : { mintedBy: code.issued_by }),
    },
    body: { label: row.label },
    writes: [
      insert("signing_keys", row),
      update("enrolment_codes", code, { used_at_ms: context.nowMs }),
      touched(members, person.id),
    ],
  };
  const minted = mintCredential("csk", credential.tenant, context.uuid(), (count) => context.randomBytes(count));
  shown.secret = minted.text;
  const apiKey = keyMinted(
    self,
    minted,
    {
      principalId: person.id,
      name: input.label === "" ? "enrolled" : input.label,
      scopes: [everyScope],
      days: enrolledKeyDays,
    },
    context,
  );
  const after = membersWith(members, { signingKeys: [{ ...row, version: 1 }] });
  const principal = summaryOf(members, person.id);
  return {
    kind: "plan",
    guards: [{ kind: "absent", table: "signing_keys", key: { public_key: input.publicKey } }],
    entries: [enrolled, apiKey.entry],
    result: {
      tenant: tenantView(members.tenant),
      principal: principalView(after, person.id),
      signingKey: signingKeyView(row, principal),
      key: apiKeyView(apiKey.row, principal),
    },
  };
}

function badCode(message: string): Refusal {
  return refused("enrolment_code_invalid", message);
}

function badSignature(message: string): Refusal {
  return refused("signature_invalid", message);
}

export async function listSigningKeys(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"listSigningKeys">,
): Promise<OperationOutput<"listSigningKeys">> {
  const members = await desk.ledger.snapshot(caller.tenant, loadMembers);
  const rows = members.rows.signingKeys.filter(
    (key) => input.principal === undefined || key.principal_id === input.principal,
  );
  return { rows: rows.map((row) => signingKeyView(row, summaryOf(members, row.principal_id))) };
}

export async function revokeSigningKey(
  desk: TenancyDesk,
  caller: Caller,
  input: CheckedInput<"revokeSigningKey">,
  request: TenancyRequest,
): Promise<OperationOutput<"revokeSigningKey"> | Refusal> {
  const outcome = await changeMembers(desk, request, {
    tenant: caller.tenant,
    guards: () => caller.guards,
    about: (members) => members.signingKeys.get(input.id)?.principalId,
    decide: ({ members, roles }, context) => {
      const row = members.rows.signingKeys.find((key) => key.id === input.id);
      if (row === undefined)
        return refused(
          "not_found",
          `there is no signing key \`${input.id}\`; \`countersign key list --signing\` shows them`,
        );
      const principal = summaryOf(members, row.principal_id);
      if (row.status === "REVOKED") return { kind: "nothing", result: { signingKey: signingKeyView(row, principal) } };
      const changes = { status: "REVOKED", revoked_at_ms: context.nowMs } as const;
      const revoked: SigningKeyRow = { ...row, ...changes };
      const last = checkSigningAdministratorLeft(members, membersWith(members, { signingKeys: [revoked] }), roles);
      if (last !== undefined) return last;
      const entry: EntryDraft = {
        actor: caller.actor,
        action: "principal.key_revoked",
        subject: { type: "principal", id: row.principal_id },
        data: { key: row.id },
        writes: [update("signing_keys", row, changes), touched(members, row.principal_id)],
      };
      return { kind: "plan", entries: [entry], result: { signingKey: signingKeyView(revoked, principal) } };
    },
  });
  return answer(outcome, {});
}
