/** Whether this process can serve: the database answers, its schema is current, the door is not flooded. */
import { limits } from "@countersign/contract";
import type { Ledger } from "../ledger/index.js";
import { ask, migrationStatus, type Storage } from "../storage/index.js";

export interface Check {
  readonly name: "database" | "migrations" | "door" | "stopping";
  readonly ok: boolean;
  /** What is wrong, without addresses and names. */
  readonly note?: string;
}

export interface Readiness {
  readonly ready: boolean;
  readonly checks: readonly Check[];
}

/** A probe asks often and must be answered before it gives up. */
const answerMs = 2_000;

export async function checkReadiness({
  storage,
  ledger,
  stopping,
}: {
  readonly storage: Storage;
  readonly ledger: Ledger;
  readonly stopping: boolean;
}): Promise<Readiness> {
  const database = await within(answerMs, ask(storage.app, "select 1"));
  const checks: Check[] = [
    database ? { name: "database", ok: true } : { name: "database", ok: false, note: "it does not answer" },
    database
      ? await checkMigrations(storage)
      : { name: "migrations", ok: false, note: "unknown while the database is away" },
    checkDoor(ledger),
    ...(stopping ? [{ name: "stopping", ok: false, note: "the server is stopping" } as const] : []),
  ];
  return { ready: checks.every((check) => check.ok), checks };
}

async function checkMigrations(storage: Storage): Promise<Check> {
  const pending = { count: -1 };
  const read = async (): Promise<void> => {
    const client = await storage.owner.connect();
    try {
      pending.count = (await migrationStatus(client)).pending.length;
    } finally {
      client.release();
    }
  };
  const known = await within(answerMs, read());
  if (!known) return { name: "migrations", ok: false, note: "their state cannot be read" };
  return pending.count === 0
    ? { name: "migrations", ok: true }
    : { name: "migrations", ok: false, note: `${pending.count} are pending; run \`countersign migrate up\`` };
}

function checkDoor(ledger: Ledger): Check {
  const { waiting } = ledger.stats();
  return waiting < limits.queueChangesMax
    ? { name: "door", ok: true }
    : { name: "door", ok: false, note: "too many changes wait" };
}

/** Whether it succeeded in time. A probe is told what is wrong, not why: the log of the first request that failed has it. */
async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  const { promise, cancel } = timer(ms);
  try {
    return await Promise.race([
      work.then(
        () => true,
        () => false,
      ),
      promise,
    ]);
  } finally {
    cancel();
  }
}

function timer(ms: number): { readonly promise: Promise<false>; cancel(): void } {
  let cancel = (): void => undefined;
  const promise = new Promise<false>((resolve) => {
    const timeout = setTimeout(() => resolve(false), ms);
    cancel = () => clearTimeout(timeout);
  });
  return { promise, cancel: () => cancel() };
}
