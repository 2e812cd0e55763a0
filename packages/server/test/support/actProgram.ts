/**
 * A process that acts on files and dies at a point of it: SIGKILL instead of the n-th call that changes the filesystem (of
 * a write, after half of it). The calls are wrapped here, before the product is loaded; the product knows nothing of it.
 */
import * as fs from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { execFileSync } from "node:child_process";
import { constants, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import type { TenantId } from "@countersign/contract";
import type { CompensatingTargetKind, Effect } from "../../src/targets/index.js";

export interface ActOrder {
  readonly appUrl: string;
  readonly tenant: TenantId;
  readonly denied: readonly string[];
  readonly handles: boolean | undefined;
  readonly effects: readonly Effect[];
  readonly token: string;
  /** Dies before this call, counted from 1. */
  readonly point: number;
  /** Files it may have open beyond those of its start. */
  readonly openFilesMore?: number;
}

const order = JSON.parse(process.argv[2] ?? "{}") as ActOrder;

type Call = (...args: unknown[]) => Promise<unknown>;
let calls = 0;

function dies(): boolean {
  calls += 1;
  return calls === order.point;
}

function die(): never {
  process.kill(process.pid, "SIGKILL");
  throw new Error("still alive");
}

function wrap(
  object: Record<string, unknown>,
  name: string,
  counts: (args: readonly unknown[]) => boolean = () => true,
): void {
  const original = object[name] as Call;
  object[name] = function (this: unknown, ...args: unknown[]): Promise<unknown> {
    if (counts(args) && dies()) die();
    return original.apply(this, args);
  };
}

const promises = createRequire(import.meta.url)("node:fs/promises") as Record<string, unknown>;
const probe = await fs.open(process.execPath, "r");
const handlePrototype = Object.getPrototypeOf(probe) as Record<string, unknown>;
await probe.close();

for (const name of ["link", "rename", "unlink", "mkdir", "rmdir", "lchown"]) wrap(promises, name);
wrap(promises, "open", ([, flags]) => typeof flags === "number" && (flags & constants.O_CREAT) !== 0);
for (const name of ["chown", "chmod", "sync"]) wrap(handlePrototype, name);
const writeFile = handlePrototype["writeFile"] as Call;
handlePrototype["writeFile"] = async function (this: unknown, bytes: Uint8Array): Promise<unknown> {
  if (!dies()) return writeFile.call(this, bytes);
  await writeFile.call(this, bytes.subarray(0, Math.floor(bytes.length / 2)));
  return die();
};
syncBuiltinESMExports();

const { fileKind } = await import("../../src/targets/file/kind.js");
const { openBlobs } = await import("../../src/targets/blobs.js");
const { storageOver } = await import("../../src/storage/index.js");
const { readInSnapshot } = await import("../../src/ledger/snapshot.js");
const { testSealing } = await import("./ledger.js");

const login = { connectionString: order.appUrl };
const storage = storageOver({ kind: "external", how: "connected", at: "test", owner: login, application: login });
const kind: CompensatingTargetKind = fileKind({
  denied: order.denied,
  ...(order.handles === undefined ? {} : { handles: order.handles }),
});
const blobs = openBlobs(storage, testSealing, order.tenant);
// Connections are there before: what fails then is the tree.
await Promise.all([1, 2, 3, 4].map(() => storage.withSnapshot(order.tenant, (client) => client.query("select 1"))));
if (order.openFilesMore !== undefined) {
  const limit = readdirSync("/proc/self/fd").length + order.openFilesMore;
  execFileSync("prlimit", ["--pid", String(process.pid), `--nofile=${limit}:${limit}`]);
}
const outcome = await kind.act(order, {
  tenant: order.tenant,
  blobs,
  signal: new AbortController().signal,
  look: (use) => readInSnapshot(storage, order.tenant, use),
});
await storage.close();
process.send?.({ kind: "finished", outcome, calls });
process.disconnect();
