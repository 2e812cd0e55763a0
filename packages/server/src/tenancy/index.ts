/**
 * Tenancy: the principals of a tenant, the authentication of callers, and their permissions.
 *
 * Promises: a credential is looked up in the database with every request, so a revocation, a suspension or a binding holds
 * from its commit on, in every process · no secret is stored, only its digest · every agent and service has a human who
 * accepted to be answerable · a tenant always keeps an administrator · the issuer of every credential is on record.
 */
import {
  type CheckedInput,
  isRefusal,
  type OperationId,
  type OperationOutput,
  RefusalError,
  type Refusal,
  type TenantId,
} from "@countersign/contract";
import type { EraseSubject, HeldSnapshot, Ledger, Snapshot } from "../ledger/index.js";
import type { Log } from "../platform/index.js";
import { type Storage, writeOperational } from "../storage/index.js";
import type { Handlers } from "./call.js";
import { type Caller, parseApiKey, readCaller, systemCaller } from "./caller.js";
import type { TenancyDesk, TenancyRequest } from "./change.js";
import { eraseSubject } from "./erase.js";
import { enrol, issueEnrolmentCode, listKeys, listSigningKeys, mintKey, revokeKey, revokeSigningKey } from "./keys.js";
import { loadMembers, loadPeople, loadTenant, principalNames } from "./people.js";
import type { RolesConfiguration } from "./permissions.rules.js";
import {
  acceptAgent,
  createAgent,
  createHuman,
  listPrincipals,
  setBindings,
  setPrincipalStatus,
} from "./principals.js";
import { noteKeyUse } from "./queries.js";
import {
  createTenant,
  type FirstStart,
  getTenant,
  type IssuedCode,
  issueCode,
  nobodyCanSignIn,
  setTenantMode,
  setUp,
  tenantIds,
} from "./tenants.js";
import { principalView, tenantView } from "./views.rules.js";

export type { Call, Handlers, TextStream } from "./call.js";
export { type Caller, systemCaller } from "./caller.js";
export type { TenancyRequest } from "./change.js";
export { credentialLength, mintCredential, parseCredential } from "./credentials.rules.js";
export { deploymentTenant } from "./deployment.js";
export { mayBeOne } from "./mode.rules.js";
export { badCursor } from "./principals.js";
export {
  loadPeople,
  loadTenant,
  membersEpoch,
  type MemberVoter,
  type People,
  type Person,
  type PrincipalName,
  principalNames,
  type SigningKey,
} from "./people.js";
export { checkPermission, type RolesConfiguration } from "./permissions.rules.js";
export type { FirstStart, IssuedCode } from "./tenants.js";

export interface TenancyOptions {
  readonly ledger: Ledger;
  readonly storage: Pick<Storage, "app">;
  readonly clock: { nowMs(): number };
  readonly newId: () => string;
  /** The roles in force in a snapshot: configuration is governance's. */
  readonly roles: (snapshot: Snapshot) => Promise<RolesConfiguration>;
  /** The roles and groups of a new tenant's first human. */
  readonly startingBindings: (mode: FirstStart["mode"]) => FirstStart["bindings"];
  readonly log: Pick<Log, "warn">;
}

type Command<K extends OperationId> = (
  caller: Caller,
  input: CheckedInput<K>,
  request: TenancyRequest,
) => Promise<OperationOutput<K> | Refusal>;
type Question<K extends OperationId> = (
  caller: Caller,
  input: CheckedInput<K>,
) => Promise<OperationOutput<K> | Refusal>;

export interface Identified {
  readonly caller: Caller;
  readonly held: HeldSnapshot;
}

export interface Tenancy {
  /**
   * The caller who holds this API key, read now from the database. Refusals: `unauthenticated`, `key_malformed`,
   * `key_unknown`, `key_expired`, `key_revoked`, `principal_suspended`. Throws `database_unavailable`.
   */
  authenticate(apiKey: string | undefined): Promise<Caller | Refusal>;
  /**
   * Like `authenticate`, and returns the snapshot it used, for a decision that is loaded in the same snapshot. The
   * caller must end the snapshot.
   */
  authenticateHolding(
    apiKey: string | undefined,
    /** Called before anything is read, with the id in the key's text, which nobody has checked yet: questions that travel along. */
    alongside: (snapshot: Snapshot, apiKeyId: string) => void,
  ): Promise<Identified | Refusal>;
  /** The same key, read in a snapshot of the caller's tenant. A decision in that snapshot may rely on it. */
  authenticateIn(apiKey: string | undefined, snapshot: Snapshot): Promise<Caller | Refusal>;
  systemCaller(tenant: TenantId): Caller;

