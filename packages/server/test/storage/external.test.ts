/** A PostgreSQL of one's own, by URL: who may use it, and what is refused with which way out. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { RefusalError } from "@countersign/contract";
import pg from "pg";
import { afterAll, describe, expect, test } from "vitest";
import { refuseUnsuitable, switchingUrl } from "../../src/storage/external.js";
import { migrateUp, openStorage, type Storage } from "../../src/storage/index.js";
import { runAsUser } from "../../src/storage/osUser.js";
import { deadlineIn, poll } from "../../src/storage/waiting.js";
import { startTestPostgres, temporaryDirectory, withClient } from "../support/postgres.js";

interface Server {
  readonly what: string;
  readonly admin: pg.ClientConfig;
  readonly urlFor: (user: string, database: string) => string;
  stop(): Promise<void>;
}

const servers: Server[] = [];
afterAll(async () => {
  for (const server of servers) await server.stop();
});

/** The newest thing we ship, reached as if it were somebody's own. */
async function shipped(): Promise<Server> {
  const postgres = await startTestPostgres();
  const { embedded } = postgres;
  if (embedded === undefined)
    throw new Error("unset COUNTERSIGN_TEST_DATABASE_URL for this test: it makes users and databases");
  // As on a server that has never seen Countersign.
  await withClient(embedded.superuser, async (client) => {
    await client.query("drop database countersign with (force)");
    await client.query("drop role countersign_app, countersign_ledger, countersign_owner");
  });
  const { host, port } = embedded.superuser;
  const urlFor = (user: string, database: string): string =>
    `postgres://${user}:secret@localhost:${port}/${database}?host=${encodeURIComponent(String(host))}`;
  return { what: "PostgreSQL 18", admin: embedded.superuser, urlFor, stop: () => postgres.close() };
}

