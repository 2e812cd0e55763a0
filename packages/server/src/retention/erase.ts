/**
 * Erasing a subject: every module that holds texts of it is asked, all of it is one commit, and what that commit names is
 * removed. The steps and what holds between them: `erasure.ts`.
 */
import {
  type ErasureReport,
  isRefusal,
  isUuid,
  refused,
  type Refusal,
  RefusalError,
  type TenantId,
} from "@countersign/contract";
import type {
  ErasureSubject,
  EraseSubject,
  FinishErasures,
  Ledger,
  ModuleErasure,
  Outcome,
  Snapshot,
} from "../ledger/index.js";
import type { Storage } from "../storage/index.js";
import { type Caller, loadPeople } from "../tenancy/index.js";
import { decideErasure, type LedgerErasure, loadErasure } from "./erasure.js";
import { finishErasures } from "./finishing.js";

/** A module that holds texts of subjects. It is registered in `server.ts`. */
export interface Eraser {
  readonly module: string;
  readonly erase: EraseSubject;
}

export interface ErasureDesk {
  readonly ledger: Pick<Ledger, "snapshot">;
  readonly storage: Pick<Storage, "inTenant">;
  readonly erasers: readonly Eraser[];
  /** Beside the ledger's own: bytes and responses kept elsewhere. */
  readonly finishers: readonly FinishErasures[];
  readonly changeSetId: (tenant: TenantId, ref: string) => Promise<string | undefined>;
  readonly changeSetNumbers: (snapshot: Snapshot, ids: readonly string[]) => Promise<ReadonlyMap<string, string>>;
  readonly now: () => number;
}

interface Loaded {
  readonly subject: ErasureSubject;
  readonly label: string | null;
  readonly own: LedgerErasure;
  readonly parts: readonly { readonly module: string; readonly part: ModuleErasure }[];
}

export interface Erasing {
  readonly report: ErasureReport;
  readonly outcome: Exclude<Outcome<ErasureReport>, Refusal>;
}

/** The texts that would go and those that would stay. Refuses like `erase`. */
export async function previewErasure(desk: ErasureDesk, caller: Caller, ref: string): Promise<ErasureReport | Refusal> {
  return desk.ledger.snapshot(caller.tenant, async (snapshot) => {
    const loaded = await load(desk, snapshot, caller, ref);
    return isRefusal(loaded) ? loaded : reportOf(loaded, false);
  });
}

/**
 * Refusals: `not_found`, `illegal_transition` (not finished, not suspended), `legal_hold`, `ledger_mismatch`, and the door's.
 * A repeat erases texts that came since, or names the entry that erased all of them.
 */
export async function erase(
  desk: ErasureDesk,
  caller: Caller,
  asked: { readonly subject: string; readonly reason: string; readonly policy: string },
  transact: Ledger["transact"],
): Promise<Erasing | Refusal> {
  const outcome = await transact(
    caller.tenant,
    async (snapshot) => {
      const loaded = await load(desk, snapshot, caller, asked.subject);
      if (isRefusal(loaded)) throw new RefusalError(loaded);
      return loaded;
    },
    (loaded) =>
      decideErasure(
        loaded.own,
        loaded.parts.map(({ part }) => part),
        {
          actor: caller.actor,
          guards: caller.guards,
          policy: asked.policy,
          reason: asked.reason,
          result: reportOf({ ...loaded, label: null }, false),
        },
      ),
  );
  if (isRefusal(outcome)) return outcome;
  // If we die here: the keys are gone, and the bytes go with the next start.
  const finished = await finishAll(desk, caller.tenant);
  return { report: { ...outcome.result, finished }, outcome };
}

/** Step 2 of every erasure there is. False: something runs that may need the bytes; it is tried again. */
export async function finishAll(
  { storage, finishers }: Pick<ErasureDesk, "storage" | "finishers">,
  tenant: TenantId,
): Promise<boolean> {
  await finishErasures(storage, tenant);
  const done = await Promise.all(finishers.map((finish) => finish(tenant)));
  return done.every((count) => count !== undefined);
}

async function load(desk: ErasureDesk, snapshot: Snapshot, caller: Caller, ref: string): Promise<Loaded | Refusal> {
  const named = await resolveSubject(desk, snapshot, ref);
  if (isRefusal(named)) return named;
  const { subject } = named;
  if (subject.id === caller.principal.id)
    return refused(
      "illegal_transition",
      "nobody can erase themselves, because the record must keep the name of the person who erased; ask another administrator",
    );
  const own = await loadErasure(snapshot, subject);
  if (isRefusal(own)) return own;
  const parts: { module: string; part: ModuleErasure }[] = [];
  for (const { module, erase: ask } of desk.erasers) {
    const part = await ask(snapshot, subject, { actor: caller.actor, nowMs: desk.now() });
    if (isRefusal(part)) return part;
    parts.push({ module, part });
  }
  return { ...named, own, parts };
}

export interface NamedSubject {
  readonly subject: ErasureSubject;
  /** Number or name. */
  readonly label: string | null;
}

/** `change_set:CS-…` and `principal:NAME`, or with ids. Refuses with `not_found`. */
export async function resolveSubject(
  desk: Pick<ErasureDesk, "changeSetNumbers" | "changeSetId">,
  snapshot: Snapshot,
  ref: string,
): Promise<NamedSubject | Refusal> {
  const [type, name] = [ref.slice(0, ref.indexOf(":")), ref.slice(ref.indexOf(":") + 1)];
  if (type === "change_set") {
    const id = /^CS-[0-9-]+$/.test(name) || isUuid(name) ? await desk.changeSetId(snapshot.tenant, name) : undefined;
    if (id === undefined)
      return refused("not_found", `there is no change-set \`${name}\`; \`countersign change-set list\` shows them`);
    return {
      subject: { type: "change_set", id },
      label: (await desk.changeSetNumbers(snapshot, [id])).get(id) ?? null,
    };
  }
  const { principals } = await loadPeople(snapshot);
  const person = principals.get(name) ?? [...principals.values()].find((one) => one.name === name);
  if (person === undefined)
    return refused("not_found", `there is no principal \`${name}\`; \`countersign agent list\` shows them`);
  return { subject: { type: "principal", id: person.id }, label: person.name };
}

function reportOf({ subject, label, own, parts }: Loaded, finished: boolean): ErasureReport {
  const texts =
    own.seqs.length === 0 ? [] : [{ module: "ledger", what: "texts of the ledger", count: own.seqs.length }];
  const erased = [...texts, ...parts.flatMap(({ module, part }) => part.erased.map((one) => ({ module, ...one })))];
  const referring =
    own.referring === 0
      ? []
      : [
          `${own.referring} text${own.referring === 1 ? "" : "s"} of entries about other things that refer to it, such as names of resources`,
        ];
  const nothing = erased.length === 0 && own.keys === 0;
  return {
    subject: { type: subject.type, id: subject.id, label },
    erased,
    keys: own.keys,
    notReached: [...referring, ...new Set(parts.flatMap(({ part }) => part.notReached ?? []))],
    finished,
    alreadyBy: nothing ? own.erasedBy : null,
  };
}
