/**
 * The stage of the attack corpus: a deployment with two tenants on a real PostgreSQL, people who voted with their own keys, changes applied
 * and rolled back, checkpoints signed under two keys, a file anchor, a git anchor and a witness; and an auditor's policy file that lies
 * elsewhere. Each attack happens to a copy of the database and of the server's folder.
 */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import type { TenantId } from "@countersign/contract";
import {
  exitCodeOf,
  formatVerifierKey,
  parseVerifierKey,
  publicKeyOf,
  signMessage,
  verifierKey,
  voteSigningBytes,
  type Finding,
  type VerifierKey,
  type VerifyNote,
} from "@countersign/proof";
import type pg from "pg";
import { openLedger, type Ledger } from "../../src/ledger/index.js";
import {
  anchorsFrom,
  openAnchors,
  openPublishing,
  revokeKey,
  rotateKeys,
  type Anchors,
  type RestoreParts,
  type Publishing,
} from "../../src/publishing/index.js";
import { verifyDatabase, type TenantReport } from "../../src/ops/index.js";
import type { AnchorSpec } from "../../src/publishing/anchors/index.js";
import { openSealing, systemClock } from "../../src/platform/index.js";
import { storageOver, type Storage } from "../../src/storage/index.js";
import { deploymentTenant } from "../../src/tenancy/index.js";
import { openVerification, type Verification } from "../../src/verification/index.js";
import { addLog, followStatements, initWitness, openWitness, runWitness } from "../../src/witness/index.js";
import { commit, committed } from "../support/ledger.js";
import { createDatabase, temporaryDirectory, withClient, type TestDatabase } from "../support/postgres.js";
import { startServer } from "../../src/server.js";
import { addHuman, enrol, newKey, personAt, quietLog, startTestServer, type Person } from "../support/server.js";

export interface Stage {
  readonly tenant: TenantId;
  /** Another one of the deployment. */
  readonly other: TenantId;
  readonly deployment: string;
  /** Ids of change-sets: applied, rolled back, rejected. */
  readonly applied: readonly string[];
  /** The first key of the log, as the operator had it, and the one after the rotation. */
  readonly logKeys: readonly { readonly publicKey: string; readonly privateKey: string }[];
  readonly witnessKey: { readonly name: string; readonly publicKey: string; readonly privateKey: string };
  /** Entries of `tenant` that were anchored, round by round; and all there are, which is more. */
  readonly anchored: readonly number[];
  readonly size: number;
  /** The policy of an auditor who has the anchors; another that trusts the witness alone. */
  readonly policy: string;
  readonly witnessPolicy: string;
  /** Texts of log lines and anchors, for policies of one's own. */
  readonly logLine: string;
  readonly auditor: string;
  /** As the database was after the first round of anchoring: an older backup. */
  copyOfBackup(): Promise<Scene>;
  copy(): Promise<Scene>;
  close(): Promise<void>;
}

export interface Verdict {
  readonly exit: number;
  readonly integrity: TenantReport["integrity"];
  readonly completeness: TenantReport["completeness"];
  /** Of every tenant's ledger. */
  readonly findings: readonly Finding[];
  readonly notes: readonly VerifyNote[];
  readonly reports: readonly TenantReport[];
}

export interface VerifyRequest {
  /** Default: the auditor's. */
  readonly policy?: string | null;
  readonly requireAnchored?: boolean;
  readonly tenant?: TenantId;
}

/** A copy that an attacker has for himself. */
export interface Scene {
  readonly dataDirectory: string;
  readonly env: Readonly<Record<string, string>>;
  readonly database: Logins;
  /** As the owner of the database, triggers and foreign keys asleep. */
  sql(work: (client: pg.Client) => Promise<void>): Promise<void>;
  run(...statements: readonly string[]): Promise<void>;
  verify(request?: VerifyRequest): Promise<Verdict>;
  /** A server on the copy, and the first person of the tenant, signed in. */
  serve<T>(work: (ada: Person) => Promise<T>): Promise<T>;
  /** The operator's own programs, on the copy. */
  open<T>(work: (opened: OpenedScene) => Promise<T>): Promise<T>;
  drop(): Promise<void>;
}