  readonly loadPeople: typeof loadPeople;
  readonly loadTenant: typeof loadTenant;
  readonly principalNames: typeof principalNames;
  /** Every tenant, the deployment's first. */
  tenants(): Promise<TenantId[]>;

  /** Makes the deployment's tenant and the first one, if they are not there; the first one's id. */
  setUp(wanted: FirstStart): Promise<TenantId>;
  nobodyCanSignIn(tenant: TenantId): Promise<boolean>;
  /** A one-time code for the tenant's first administrator, for the server's console. */
  issueCode(tenant: TenantId): Promise<IssuedCode>;

  readonly whoAmI: Question<"whoAmI">;
  readonly getTenant: Question<"getTenant">;
  readonly setTenantMode: Command<"setTenantMode">;
  readonly createTenant: Command<"createTenant">;
  readonly listPrincipals: Question<"listPrincipals">;
  readonly createAgent: Command<"createAgent">;
  readonly createHuman: Command<"createHuman">;
  readonly acceptAgent: Command<"acceptAgent">;
  readonly setPrincipalStatus: Command<"setPrincipalStatus">;
  readonly setBindings: Command<"setBindings">;
  readonly issueEnrolmentCode: Command<"issueEnrolmentCode">;
  enrol(input: CheckedInput<"enrol">): Promise<OperationOutput<"enrol"> | Refusal>;
  readonly listKeys: Question<"listKeys">;
  readonly mintKey: Command<"mintKey">;
  readonly revokeKey: Command<"revokeKey">;
  readonly listSigningKeys: Question<"listSigningKeys">;
  readonly revokeSigningKey: Command<"revokeSigningKey">;
  /** Removes the data of people when a subject is erased. */
  readonly eraseSubject: EraseSubject;
  /** Waits until all last uses of keys are recorded. */
  close(): Promise<void>;
}

/** The last use of a key is recorded at most this often: people look at it, decisions do not use it. */
const noteEveryMs = 60_000;

export function openTenancy(options: TenancyOptions): Tenancy {
  const { ledger, clock, roles } = options;
  const desk: TenancyDesk = { ledger, now: () => clock.nowMs(), newId: options.newId, roles };
  const uses = new KeyUses(options);

  async function authenticateIn(apiKey: string | undefined, snapshot: Snapshot): Promise<Caller | Refusal> {
    const credential = parseApiKey(apiKey);
    if (isRefusal(credential)) return credential;
    return readCaller(credential, { snapshot, nowMs: clock.nowMs(), roles });
  }

  async function authenticateHolding(
    apiKey: string | undefined,
    alongside: (snapshot: Snapshot, apiKeyId: string) => void,
  ): Promise<Identified | Refusal> {
    const credential = parseApiKey(apiKey);
    if (isRefusal(credential)) return credential;
    const held = ledger.holdSnapshot(credential.tenant);
    let caller: Caller | Refusal | undefined;
    try {
      alongside(held.snapshot, credential.id);
      caller = await authenticateIn(apiKey, held.snapshot);
    } finally {
      if (caller === undefined || isRefusal(caller)) await held.end();
    }
    if (isRefusal(caller)) return caller;
    uses.note(caller);
    return { caller, held };
  }

  async function authenticate(apiKey: string | undefined): Promise<Caller | Refusal> {
    const credential = parseApiKey(apiKey);
    if (isRefusal(credential)) return credential;
    const caller = await ledger.snapshot(credential.tenant, (snapshot) => authenticateIn(apiKey, snapshot));
    if (!isRefusal(caller)) uses.note(caller);
    return caller;
  }

  const ask =
    <I, O>(question: (desk: TenancyDesk, caller: Caller, input: I) => Promise<O>) =>
    (caller: Caller, input: I): Promise<O> =>
      question(desk, caller, input);
  const command =
    <I, O>(run: (desk: TenancyDesk, caller: Caller, input: I, request: TenancyRequest) => Promise<O>) =>
    (caller: Caller, input: I, request: TenancyRequest): Promise<O> =>
      run(desk, caller, input, request);

  return {
    authenticate,
    authenticateHolding,
    authenticateIn,
    systemCaller,
    loadPeople,
    loadTenant,
    principalNames,
    tenants: () => tenantIds(desk),
    setUp: (wanted) => setUp(desk, wanted),
    nobodyCanSignIn: (tenant) => nobodyCanSignIn(desk, tenant),
    issueCode: (tenant) => issueCode(desk, tenant),
    whoAmI: ask(whoAmI),
    getTenant: ask(getTenant),
    setTenantMode: command(setTenantMode),
    createTenant: command((on, caller, input, request) =>
      createTenant(on, caller, input, request, options.startingBindings(input.mode)),
    ),
    listPrincipals: ask(listPrincipals),
    createAgent: command(createAgent),
    createHuman: command(createHuman),
    acceptAgent: command(acceptAgent),
    setPrincipalStatus: command(setPrincipalStatus),
    setBindings: command(setBindings),
    issueEnrolmentCode: command(issueEnrolmentCode),
    enrol: (input) => enrol(desk, input, ledger),
    listKeys: ask(listKeys),
    mintKey: command(mintKey),
    revokeKey: command(revokeKey),
    listSigningKeys: ask(listSigningKeys),
    revokeSigningKey: command(revokeSigningKey),
    eraseSubject: (snapshot, subject, by) => eraseSubject(ledger, snapshot, subject, by),
    close: () => uses.settled(),
  };
}

