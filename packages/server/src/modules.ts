/**
 * The modules of a server, opened in order over the ledger, and what they bring, collected. A new module is opened here and stands in
 * one of the two lists; the rest of the server does not change.
 */
import { join } from "node:path";
import type { NoteSigner } from "@countersign/proof";
import { auditHandlers, tailSource } from "./audit/index.js";
import { changeSetHandlers, type ChangeSets, openChangeSets } from "./change-sets/index.js";
import { responsesEraser, sweepJob } from "./dispatch/index.js";
import { followerJob, openTails, type Tails, wakeOnCommit } from "./followers/index.js";
import {
  checkConfiguration,
  eraseSubject as eraseOfGovernance,
  governanceHandlers,
  loadConfiguration,
  startingBindings,
} from "./governance/index.js";
import { type Jobs, openJobs, type Ran } from "./jobs/index.js";
import type { Ledger } from "./ledger/index.js";
import { anchorsFrom, type AnchorSpec, openAnchors, openPublishing, type Publishing } from "./publishing/index.js";
import type { Verification } from "./verification/index.js";
import { type Module, operationsOf } from "./module.js";
import { logKeysFolder, openSelfChecks, type SelfCheckOptions, type SelfChecks } from "./ops/index.js";
import { type RetentionDesk, retentionHandlers, retentionJob } from "./retention/index.js";
import { type Clock, type Log, newId, type openSealing, selfCheckMinutesDefault } from "./platform/index.js";
import type { Storage } from "./storage/index.js";
import { createTargets, eraseSubject as eraseOfTargets, openBlobs, targetHandlers } from "./targets/index.js";
import { deploymentTenant, type Handlers, openTenancy, peopleHandlers, type Tenancy } from "./tenancy/index.js";

/** What is configured of them. */
export interface ModulesConfig {
  /** Where archives of prunings are written; by default below the data directory. */
  readonly archives?: string;
  /** Below this many confirming anchors the server is degraded; 0. */
  readonly anchorsRequired?: number;
  /** Minutes between two self-checks; 0: only when asked. */
  readonly selfCheckMinutes?: number;
  /** The key directory of the log; by default `log-keys` in the data directory. */
  readonly logKeys?: string;
  /** Signs the log instead of the key in that directory. */
  readonly logSigner?: NoteSigner;
  /** Workspaces may be registered below these folders alone. */
  readonly workspaceRoots?: readonly string[];
}

/** What every module stands on. */
export interface Foundation {
  readonly config: ModulesConfig;
  readonly dataDirectory: string;
  readonly storage: Storage;
  readonly sealing: ReturnType<typeof openSealing>;
  readonly ledger: Ledger;
  readonly verification: Verification;
  readonly clock: Clock;
  readonly log: Log;
  readonly report: (event: string, details: Readonly<Record<string, unknown>>) => void;
  readonly anchors: readonly AnchorSpec[];
}

export interface Modules {
  readonly tenancy: Tenancy;
  readonly changeSets: ChangeSets;
  readonly publishing: Publishing;
  /** What does each operation. */
  readonly handlers: Handlers;
  /** Closed before the server is, or readers that follow would hold it up. */
  readonly tails: Tails;
  readonly selfChecks: SelfChecks;
  readonly jobs: Jobs;
  /** From the last to the first. */
  close(): Promise<void>;
}

export interface Listeners {
  readonly onReport: NonNullable<SelfCheckOptions["onReport"]>;
  readonly onRan: (ran: Ran) => void;
}

const archivesFolder = "archives";

export function openModules(on: Foundation, told: Listeners): Modules {
  const { config, storage, ledger, verification, clock, log, report } = on;
  const tenancy = tenancyOf(on);
  const changeSets = changeSetsOf(on, tenancy);
  const publishing = publishingOf(on, tenancy);
  const opened = { tenancy, changeSets, publishing };
  const governed = governedModules(on, opened);
  const retention = retentionOver(on, opened, governed);
  const tenants = (): ReturnType<Tenancy["tenants"]> => tenancy.tenants();
  const selfChecks = openSelfChecks({
    onReport: told.onReport,
    ...{ ledger, verification, storage, deploymentTenant, clock, newId, log, tenants },
    wake: () => jobs.wake(selfChecks.job.name),
    everyMinutes: config.selfCheckMinutes ?? selfCheckMinutesDefault,
  });
  const tails = openTails({ ...tailSource({ ledger, changeSets }), onCommitted: ledger.onCommitted, report });
  const now = (): number => clock.nowMs();
  const audit = { selfChecks, ledger, verification, changeSets, tails, publishing, now, anchors: on.anchors };
  const modules = [
    ...governed,
    {
      name: "retention",
      operations: retentionHandlers(retention),
      jobs: [retentionJob({ ...retention, storage }, log)],
    },
    { name: "self-check", jobs: [selfChecks.job] },
    { name: "audit", operations: auditHandlers(audit) },
  ] as const satisfies readonly Module[];
  const handlers = operationsOf(modules);
  const list: Module[] = [...modules];
  const followers = list.flatMap((module) => module.followers ?? []);
  const jobs = openJobs({
    ...{ storage, tenants, clock, log, onRan: told.onRan },
    jobs: [
      ...list.flatMap((module) => module.jobs ?? []),
      ...followers.map((follower) => followerJob(follower, { ledger, storage, now })),
    ],
  });
  const unlisten = wakeOnCommit(ledger.onCommitted, followers, (job, tenant) => jobs.wake(job, tenant));
  list.push({ name: "followers", close: unlisten });
  return { ...opened, handlers, tails, selfChecks, jobs, close: () => closeAll(list) };
}

