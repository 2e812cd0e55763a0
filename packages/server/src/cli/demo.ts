/**
 * `countersign demo`: recorded histories replayed through a real server on a temporary data directory. Everything goes
 * through the SDK, as any user's would; the results at the end are read back from the disk, the API and an exported
 * bundle.
 *
 * INVARIANT: it ends with success only if the ledger verifies, twice, and every target that was rolled back has its
 * earlier state.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Cli } from "./cli.js";
import { startDemoServer, type DemoServer } from "./demo/server.js";
import { chainsOf, readHistories, type Chain } from "./demo/histories.js";
import { replayChain, type Incident, type Replayed } from "./demo/replay.js";
import { Reporter, type DemoSummary } from "./demo/report.js";
import { playScenes } from "./demo/scenes.js";
import { gather, workspaceName } from "./demo/setting.js";
import { Stage } from "./demo/stage.js";
import { chosen, rollBackChain } from "./demo/undo.js";
import { verifyTwice, type Verified } from "./demo/verify.js";
import { CliError, exit, type ExitCode } from "./exit.js";

export interface DemoOptions {
  readonly histories?: string;
  readonly limit?: string;
  readonly keep?: boolean;
}

/** Those of a checkout. */
const shipped = fileURLToPath(new URL("../../../../examples/histories", import.meta.url));
/** Chains at once: enough that commits share their flush, few enough for a small machine. */
const workers = 6;

export async function demo(cli: Cli, options: DemoOptions): Promise<ExitCode> {
  const chains = readChains(cli, options);
  const folder = mkdtempSync(join(tmpdir(), "countersign-demo-"));
  const reporter = new Reporter(cli, chains);
  const keep = options.keep === true;
  const preparing = prepare(folder);
  // Whatever ends the process early, the database is stopped and the folder goes.
  const stop = (): void => void preparing.then((place) => place.end(keep)).finally(() => process.exit(130));
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    const place = await preparing;
    try {
      const summary = await perform(place, chains, reporter);
      await reporter.summary(summary);
      if (keep) reporter.keepHint(folder);
      return summary.problems.length === 0 ? exit.ok : exit.refused;
    } finally {
      await place.end(keep);
    }
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

/** Edits replayed without `--limit`: well under a minute on two cores, and everything that can go wrong occurs. */
const limitDefault = 150;

function readChains(cli: Cli, options: DemoOptions): Chain[] {
  const limit = options.limit === undefined ? limitDefault : Number(options.limit);
  if (!Number.isSafeInteger(limit) || limit < 1)
    throw new CliError("usage", `\`--limit ${options.limit ?? ""}\` is no whole number from 1`);
  return chainsOf(readHistories(options.histories === undefined ? shipped : cli.path(options.histories)), limit);
}

interface Place {
  readonly folder: string;
  readonly root: string;
  readonly server: DemoServer;
  end(keep: boolean): Promise<void>;
}

async function prepare(folder: string): Promise<Place> {
  // The embedded PostgreSQL runs as another user when we are root: it must get through.
  if (process.getuid?.() === 0) chmodSync(folder, 0o711);
  const root = join(folder, "workspace");
  mkdirSync(root);
  let server: DemoServer | undefined;
  let ended: Promise<void> | undefined;
  const end = (keep: boolean): Promise<void> => {
    ended ??= (async () => {
      await server?.close();
      if (!keep) rmSync(folder, { recursive: true, force: true });
    })();
    return ended;
  };
  try {
    server = await startDemoServer(join(folder, "data"));
  } catch (error) {
    await end(false);
    throw error;
  }
  return { folder, root, server, end };
}

async function perform(place: Place, chains: readonly Chain[], reporter: Reporter): Promise<DemoSummary> {
  const began = performance.now();
  const cast = await gather(place.server, place.root, chains);
  // For looking around afterwards, with --keep.
  writeFileSync(join(place.folder, "key"), cast.first.secret, { mode: 0o600 });
  const stage = new Stage(cast, { root: place.root, name: workspaceName });
  reporter.began(place.server.url, cast);

  const onIncident = (incident: Incident): void => reporter.incident(incident);
  const replayed: Replayed[] = [];
  await inParallel(chains, workers, async (chain) => {
    replayed.push(await replayChain({ stage, onEdit: () => reporter.edit(), onIncident }, chain));
  });
  replayed.sort((a, b) => chains.indexOf(a.chain) - chains.indexOf(b.chain));
  reporter.replayed(stage, replayed);

  await playScenes({ stage, replayed, onIncident });
  const undo = chosen(replayed);
  reporter.rollingBack(undo.flat().length);
  await inParallel(undo, workers, (sets) => rollBackChain({ stage, replayed, onSet: () => reporter.edit() }, sets));

  const verify = await verifyTwice(cast.first);
  return {
    stage,
    replayed,
    verify,
    seconds: (performance.now() - began) / 1000,
    problems: await problemsOf(stage, replayed, verify),
  };
}

/** Everything that is not as it must be; empty when all is well. */
async function problemsOf(
  stage: Stage,
  replayed: readonly Replayed[],
  { report, bundle }: Verified,
): Promise<string[]> {
  const { tally } = stage;
  const problems = tally.unlike.map((what) => `not what it was: ${what}`);
  if (report.integrity !== "ok")
    problems.push(`the ledger does not verify: ${report.findings[0]?.message ?? report.integrity}`);
  if (bundle.integrity !== "ok" || bundle.head !== report.head || bundle.entries !== report.entries)
    problems.push(
      `the exported bundle does not verify: ${bundle.integrity}, ${bundle.entries} of ${report.entries} entries`,
    );
  const counted = await countByStatus(stage);
  const ours = { ROLLED_BACK: tally.rolledBack.size, APPLIED: tally.applied.size - tally.rolledBack.size };
  for (const [status, count] of Object.entries(ours))
    if (counted.get(status) !== count)
      problems.push(`the server has ${counted.get(status) ?? 0} change-sets ${status}, the demo saw ${count}`);
  const long = replayed.some(({ chain }) => chain.edits.length >= 12 && chain.shape !== "resource");
  const happened: readonly (readonly [string, number])[] = [
    ["conflict", tally.conflicts.size],
    ["drift", tally.driftRefused],
    ["failed apply", tally.compensated],
    ["rollback", tally.rolledBack.size],
  ];
  if (long) for (const [what, count] of happened) if (count === 0) problems.push(`no ${what} occurred`);
  return problems;
}

async function countByStatus(stage: Stage): Promise<Map<string, number>> {
  const counted = new Map<string, number>();
  for await (const row of stage.cast.first.client.all("listChangeSets", { limit: 200 })) {
    if (stage.tally.created.has(row.id)) counted.set(row.status, (counted.get(row.status) ?? 0) + 1);
  }
  return counted;
}

async function inParallel<T>(all: readonly T[], count: number, work: (one: T) => Promise<void>): Promise<void> {
  // The longest first, so that none is left alone at the end.
  const queue = [...all];
  const worker = async (): Promise<void> => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) await work(one);
  };
  await Promise.all(Array.from({ length: count }, worker));
}