/** The oldest we promise, where the machine has it. */
async function oldest(): Promise<Server | string> {
  const bin = "/usr/lib/postgresql/15/bin";
  if (!existsSync(join(bin, "initdb"))) return `there is no ${bin}: PostgreSQL 15 is not tried here`;
  const directory = temporaryDirectory();
  const data = join(directory, "data");
  const runAs = runAsUser();
  const user = runAs === undefined ? {} : { uid: runAs.uid, gid: runAs.gid };
  mkdirSync(data, { mode: 0o700 });
  if (runAs !== undefined) execFileSync("chown", [`${runAs.uid}:${runAs.gid}`, data]);
  execFileSync(
    join(bin, "initdb"),
    ["-D", data, "-U", "admin", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"],
    { ...user, cwd: data, stdio: "ignore" },
  );
  const child: ChildProcess = spawn(
    join(bin, "postgres"),
    ["-D", data, "-k", data, "-c", "listen_addresses=", "-c", "fsync=off"],
    { ...user, cwd: data, stdio: "ignore" },
  );
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const admin = { host: data, port: 5432, user: "admin", database: "postgres" };
  const answered = await poll(deadlineIn(20_000), () =>
    withClient(admin, () => Promise.resolve(true)).catch(() => undefined),
  );
  if (answered === undefined) throw new Error("PostgreSQL 15 did not start");
  const stop = async (): Promise<void> => {
    child.kill("SIGINT");
    await ended;
  };
  return {
    what: "PostgreSQL 15",
    admin,
    urlFor: (name, database) => `postgres://${name}:secret@localhost:5432/${database}?host=${encodeURIComponent(data)}`,
    stop,
  };
}

const found = await Promise.all([shipped(), oldest()]);
for (const server of found) {
  if (typeof server === "string") console.info(server);
  else servers.push(server);
}

async function refusalOf(work: Promise<Storage>): Promise<string> {
  try {
    await (await work).close();
    return "no refusal";
  } catch (error) {
    if (error instanceof RefusalError) return `${error.refusal.code}: ${error.refusal.message}`;
    throw error;
  }
}

let made = 0;
/** A user and a database of theirs. */
async function userWithDatabase(
  server: Server,
  attributes: string,
  encoding = "UTF8",
): Promise<{ user: string; database: string; url: string }> {
  made += 1;
  const [user, database] = [`user_${made}`, `database_${made}`];
  await withClient(server.admin, async (client) => {
    await client.query(`create role ${user} login ${attributes} password 'secret'`);
    await client.query(
      `create database ${database} owner ${user} encoding '${encoding}' locale 'C' template template0`,
    );
  });
  return { user, database, url: server.urlFor(user, database) };
}

const open = (databaseUrl: string): Promise<Storage> =>
  openStorage({ dataDirectory: "/nonexistent", databaseUrl, doing: "a test" });
const up = (storage: Storage): Promise<string[]> =>
  withClient(storage.ownerLogin, (client) => migrateUp(client, { appVersion: "test", nowMs: Date.now }));

describe.each(servers)("$what", (server) => {
  // In this order: the first user makes the roles, the others meet them.
  test("a user who may not create roles is told what an administrator runs; after that it works", async () => {
    const { user, url } = await userWithDatabase(server, "nocreaterole");
    const refusal = await refusalOf(open(url));
    expect(refusal).toContain(`postgres_unsupported: the user \`${user}\` of DATABASE_URL may not create`);
    const statements = refusal
      .slice(refusal.indexOf("create role countersign_ledger"))
      .split(/(?<=;) ?/)
      .filter((statement) => statement !== "");
    expect(statements).toHaveLength(3);
    await withClient(server.admin, async (client) => {
      for (const statement of statements) await client.query(statement);
    });
    await worksAtAll(url);
  });

  test("two databases share the roles, whoever owns them", async () => {
    const creator = await userWithDatabase(server, "createrole");
    // The roles exist and are another's: this user may not take them. Since 16 `createrole` alone does not give membership.
    const refusal = await refusalOf(open(creator.url));
    if (refusal !== "no refusal") {
      expect(refusal).toContain(`grant countersign_ledger, countersign_app to "${creator.user}"`);
      await withClient(server.admin, (client) =>
        client.query(`grant countersign_ledger, countersign_app to ${creator.user}`),
      );
    }
    await worksAtAll(creator.url);
  });

  test("a user who may create roles needs nobody", async () => {
    await withClient(server.admin, async (client) => {
      for (const { datname } of (
        await client.query<{ datname: string }>("select datname from pg_database where datname like 'database_%'")
      ).rows)
        await client.query(`drop database ${datname}`);
      await client.query("drop role countersign_app, countersign_ledger");
    });
    const { url } = await userWithDatabase(server, "createrole");
    await worksAtAll(url);
    await worksAtAll(url);
  });

  test("a superuser works too, and its server's role is none", async () => {
    const { url } = await userWithDatabase(server, "superuser");
    await worksAtAll(url);
  });

  test("the server may have a login of its own", async () => {
    const { url, database } = await userWithDatabase(server, "superuser");
    await withClient(server.admin, (client) => client.query("alter role countersign_app login password 'secret'"));
    const storage = await openStorage({
      dataDirectory: "/nonexistent",
      databaseUrl: url,
      applicationDatabaseUrl: server.urlFor("countersign_app", database),
      doing: "a test",
    });
    try {
      await up(storage);
      expect((await storage.app.query("select session_user as session, current_user as user")).rows).toEqual([
        { session: "countersign_app", user: "countersign_app" },
      ]);
    } finally {
      await storage.close();
    }
  });

  test("another encoding than UTF8 is refused", async () => {
    const { url, database } = await userWithDatabase(server, "createrole", "LATIN1");
    expect(await refusalOf(open(url))).toMatch(
      new RegExp(
        `^postgres_unsupported: the database \`${database}\` has the encoding \`LATIN1\`; create one with \`create database .* encoding 'UTF8'`,
      ),
    );
  });

  test("a user who may not create in the database is told", async () => {
    const { database } = await userWithDatabase(server, "nocreaterole");
    const { user } = await userWithDatabase(server, "superuser nocreaterole");
    await withClient(server.admin, async (client) => {
      await client.query(`alter role ${user} nosuperuser`);
      await client.query(`grant countersign_ledger, countersign_app to ${user}`);
    });
    expect(await refusalOf(open(server.urlFor(user, database)))).toContain(
      `grant create on database "${database}" to "${user}";`,
    );
  });

  async function worksAtAll(url: string): Promise<void> {
    const storage = await open(url);
    try {
      await up(storage);
      expect(await storage.describe()).toMatchObject({ kind: "external", how: "connected", encoding: "UTF8" });
      const seen = await storage.withSnapshot(
        "00000000-0000-7000-8000-00000000000a",
        async (client) =>
          (
            await client.query(
              "select current_user as user, count(*)::integer as entries from countersign.entries group by 1",
            )
          ).rows,
      );
      expect(seen).toEqual([]);
      const app = await storage.app.query(
        "select current_user as user, (select rolsuper from pg_roles where rolname = current_user) as super, current_setting('is_superuser') as is_super",
      );
      expect(app.rows).toEqual([{ user: "countersign_app", super: false, is_super: "off" }]);
      await expect(storage.app.query("insert into countersign.entries default values")).rejects.toMatchObject({
        code: "42501",
      });
    } finally {
      await storage.close();
    }
  }
});

describe("without a server", () => {
  test("what is older than 15 is refused", () => {
    expect(() =>
      refuseUnsuitable({ versionNumber: 140_012, version: "14.12", encoding: "UTF8", database: "x" }),
    ).toThrow(/PostgreSQL `14.12`; 15 or newer/);
    expect(() =>
      refuseUnsuitable({ versionNumber: 150_000, version: "15.0", encoding: "UTF8", database: "x" }),
    ).not.toThrow();
  });

  test.each([
    ["postgres://u:p@h/db", "postgres://u:p@h/db?options=-c%20role%3Dcountersign_app"],
    [
      "postgres://u:p@h:5433/db?sslmode=require",
      "postgres://u:p@h:5433/db?sslmode=require&options=-c%20role%3Dcountersign_app",
    ],
    [
      "postgres://u@/db?host=/run/a%20b",
      "postgres://u@localhost/db?host=%2Frun%2Fa%20b&options=-c%20role%3Dcountersign_app",
    ],
    ["postgres://h/db?options=-c%20jit%3Doff", "postgres://h/db?options=-c%20jit%3Doff%20-c%20role%3Dcountersign_app"],
  ])("%s works as the application's role by %s", (given, expected) => {
    expect(switchingUrl(given)).toBe(expected);
  });

  test("nobody there: 503, and the password is not in the message", async () => {
    const refusal = await refusalOf(open("postgres://ada:s3cret@127.0.0.1:1/db"));
    expect(refusal).toMatch(/^database_unavailable: /);
    expect(refusal).not.toContain("s3cret");
  });

  test("a wrong password is the database's own answer", async () => {
    const [server] = servers;
    if (server === undefined) throw new Error("no server was started");
    await expect(open(server.urlFor("nobody_known", "postgres").replace("secret", "s3cret"))).rejects.toThrow(
      /authentication failed|does not exist/,
    );
  });
});
