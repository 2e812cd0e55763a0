/** Whether this process can serve: the database answers, its schema is current, the door is not flooded. */
import { limits } from "@countersign/contract";
import type { Ledger } from "../ledger/index.js";
import type { PublishingStatus } from "../publishing/index.js";
import { ask, migrationStatus, type Storage } from "../storage/index.js";

export interface Check {
  readonly name: "database" | "migrations" | "door" | "publishing" | "anchors" | "stopping";
  readonly ok: boolean;
  /** Requests are served all the same. */
  readonly degraded?: true;
  /** The problem, without addresses and names. */
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
  publishing,
  stopping,
}: {
  readonly storage: Storage;
  readonly ledger: Ledger;
  readonly publishing: PublishingStatus;
  readonly stopping: boolean;
}): Promise<Readiness> {
  const database = await within(answerMs, ask(storage.app, "select 1"));
  const checks: Check[] = [
    database ? { name: "database", ok: true } : { name: "database", ok: false, note: "it does not answer" },
    database
      ? await checkMigrations(storage)
      : { name: "migrations", ok: false, note: "unknown while the database is away" },
    checkDoor(ledger),
    ...checkPublishing(publishing),
    ...(stopping ? [{ name: "stopping", ok: false, note: "the server is stopping" } as const] : []),
  ];
  return { ready: checks.every((check) => check.ok || check.degraded === true), checks };
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

/** A ledger that is not published is an alarm, but no reason to refuse requests: its entries are published later. */
function checkPublishing({ state, tenants, anchors, anchorsDegraded }: PublishingStatus): Check[] {
  const stopped = tenants.filter((tenant) => tenant.state === "stopped").length;
  const note =
    state === "stopped"
      ? "nothing is signed; `countersign keys list` and the log say why"
      : `${stopped} ${stopped === 1 ? "ledger is" : "ledgers are"} not signed; the log says why`;
  const checks: Check[] = [
    state === "stopped" || stopped > 0
      ? { name: "publishing", ok: false, degraded: true, note }
      : { name: "publishing", ok: true },
  ];
  if (anchors.length === 0) return checks;
  const waiting = "too few anchors have confirmed; `countersign anchors list` shows them";
  return [
    ...checks,
    anchorsDegraded ? { name: "anchors", ok: false, degraded: true, note: waiting } : { name: "anchors", ok: true },
  ];
}

/**
 * Whether the check succeeded in time. A probe gets the problem, not its cause: the log of the first failed request has
 * the cause.
 */
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