export interface OpenedScene extends OpenedPublishing {
  readonly storage: Storage;
  readonly dataDirectory: string;
  readonly parts: RestoreParts;
}

interface Logins {
  readonly owner: pg.ClientConfig;
  readonly app: pg.ClientConfig;
  readonly superuser: pg.ClientConfig;
  readonly ownerUrl: string;
  readonly appUrl: string;
  readonly name: string;
}

type Names = readonly TenantId[];

/** `at` hears what is being done. */
export async function setStage(at: (step: string) => void = () => undefined): Promise<Stage> {
  at("database and witness");
  const database = await createDatabase();
  const dataDirectory = temporaryDirectory();
  const auditor = temporaryDirectory();
  const closers: (() => Promise<void>)[] = [];
  const witness = await startWitness(auditor, closers);
  const specs: AnchorSpec[] = [
    { name: "mine", everyMs: 0, kind: "file", directory: join(auditor, "file-anchor") },
    { name: "repo", everyMs: 0, kind: "git", directory: join(auditor, "git-anchor") },
    { name: "w1", everyMs: 0, kind: "witness", url: witness.url, key: witness.key },
  ];
  mkdirSync(join(auditor, "file-anchor"));
  mkdirSync(join(auditor, "git-anchor"));
  const play = new Play(database, dataDirectory);
  at("first round");
  const tenants: Names = await play.begin();
  const [tenant, other] = tenants as [TenantId, TenantId];

  const anchored: number[] = [];
  const first = readKey(dataDirectory);
  const on = { storage: database.storage, dataDirectory, specs, names: [...tenants, deploymentTenant] };
  at("first anchoring");
  await withPublishing(on, async ({ publishing, anchor }) => {
    const log = await publishing.deployment();
    await witness.trust(verifierKey({ name: log, type: 1, publicKey: first.publicKey }));
    await anchor();
  });
  anchored.push(await sizeOf(database, tenant));
  at("backup");
  const backup = await backupOf(database);
  at("second round");
  await play.goOn("second");
  at("second anchoring");
  await withPublishing(on, ({ anchor }) => anchor());
  anchored.push(await sizeOf(database, tenant));
  at("third round");
  await play.goOn("third");
  at("rotation and third anchoring");
  const deployment = await withPublishing(on, async ({ publishing, parts }) => {
    await rotateKeys(parts, { reason: "yearly" });
    const [statements, log] = [await publishing.keyStatements(), await publishing.deployment()];
    await witness.follow(statements);
    return log;
  });
  await withPublishing(on, ({ anchor }) => anchor());
  anchored.push(await sizeOf(database, tenant));
  at("fourth round");
  await play.goOn("fourth");
  at("entries that nobody has seen");
  // What nobody has seen: no anchor, no checkpoint, no head in the deployment's ledger.
  const alone = await openLedger({
    storage: database.storage,
    sealing: openSealing({ dataDirectory }),
    clock: systemClock,
  });
  for (let n = 0; n < 5; n++) await committed(commit(alone, tenant));
  await alone.close();
  const size = await sizeOf(database, tenant);
  await database.storage.close();

  const second = readKey(dataDirectory);
  const logLine = `log ${formatVerifierKey(verifierKey({ name: deployment, type: 1, publicKey: first.publicKey }))}\n`;
  const anchors = `anchor mine file ${join(auditor, "file-anchor")}\nanchor repo git ${join(auditor, "git-anchor")}\n`;
  const witnessLine = `witness w1 ${formatVerifierKey(witness.key)} ${witness.url}\n`;
  const policy = join(auditor, "policy");
  writeFileSync(policy, `${logLine}${anchors}${witnessLine}group all-of-them 2 mine repo w1\nquorum all-of-them\n`);
  const witnessPolicy = join(auditor, "witness-policy");
  writeFileSync(witnessPolicy, `${logLine}${witnessLine}quorum w1\n`);

  const scene = (from: Pick<Logins, "name">): Promise<Scene> =>
    copyOf({ database, from, dataDirectory, policy, names: on.names, play });
  return {
    ...{ tenant, other, deployment, anchored, size, policy, witnessPolicy, logLine, auditor },
    applied: play.applied,
    logKeys: [first, second],
    witnessKey: witness.pair,
    copy: () => scene(database),
    copyOfBackup: () => scene({ name: backup }),
    close: async () => {
      for (const close of closers) await close();
    },
  };
}

