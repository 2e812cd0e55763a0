/**
 * The composition root: every module of the server, opened in order and closed in reverse.
 *
 * Promises: when `startServer` resolves, requests are answered, and work left unfinished by an earlier process is being
 * finished · a stop lets requests finish, then runs under way reach a safe point, then the ledger is flushed, then
 * PostgreSQL ends.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { openApiDocument, RefusalError, type TenantId, type TenantMode } from "@countersign/contract";
import { Registry } from "prom-client";
import { type ChangeSets, checkReferences } from "./change-sets/index.js";
import { openDispatch, openTree } from "./dispatch/index.js";
import { startingBindings } from "./governance/index.js";
import { type HttpServer, type HttpTimeouts, openHttp } from "./http/index.js";
import { type Ledger, openLedger } from "./ledger/index.js";
import { anchorSpecs, type Publishing } from "./publishing/index.js";
import { openVerification, type Verification } from "./verification/index.js";
import { type ModulesConfig, openModules } from "./modules.js";
import { checkReadiness, type Metrics, openMetrics } from "./ops/index.js";
import {
  defaultHost,
  defaultPort,
  type Log,
  newId,
  openDataDirectory,
  openLog,
  openSealing,
  systemClock,
} from "./platform/index.js";
import { migrateUp, openStorage, type Storage } from "./storage/index.js";
import { deploymentTenant, type IssuedCode, type Tenancy } from "./tenancy/index.js";

export const serverVersion = "0.1.0";

export interface ServerConfig extends ModulesConfig {
  readonly dataDirectory: string;
  /** The operator's own PostgreSQL; without it the embedded one. */
  readonly databaseUrl?: string;
  readonly applicationDatabaseUrl?: string;
  readonly host?: string;
  /** 0 lets the system choose. */
  readonly port?: number;
  readonly log?: Log;
  readonly sealingKeys?: readonly Uint8Array[];
  /** Time limits for slow senders and readers. */
  readonly timeouts?: HttpTimeouts;
  /** Anchors, one a line; without them those of the file `anchors` in the data directory. */
  readonly anchors?: readonly string[];
  /** Whoever shows it reads /metrics; without it keys of the deployment's tenant alone. */
  readonly metricsToken?: string;
  /** The registry of metrics; a new one for each server when left out. */
  readonly metricsRegistry?: Registry;
  /** Of the first tenant, at the first start. */
  readonly mode?: TenantMode;
  /** Name of the first human, at the first start; by default the user of the operating system. */
  readonly firstHuman?: string;
}

export interface RunningServer {
  /** `http://127.0.0.1:7117` */
  readonly url: string;
  readonly dataDirectory: string;
  /** The first tenant. */
  readonly tenant: TenantId;
  /** Present when nobody can sign in yet: the code and the file that holds it. */
  readonly firstCode?: IssuedCode & { readonly file: string };
  readonly storage: Storage;
  readonly ledger: Ledger;
  readonly tenancy: Tenancy;
  readonly changeSets: ChangeSets;
  readonly publishing: Publishing;
  readonly verification: Verification;
  close(): Promise<void>;
}

export const firstTenantName = "default";
const firstCodeFile = "first-enrolment-code";
const deploymentCodeFile = "deployment-enrolment-code";
const addressFile = "server.json";

/** The modules opened so far, to be closed in reverse order. */
class Opened {
  readonly #closers: (() => Promise<void> | void)[] = [];

  add(close: () => Promise<void> | void): void {
    this.#closers.push(close);
  }

  /** Closes every module, even if closing one of them fails; the first failure is thrown at the end. */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}

