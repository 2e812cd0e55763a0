/** Worlds for tests of targets: a database with one tenant, its ledger, and for files a workspace on the disk. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isRefusal, refused, type Problem, type TenantId } from "@countersign/contract";
import { canonicalize } from "@countersign/proof";
import { newId, systemClock } from "../../src/platform/index.js";
import type { Ledger } from "../../src/ledger/index.js";
import type { Storage } from "../../src/storage/index.js";
import { openVerification } from "../../src/verification/index.js";
import {
  type ActContext,
  type ActOutcome,
  type AtomicTargetKind,
  type CheckConfiguration,
  type CompensatingTargetKind,
  contextIn,
  createTargets,
  type Effect,
  openBlobs,
  registerWorkspace,
  resourceByName,
  type TargetContext,
  type Targets,
} from "../../src/targets/index.js";
import { fileKind } from "../../src/targets/file/kind.js";
import type { ActOrder } from "./actProgram.js";
import type { TargetWorld } from "./exercise-target.js";
import { actor, newTenant, openTestLedger, testSealing } from "./ledger.js";
import { withClient, type TestDatabase } from "./postgres.js";
import { actContext } from "../../src/change-sets/desk.js";
import { atomicKind } from "./kinds.js";

export interface ResourceWorld extends TargetWorld {
  readonly tenant: TenantId;
  readonly ledger: Ledger;
  readonly kind: AtomicTargetKind;
  readonly targets: Targets;
}

export interface FileWorld extends TargetWorld {
  readonly tenant: TenantId;
  readonly ledger: Ledger;
  /** The workspace `shop`, and a folder beside it that nothing may reach. */
  readonly root: string;
  readonly outside: string;
  readonly workspaceId: string;
  readonly dataDirectory: string;
  /** What the kind works with while it acts. */
  readonly acting: ActContext;
  /** What a process of its own needs to act in this world. */
  readonly order: Pick<ActOrder, "appUrl" | "tenant" | "denied" | "handles">;
}

/** A run that is not lost. */
const never = new AbortController().signal;

export const anyConfiguration: CheckConfiguration = () => [];

function contextMaker(
  storage: Storage,
  ledger: Ledger,
  tenant: TenantId,
): <T>(use: (context: TargetContext) => Promise<T>) => Promise<T> {
  const blobs = openBlobs(storage, testSealing, tenant);
  return (use) => ledger.snapshot(tenant, (snapshot) => use(contextIn(snapshot, blobs)));
}

async function findings(storage: Storage, ledger: Ledger, tenant: TenantId): Promise<readonly unknown[]> {
  const verification = openVerification({ storage, openBody: ledger.openBody, clock: systemClock });
  return (await verification.checkTenant(tenant)).findings;
}

const problemsOf = (problems: readonly Problem[]) => {
  const [first] = problems;
  return refused(first?.code ?? "internal", first?.message ?? "", { problems });
};

/** One ledger a file, one tenant a world. */
export async function resourceWorld(
  database: TestDatabase,
  ledger: Ledger,
  checkConfiguration = anyConfiguration,
): Promise<ResourceWorld> {
  const tenant = newTenant();
  const targets = createTargets({ dataDirectory: "/nonexistent/countersign", checkConfiguration });
  const kind = atomicKind(targets, "resource");
  const within = contextMaker(database.storage, ledger, tenant);
  const blobs = openBlobs(database.storage, testSealing, tenant);
  const apply = async (effects: readonly Effect[]): Promise<ActOutcome> => {
    const outcome = await ledger.transact(
      tenant,
      (snapshot) => kind.change(effects, { actor, changeSetId: newId() }, contextIn(snapshot, blobs)),
      (loaded, decide) =>
        typeof loaded === "function"
          ? { kind: "change", change: loaded(decide), result: undefined }
          : problemsOf(loaded),
    );
    return isRefusal(outcome)
      ? { kind: "refused", problem: { code: outcome.code, message: outcome.message } }
      : { kind: "done" };
  };
  const observe = (): Promise<string> =>
    withClient(database.superuser, async (client) => {
      const { rows } = await client.query<{ environment: string; type: string; id: string; document: unknown }>(
        `select environment, type, resource_id as id, document from countersign.resources where tenant_id = $1 and not deleted order by 1, 2, 3`,
        [tenant],
      );
      return rows.map((row) => canonicalize(row)).join("\n");
    });
  return {
    tenant,
    ledger,
    targets,
    kind,
    within,
    apply,
    observe,
    check: () => findings(database.storage, ledger, tenant),
    close: () => Promise.resolve(),
  };
}

export async function fileWorld(
  database: TestDatabase,
  ledger: Ledger,
  options: { readonly handles?: boolean } = {},
): Promise<FileWorld> {
  const tenant = newTenant();
  const base = fs.mkdtempSync(join(fs.realpathSync(tmpdir()), "cs-test-files-"));
  const [root, outside, dataDirectory] = [join(base, "shop"), join(base, "outside"), join(base, "data")];
  for (const folder of [root, outside, dataDirectory]) fs.mkdirSync(folder);
  fs.writeFileSync(join(outside, "secret"), "secret");
  const kind: CompensatingTargetKind = fileKind({ denied: [dataDirectory], ...options });
  const within = contextMaker(database.storage, ledger, tenant);
  const registered = await ledger.transact(
    tenant,
    (snapshot) =>
      registerWorkspace({ name: "shop", root, environment: "development" }, { actor, snapshot, dataDirectory }),
    (loaded, decide) => {
      if (typeof loaded !== "function") return problemsOf(loaded);
      const { workspace, ...change } = loaded(decide);
      return { kind: "change", change, result: workspace.id };
    },
  );
  if (isRefusal(registered)) throw new Error(registered.message);
  const acting = actContext({ blobs: () => openBlobs(database.storage, testSealing, tenant), ledger }, tenant, never);
  return {
    tenant,
    ledger,
    kind,
    root,
    outside,
    workspaceId: registered.result,
    dataDirectory,
    order: { appUrl: database.appUrl, tenant, denied: [dataDirectory], handles: options.handles },
    within,
    acting,
    apply: (effects, token) => kind.act({ effects, token }, acting),
    observe: () => Promise.resolve(listing(base)),
    check: () => findings(database.storage, ledger, tenant),
    close: () => Promise.resolve(fs.rmSync(base, { recursive: true, force: true })),
  };
}

/** Every name below a folder with its kind, mode and bytes. */
export function listing(base: string): string {
  const lines: string[] = [];
  const visit = (path: string): void => {
    for (const name of fs.readdirSync(join(base, path)).sort()) {
      const at = join(path, name);
      const stat = fs.lstatSync(join(base, at));
      const content = stat.isFile()
        ? createHash("sha256")
            .update(fs.readFileSync(join(base, at)))
            .digest("hex")
        : "";
      lines.push(`${at} ${(stat.mode & 0o177777).toString(8)} ${stat.isFile() ? stat.nlink : ""} ${content}`);
      if (stat.isDirectory()) visit(at);
    }
  };
  visit("");
  return lines.join("\n");
}

export async function resourceNow(world: ResourceWorld, environment: string, type: string, id: string) {
  return world.within(({ snapshot }) => resourceByName(snapshot, environment, type, id));
}

export async function testLedger(database: TestDatabase): Promise<Ledger> {
  return openTestLedger(database.storage);
}