/** What people and agents do: every round of it ends with the server stopped. */
class Play {
  readonly #database: TestDatabase;
  readonly #dataDirectory: string;
  readonly applied: string[] = [];
  #ada: Person | undefined;
  #bob: Person | undefined;

  constructor(database: TestDatabase, dataDirectory: string) {
    this.#database = database;
    this.#dataDirectory = dataDirectory;
  }

  get ada(): Person {
    return this.#ada as Person;
  }

  async begin(): Promise<Names> {
    return this.#onServer(async (server) => {
      this.#ada = await server.firstPerson();
      this.#bob = await addHuman(this.#ada, "bob", ["member"], ["reviewers"]);
      const operator = await enrol(server.url, await server.deploymentCode());
      const made = await operator.call("createTenant", { name: "other", mode: "solo", human: "olga" });
      if (made.status !== 201) throw new Error(JSON.stringify(made.body));
      await enrol(server.url, made.body.enrolmentCode);
      await this.#change("first/a");
      return [server.tenant, made.body.tenant.id as TenantId];
    });
  }

  goOn(name: string): Promise<void> {
    return this.#onServer(async () => {
      await this.#change(`${name}/a`);
      const undone = await this.#change(`${name}/b`);
      const back = await (this.#ada as Person).call("rollbackChangeSet", { id: undone, reason: "not like this" });
      if (back.status !== 200) throw new Error(JSON.stringify(back.body));
    });
  }

  async #onServer<T>(
    work: (server: Awaited<ReturnType<typeof startTestServer>> & { deploymentCode(): Promise<string> }) => Promise<T>,
  ): Promise<T> {
    const server = await startTestServer({
      database: this.#database,
      dataDirectory: this.#dataDirectory,
      mode: "team",
    });
    // Each round has a port of its own: that of the round before may be somebody else's by now.
    if (this.#ada !== undefined) this.#ada = personAt(server.url, this.#ada);
    if (this.#bob !== undefined) this.#bob = personAt(server.url, this.#bob);
    try {
      const deploymentCode = async (): Promise<string> => (await server.tenancy.issueCode(deploymentTenant)).text;
      return await work({ ...server, deploymentCode });
    } finally {
      await server.close();
    }
  }

  async #change(id: string): Promise<string> {
    const [ada, bob] = [this.#ada as Person, this.#bob as Person];
    const target = { kind: "resource" as const, type: "CONFIG", id, environment: "development" };
    const items = [{ operation: "CREATE" as const, target, after: { retries: 3 } }];
    const created = await ada.call("createChangeSet", { title: `make ${id}`, items });
    if (created.status !== 201) throw new Error(JSON.stringify(created.body));
    const submitted = await ada.call("submitChangeSet", { id: created.body.changeSet.id });
    const { changeSet } = submitted.body;
    const atMs = Date.now();
    const digest = changeSet.approvalDigest ?? "";
    const bytes = voteSigningBytes({
      tenant: bob.tenant,
      changeSetId: changeSet.id,
      approvalDigest: digest,
      decision: "APPROVED",
      voterId: bob.id,
      atMs,
    });
    const vote = { digest, keyId: bob.keyId, atMs, signature: signMessage(bob.privateKey, bytes) };
    const voted = await bob.call("approveChangeSet", { id: changeSet.id, ...vote });
    if (voted.status !== 200) throw new Error(JSON.stringify(voted.body));
    const applied = await ada.call("applyChangeSet", { id: changeSet.id }, { idempotencyKey: newKey() });
    if (applied.status !== 200) throw new Error(JSON.stringify(applied.body));
    this.applied.push(changeSet.id);
    return changeSet.id;
  }
}

async function startWitness(folder: string, closers: (() => Promise<void>)[]) {
  const directory = join(folder, "witness");
  const { vkey } = await initWitness({ directory, name: "witness.example/w1" });
  const witness = await openWitness({ directory, clock: systemClock });
  const running = await runWitness({ witness, host: "127.0.0.1", port: 0, report: () => undefined });
  closers.push(() => running.close());
  const key = parseVerifierKey(vkey);
  if (key === undefined) throw new Error("no witness key");
  const privateKey = readFileSync(join(directory, "key"), "utf8").trim();
  return {
    url: running.url,
    key,
    pair: { name: key.name, publicKey: key.publicKey, privateKey },
    trust: async (log: VerifierKey): Promise<void> => void (await addLog(directory, formatVerifierKey(log))),
    follow: async (statements: readonly string[]): Promise<void> =>
      void (await followStatements(directory, statements.join(""))),
  };
}

interface PublishingOn {
  readonly storage: Storage;
  readonly dataDirectory: string;
  readonly specs: readonly AnchorSpec[];
  readonly names: Names;
}

export interface OpenedPublishing {
  readonly publishing: Publishing;
  readonly verification: Verification;
  readonly ledger: Ledger;
  readonly parts: RestoreParts;
  /** Publishes for everybody; returns when the anchors have it. */
  anchor(): Promise<void>;
  revoke(publicKey: string, sinceMs: number): Promise<void>;
}

/** The publisher without the rest of the server, for as long as `work` takes. */
async function withPublishing<T>(on: PublishingOn, work: (opened: OpenedPublishing) => Promise<T>): Promise<T> {
  const { storage, dataDirectory, specs, names } = on;
  const ledger = await openLedger({ storage, sealing: openSealing({ dataDirectory }), clock: systemClock });
  const verification = openVerification({ storage, openBody: ledger.openBody, clock: systemClock });
  const folder = join(dataDirectory, "log-keys");
  let anchors: Anchors | undefined;
  const publishing = openPublishing({
    ...{ storage, ledger, clock: systemClock, deploymentTenant, folder },
    tenants: () => Promise.resolve(names),
    intervalMs: 25,
    headsEveryMs: 1,
    anchors: (source) =>
      (anchors = openAnchors({ storage, clock: systemClock, source, anchors: anchorsFrom(specs, systemClock) })),
  });
  publishing.start();
  const actor = { type: "system", id: deploymentTenant, humans: [] } as const;
  try {
    const tenants = (): Promise<Names> => Promise.resolve(names);
    const parts = { folder, signer: undefined, storage, ledger, deploymentTenant, actor, clock: systemClock, tenants };
    return await work({
      ...{ publishing, verification, ledger, parts },
      revoke: async (key, sinceMs) => void (await revokeKey(parts, { key, sinceMs, reason: "stolen" })),
      anchor: async () => {
        for (const tenant of names) await publishing.publish(tenant);
        await anchors?.settled();
      },
    });
  } finally {
    await publishing.stop();
    await ledger.close();
  }
}

function readKey(dataDirectory: string): { publicKey: string; privateKey: string } {
  const [, privateKey = ""] = readFileSync(join(dataDirectory, "log-keys", "key"), "utf8")
    .trim()
    .split(" ");
  return { publicKey: publicKeyOf(privateKey), privateKey };
}

async function sizeOf({ superuser }: Pick<TestDatabase, "superuser">, tenant: TenantId): Promise<number> {
  return withClient(superuser, async (client) => {
    const found = await client.query<{ size: number }>(
      "select count(*)::integer as size from countersign.entries where tenant_id = $1",
      [tenant],
    );
    return found.rows[0]?.size ?? 0;
  });
}

/** A copy of a database that others are connected to: as `pg_dump` would, by ending their connections first. */
async function backupOf(database: TestDatabase): Promise<string> {
  const name = `${database.name}_backup`;
  await copyDatabase(database, database.name, name);
  return name;
}

async function copyDatabase(database: Pick<Logins, "superuser">, from: string, to: string): Promise<void> {
  await withClient(loginTo(database.superuser, "postgres"), async (admin) => {
    await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", [from]);
    const found = await admin.query<{ owner: string }>(
      "select quote_ident(rolname) as owner from pg_database join pg_roles on pg_roles.oid = datdba where datname = $1",
      [from],
    );
    await admin.query(`create database ${to} template ${from} owner ${found.rows[0]?.owner ?? ""}`);
  });
}

export function loginTo(login: pg.ClientConfig, database: string): pg.ClientConfig {
  if (login.connectionString === undefined) return { ...login, database };
  return { ...login, connectionString: urlTo(login.connectionString, database) };
}

function urlTo(url: string, database: string): string {
  const to = new URL(url);
  to.pathname = `/${database}`;
  return to.href;
}

async function copyOf(given: {
  readonly database: TestDatabase;
  readonly from: Pick<Logins, "name">;
  readonly dataDirectory: string;
  readonly policy: string;
  readonly names: Names;
  readonly play: Pick<Play, "ada">;
}): Promise<Scene> {
  const { database, from, policy, names, play } = given;
  const name = `cs_scene_${randomUUID().replaceAll("-", "")}`;
  await copyDatabase(database, from.name, name);
  const dataDirectory = temporaryDirectory();
  cpSync(given.dataDirectory, dataDirectory, { recursive: true });
  const logins: Logins = {
    name,
    owner: loginTo(database.owner, name),
    app: loginTo(database.app, name),
    superuser: loginTo(database.superuser, name),
    ownerUrl: urlTo(database.ownerUrl, name),
    appUrl: urlTo(database.appUrl, name),
  };
  const env = { DATABASE_URL: logins.ownerUrl, COUNTERSIGN_APP_DATABASE_URL: logins.appUrl };
  const sql = (work: (client: pg.Client) => Promise<void>): Promise<void> =>
    withClient(logins.superuser, async (client) => {
      // Against whoever owns the database triggers and foreign keys are speed bumps.
      await client.query("set session_replication_role = replica");
      await work(client);
    });
  return {
    ...{ dataDirectory, env, database: logins, sql },
    run: (...statements) =>
      sql(async (client) => {
        for (const statement of statements) await client.query(statement);
      }),
    verify: (request = {}) => verdictOf({ env, dataDirectory, policy, ...request }),
    serve: async (work) => {
      const server = await startServer({
        dataDirectory,
        databaseUrl: logins.ownerUrl,
        applicationDatabaseUrl: logins.appUrl,
        port: 0,
        log: quietLog,
      });
      try {
        return await work(personAt(server.url, play.ada));
      } finally {
        await server.close();
      }
    },
    open: async (work) => {
      const storage = storageOver({
        ...{ kind: "external", how: "connected", at: "test" },
        owner: logins.owner,
        application: logins.app,
      });
      try {
        return await withPublishing({ storage, dataDirectory, specs: [], names }, (opened) =>
          work({ ...opened, storage, dataDirectory }),
        );
      } finally {
        await storage.close();
      }
    },
    drop: () =>
      withClient(loginTo(database.superuser, "postgres"), async (admin) => {
        await admin.query(`drop database ${name} with (force)`);
      }),
  };
}

/** As `countersign audit verify --policy FILE` on the server's machine. */
async function verdictOf(
  request: VerifyRequest & {
    readonly env: Readonly<Record<string, string>>;
    readonly dataDirectory: string;
  },
): Promise<Verdict> {
  const { policy, ...rest } = request;
  const reports = await verifyDatabase({
    ...rest,
    doing: "countersign audit verify",
    bodies: true,
    ...(policy == null ? {} : { policy }),
  });
  const codes = reports.map(exitCodeOf);
  const exit = [1, 4, 3, 2].find((code) => codes.includes(code)) ?? 0;
  const worst = reports.find((report) => exitCodeOf(report) === exit) as TenantReport;
  return {
    exit,
    integrity: worst.integrity,
    completeness: worst.completeness,
    findings: reports.flatMap((report) => report.findings),
    notes: reports.flatMap((report) => report.notes),
    reports,
  };
}
