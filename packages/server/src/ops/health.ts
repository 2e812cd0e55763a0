/** Whether this process can serve: the database answers, its schema is current, the door is not flooded. */
import { limits } from "@countersign/contract";
import type { Ledger } from "../ledger/index.js";
import type { PublishingStatus } from "../publishing/index.js";
import type { Jobs } from "../jobs/index.js";
import { ask, migrationStatus, type Storage } from "../storage/index.js";

export interface Check {
  readonly name: "database" | "migrations" | "door" | "publishing" | "anchors" | "jobs" | "stopping";
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
  jobs,
  stopping,
}: {
  readonly storage: Storage;
  readonly ledger: Ledger;
  readonly publishing: PublishingStatus;
  readonly jobs: Pick<Jobs, "works" | "failing">;
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
    database ? await checkJobs(jobs) : { name: "jobs", ok: false, note: "unknown while the database is away" },
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

/** So often in a row it is no accident any more. */
const failuresToTell = 3;

/** What recurs waits, and is done when it can be: requests are served all the same. */
async function checkJobs(jobs: Pick<Jobs, "works" | "failing">): Promise<Check> {
  const found = { failing: 0 };
  const count = async (): Promise<void> => {
    found.failing = (await jobs.failing()).filter(({ failures }) => failures >= failuresToTell).length;
  };
  const known = await within(answerMs, count());
  if (!known) return { name: "jobs", ok: false, degraded: true, note: "their state cannot be read" };
  if (!jobs.works)
    return { name: "jobs", ok: false, degraded: true, note: "none is taken out of the queue; the log says why" };
  if (found.failing === 0) return { name: "jobs", ok: true };
  const note = `${found.failing} ${found.failing === 1 ? "fails" : "fail"} again and again; \`/metrics\` says which, the log why`;
  return { name: "jobs", ok: false, degraded: true, note };
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