export async function startServer(config: ServerConfig): Promise<RunningServer> {
  const opened = new Opened();
  try {
    return await start(config, opened);
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** Longer than other functions: it is the order in which a server begins, one step after the other, and nothing is decided in it. */
async function start(config: ServerConfig, opened: Opened): Promise<RunningServer> {
  const log = config.log ?? openLog({ level: "info" });
  const { anchors: lines } = config;
  // Before anything is made or migrated: what is wrong in it is put right by editing, and nothing else was begun.
  const specs = await anchorSpecs({
    dataDirectory: config.dataDirectory,
    ...(lines === undefined ? {} : { lines }),
  });
  const dataDirectory = openDataDirectory(config.dataDirectory);
  const sealing = openSealing({
    dataDirectory,
    ...(config.sealingKeys === undefined ? {} : { keys: config.sealingKeys }),
  });
  const storage = await openStorage({
    dataDirectory,
    databaseUrl: config.databaseUrl,
    applicationDatabaseUrl: config.applicationDatabaseUrl,
    doing: "countersign server (starting)",
  });
  opened.add(() => storage.close());
  await migrate(storage, log);

  const clock = systemClock;
  const now = (): number => clock.nowMs();
  const report = (event: string, details: Readonly<Record<string, unknown>>): void => log.warn(details, event);
  const ledger = await openLedger({ storage, sealing, clock, report });
  opened.add(() => ledger.close());
  const { openBody } = ledger;
  const verification = openVerification({ storage, openBody, clock, deploymentTenant, references: checkReferences });
  // What tells of the modules is opened behind them.
  const metricsOf = (): Metrics => metrics;
  const modules = openModules(
    { config, dataDirectory, storage, sealing, ledger, verification, clock, log, report, anchors: specs },
    {
      onReport: (of, kind, found) => metricsOf().checked(of, kind, found),
      onRan: (ran) => metricsOf().ran(ran),
    },
  );
  opened.add(() => modules.close());
  const { tenancy, changeSets, publishing, handlers, selfChecks, jobs } = modules;

  const tenant = await tenancy.setUp(firstStart(config));
  const firstCode = await letFirstHumanIn(tenancy, { tenant, file: join(dataDirectory, firstCodeFile), now });
  await letFirstHumanIn(tenancy, { tenant: deploymentTenant, file: join(dataDirectory, deploymentCodeFile), now });

  const metrics = openMetrics({
    registry: config.metricsRegistry ?? new Registry(),
    ...{ ledger, storage, tenancy, jobs, selfChecks, now },
    tenants: () => tenancy.tenants(),
    publishing: () => publishing.status(),
    token: config.metricsToken,
  });
  const dispatch = openDispatch({ handlers, ledger, tenancy, changeSets, storage, now, log });
  const stopping = { yes: false };
  const http = openHttp({
    metrics,
    dispatch,
    tree: openTree({ ledger, publishing, tenancy, log }),
    openApi: JSON.stringify(openApiDocument({ version: serverVersion })),
    readiness: () => checkReadiness({ storage, ledger, publishing: publishing.status(), jobs, stopping: stopping.yes }),
    newId,
    log,
    ...(config.timeouts === undefined ? {} : { timeouts: config.timeouts }),
  });
  opened.add(() => http.close());
  opened.add(() => modules.tails.close()); // first: they would hold up the stop
  const url = await listen(http, config);
  storage.nameYourself(`countersign server at ${url}`);
  const file = join(dataDirectory, addressFile);
  writeFileSync(file, `${JSON.stringify({ url, pid: process.pid })}\n`, { mode: 0o600 });
  opened.add(() => removeOwnAddress(file));
  publishing.start();
  // Requests are served meanwhile: a run is only ever in one pair of hands.
  jobs.start();
  opened.add(() => jobs.stop());
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    stopping.yes = true;
    return (closing ??= opened.close());
  };
  return {
    url,
    dataDirectory,
    tenant,
    ...(firstCode === undefined ? {} : { firstCode }),
    storage,
    ledger,
    tenancy,
    changeSets,
    publishing,
    verification,
    close,
  };
}

async function migrate(storage: Storage, log: Log): Promise<void> {
  const client = await storage.owner.connect();
  try {
    const applied = await migrateUp(client, { appVersion: serverVersion, nowMs: () => systemClock.nowMs() });
    if (applied.length > 0) log.info({ applied }, "the schema was brought up to date");
  } finally {
    client.release();
  }
}

function firstStart(config: ServerConfig) {
  const mode = config.mode ?? "solo";
  return { tenant: firstTenantName, mode, human: config.firstHuman ?? userName(), bindings: startingBindings(mode) };
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return "admin"; // a user without an entry in the system's register, as in some containers
  }
}

/**
 * While nobody of a tenant can sign in, a one-time code lies in the data directory: a person who may read that
 * directory is the operator. A code that is still valid stays, so a restart does not spoil a code that was just copied.
 */
async function letFirstHumanIn(
  tenancy: Tenancy,
  { tenant, file, now }: { tenant: TenantId; file: string; now: () => number },
): Promise<RunningServer["firstCode"]> {
  if (!(await tenancy.nobodyCanSignIn(tenant))) {
    rmSync(file, { force: true });
    return undefined;
  }
  const known = readCode(file);
  if (known !== undefined && Date.parse(known.expiresAt) > now()) return { ...known, file };
  const code = await tenancy.issueCode(tenant);
  writeFileSync(file, `${code.text}\n${code.expiresAt}\n${code.human}\n`, { mode: 0o600 });
  return { ...code, file };
}

function readCode(file: string): IssuedCode | undefined {
  try {
    const [text, expiresAt, human] = readFileSync(file, "utf8").split("\n");
    return text === undefined || expiresAt === undefined || human === undefined
      ? undefined
      : { text, expiresAt, human };
  } catch {
    return undefined; // there is none
  }
}

async function listen(http: HttpServer, config: ServerConfig): Promise<string> {
  const { host = defaultHost, port = defaultPort } = config;
  try {
    return await http.listen({ host, port });
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new RefusalError(
      {
        kind: "refused",
        code: "configuration_invalid",
        message: `cannot listen on \`${host}:${port}\` (${why}); choose another port: \`countersign start --port 0\``,
      },
      { cause },
    );
  }
}

function removeOwnAddress(file: string): void {
  rmSync(file, { force: true });
}