async function whoAmI(desk: TenancyDesk, caller: Caller): Promise<OperationOutput<"whoAmI">> {
  const members = await desk.ledger.snapshot(caller.tenant, loadMembers);
  return {
    tenant: tenantView(members.tenant),
    principal: principalView(members, caller.principal.id),
    permissions: [...caller.permissions].sort(),
    keyExpiresAt: caller.keyExpiresAtMs === null ? null : new Date(caller.keyExpiresAtMs).toISOString(),
  };
}

/** Operational: when keys were last used. Losing a note costs nothing. */
class KeyUses {
  readonly #options: TenancyOptions;
  readonly #noted = new Map<string, number>();
  readonly #pending = new Set<Promise<void>>();

  constructor(options: TenancyOptions) {
    this.#options = options;
  }

  note({ tenant, apiKeyId }: Caller): void {
    if (apiKeyId === null) return;
    const nowMs = this.#options.clock.nowMs();
    const last = this.#noted.get(apiKeyId);
    if (last !== undefined && nowMs - last < noteEveryMs) return;
    if (this.#noted.size >= 10_000) this.#noted.clear();
    this.#noted.set(apiKeyId, nowMs);
    const pending = this.#write(tenant, apiKeyId, nowMs).finally(() => this.#pending.delete(pending));
    this.#pending.add(pending);
  }

  async #write(tenant: TenantId, apiKeyId: string, nowMs: number): Promise<void> {
    try {
      await writeOperational(this.#options.storage.app, tenant, noteKeyUse(tenant, apiKeyId, nowMs));
    } catch (error) {
      // The request goes on: only the time of a key's last use is lost.
      this.#options.log.warn(
        { message: error instanceof RefusalError ? error.refusal.message : String(error) },
        "the last use of a key could not be recorded",
      );
    }
  }

  async settled(): Promise<void> {
    await Promise.all(this.#pending);
  }
}

/** People, keys and tenants as they are asked for over the interfaces. */
export function peopleHandlers(tenancy: Tenancy) {
  return {
    whoAmI: ({ caller, input }) => tenancy.whoAmI(caller, input),
    listPrincipals: ({ caller, input }) => tenancy.listPrincipals(caller, input),
    createAgent: ({ caller, input, request }) => tenancy.createAgent(caller, input, request),
    acceptAgent: ({ caller, input, request }) => tenancy.acceptAgent(caller, input, request),
    setPrincipalStatus: ({ caller, input, request }) => tenancy.setPrincipalStatus(caller, input, request),
    createHuman: ({ caller, input, request }) => tenancy.createHuman(caller, input, request),
    issueEnrolmentCode: ({ caller, input, request }) => tenancy.issueEnrolmentCode(caller, input, request),
    enrol: ({ input }) => tenancy.enrol(input),
    setBindings: ({ caller, input, request }) => tenancy.setBindings(caller, input, request),
    listKeys: ({ caller, input }) => tenancy.listKeys(caller, input),
    mintKey: ({ caller, input, request }) => tenancy.mintKey(caller, input, request),
    revokeKey: ({ caller, input, request }) => tenancy.revokeKey(caller, input, request),
    listSigningKeys: ({ caller, input }) => tenancy.listSigningKeys(caller, input),
    revokeSigningKey: ({ caller, input, request }) => tenancy.revokeSigningKey(caller, input, request),
    getTenant: ({ caller, input }) => tenancy.getTenant(caller, input),
    setTenantMode: ({ caller, input, request }) => tenancy.setTenantMode(caller, input, request),
    createTenant: ({ caller, input, request }) => tenancy.createTenant(caller, input, request),
  } satisfies Partial<Handlers>;
}