interface Governed {
  readonly tenancy: Tenancy;
  readonly changeSets: ChangeSets;
  readonly publishing: Publishing;
}

/** What holds governed state, in the order in which erasures say what they took away. */
function governedModules(
  { config, dataDirectory, storage, ledger, clock }: Foundation,
  { tenancy, changeSets, publishing }: Governed,
) {
  const now = (): number => clock.nowMs();
  const { workspaceRoots } = config;
  return [
    {
      name: "change-sets",
      operations: changeSetHandlers(changeSets),
      jobs: changeSets.jobs,
      erase: changeSets.eraseSubject,
      finishErasures: changeSets.finishErasures,
    },
    {
      name: "targets",
      operations: targetHandlers({ ledger, dataDirectory, workspaceRoots, changeSetNumbers: changeSets.numbersOf }),
      erase: (snapshot, subject, by) => eraseOfTargets(ledger, snapshot, subject, by),
    },
    {
      name: "tenancy",
      operations: peopleHandlers(tenancy),
      erase: tenancy.eraseSubject,
      close: () => tenancy.close(),
    },
    {
      name: "governance",
      operations: governanceHandlers({ ledger, running: changeSets.running, now }),
      erase: eraseOfGovernance,
    },
    { name: "dispatch", jobs: [sweepJob(storage, now)], finishErasures: responsesEraser(storage) },
    // Runs under way reach a safe point while everything they use is open.
    { name: "runs", close: () => changeSets.idle() },
    { name: "publishing", close: () => publishing.stop() },
  ] as const satisfies readonly Module[];
}

function retentionOver(
  { config, dataDirectory, storage, ledger, verification, clock }: Foundation,
  { changeSets, publishing }: Governed,
  modules: readonly Module[],
): RetentionDesk {
  return {
    ...{ ledger, verification, storage },
    erasers: modules.flatMap(({ name, erase }) => (erase === undefined ? [] : [{ module: name, erase }])),
    finishers: modules.flatMap(({ finishErasures }) => finishErasures ?? []),
    changeSetId: changeSets.idOf,
    changeSetNumbers: changeSets.numbersOf,
    unfinished: changeSets.unfinished,
    archiveFolder: config.archives ?? join(dataDirectory, archivesFolder),
    deployment: () => publishing.deployment(),
    checkpointSize: async (of) => (await publishing.latest(of))?.checkpoint.size,
    now: () => clock.nowMs(),
  };
}

/** Closes everything, also when one of them fails; the first failure is thrown at the end. */
async function closeAll(modules: readonly Module[]): Promise<void> {
  const failures: unknown[] = [];
  for (const { close } of [...modules].reverse()) {
    try {
      await close?.();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

function tenancyOf({ ledger, storage, clock, log }: Foundation): Tenancy {
  const roles: Parameters<typeof openTenancy>[0]["roles"] = async (snapshot) =>
    (await loadConfiguration(snapshot)).roles;
  return openTenancy({ ledger, storage, clock, newId, roles, startingBindings, log });
}

function changeSetsOf(
  { ledger, storage, sealing, clock, dataDirectory, log }: Foundation,
  tenancy: Tenancy,
): ChangeSets {
  const targets = createTargets({
    dataDirectory,
    checkConfiguration: (target, document, pointer) => checkConfiguration(target.id, document, pointer),
  });
  return openChangeSets({
    ...{ ledger, storage, tenancy, targets, log },
    blobs: (tenant) => openBlobs(storage, sealing, tenant),
    now: () => clock.nowMs(),
  });
}

function publishingOf(on: Foundation, tenancy: Tenancy): Publishing {
  const { config, storage, ledger, clock, report, dataDirectory, anchors } = on;
  const { anchorsRequired: required } = config;
  return openPublishing({
    ...{ storage, ledger, clock, deploymentTenant, report },
    anchors: (source) =>
      openAnchors({
        ...{ storage, clock, source, report, anchors: anchorsFrom(anchors, clock) },
        ...(required === undefined ? {} : { required }),
      }),
    tenants: () => tenancy.tenants(),
    folder: config.logKeys ?? join(dataDirectory, logKeysFolder),
    signer: config.logSigner,
  });
}
