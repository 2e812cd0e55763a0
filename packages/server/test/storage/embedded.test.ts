/** The embedded PostgreSQL, with real processes that are really killed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { openDataDirectory } from "../../src/platform/index.js";
import { startEmbedded } from "../../src/storage/embedded.js";
import { openStorage } from "../../src/storage/index.js";
import { canTraverse, runAsUser } from "../../src/storage/osUser.js";
import { isAlive } from "../../src/storage/processes.js";
import { clusterCopy, removeWithPostgres, temporaryDirectory, testSettings, withClient } from "../support/postgres.js";
import { startProgram, type Program } from "../support/processes.js";
import type { StorageMessage } from "../support/storageProgram.js";

type StorageProgram = Program<StorageMessage>;
const program = new URL("../support/storageProgram.ts", import.meta.url);
const address = "http://127.0.0.1:7117";

interface Ready {
  readonly server: StorageProgram;
  readonly how: string;
  readonly login: pg.ClientConfig;
  readonly postgres: number;
}

async function ready(server: StorageProgram, dataDirectory: string): Promise<Ready> {
  const message = await server.next();
  if (message.kind !== "ready") throw new Error(JSON.stringify(message));
  const { owner } = JSON.parse(readFileSync(join(dataDirectory, "postgres-credentials.json"), "utf8")) as {
    owner: string;
  };
  const login = { host: message.at, port: 5432, user: "countersign_owner", password: owner, database: "countersign" };
  return { server, how: message.how, login, postgres: postmaster(dataDirectory) };
}

function serve(dataDirectory: string, mode = "", options: Parameters<typeof startProgram>[2] = {}): StorageProgram {
  return startProgram<StorageMessage>(program, [dataDirectory, address, mode], options);
}

const clusterHome = (dataDirectory: string): string =>
  (JSON.parse(readFileSync(join(dataDirectory, "postgres.json"), "utf8")) as { home: string }).home;
const postmaster = (dataDirectory: string): number =>
  Number(readFileSync(join(clusterHome(dataDirectory), "data", "postmaster.pid"), "utf8").split("\n")[0]);
const serverLog = (dataDirectory: string): string =>
  readFileSync(join(clusterHome(dataDirectory), "log", "postgresql.log"), "utf8");

/** Resolves when a process is gone; polls, because the system does not tell of processes that are not one's children. */
async function gone(pid: number): Promise<void> {
  await expect.poll(() => isAlive(pid), { timeout: 30_000, interval: 10 }).toBe(false);
}

describe("a command that is interrupted takes its PostgreSQL along", () => {
  const command = new URL("../support/cliProgram.ts", import.meta.url);
  const run = (dataDirectory: string): Program<never> =>
    startProgram<never>(command, ["start", "--port", "0", "--data", dataDirectory], {
      env: { HOME: dataDirectory, COUNTERSIGN_HOST: "127.0.0.1" },
    });
  const begun = async (dataDirectory: string): Promise<number> => {
    const pid = (): number => (existsSync(join(dataDirectory, "postgres.json")) ? attempt(dataDirectory) : 0);
    await expect.poll(pid, { timeout: 30_000, interval: 5 }).toBeGreaterThan(0);
    return pid();
  };
  const attempt = (dataDirectory: string): number => {
    try {
      return postmaster(dataDirectory);
    } catch {
      return 0; // not yet
    }
  };

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s while it starts", async (signal, code) => {
    const dataDirectory = openDataDirectory(join(temporaryDirectory(), "data"));
    const server = run(dataDirectory);
    const postgres = await begun(dataDirectory);
    server.kill(signal);
    expect((await server.ended).code).toBe(code);
    await gone(postgres);
    // Nothing is broken by it.
    const again = await startEmbedded(dataDirectory, { settings: testSettings });
    expect(again.cluster.how).toBe("started");
    await again.stop();
  });
});

describe("first start", () => {
  test("makes a cluster of its own, closed to everybody else, with what was acknowledged on the disk", async () => {
    const dataDirectory = openDataDirectory(join(temporaryDirectory(), "data"));
    const storage = await openStorage({ dataDirectory, doing: "a test" });
    try {
      const settings = await storage.owner.query<Record<string, string>>(`
        select current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit,
               current_setting('full_page_writes') as full_page_writes, current_setting('data_checksums') as checksums,
               current_setting('listen_addresses') as listen, current_setting('max_wal_size') as max_wal_size,
               current_setting('server_encoding') as encoding, datlocprovider::text as provider, datlocale as locale, current_user as user,
               (select rolsuper from pg_roles where rolname = current_user) as super
          from pg_database where datname = current_database()`);
      expect(settings.rows).toEqual([
        {
          ...{
            fsync: "on",
            synchronous_commit: "on",
            full_page_writes: "on",
            checksums: "on",
            listen: "",
            max_wal_size: "1GB",
          },
          ...{ encoding: "UTF8", provider: "b", locale: "C.UTF-8", user: "countersign_owner", super: false },
        },
      ]);
      const { at } = await storage.describe();
      expect(lstatSync(at).mode & 0o777).toBe(0o700);
      expect(statSync(clusterHome(dataDirectory)).mode & 0o777).toBe(0o700);
      expect(statSync(join(dataDirectory, "postgres-credentials.json")).mode & 0o777).toBe(0o600);
      expect(existsSync(join(clusterHome(dataDirectory), "initdb-password"))).toBe(false);
      for (const user of ["countersign_app", "countersign_owner", "countersign_superuser", "postgres"]) {
        await expect(
          withClient({ host: at, port: 5432, user, password: "guess", database: "countersign" }, (client) =>
            client.query("select 1"),
          ),
        ).rejects.toMatchObject({ code: "28P01" });
      }
    } finally {
      await storage.close();
    }
    expect(existsSync(join(dataDirectory, "server.lock"))).toBe(false);
  });

  test("what a killed initdb left is made anew", async () => {
    const dataDirectory = openDataDirectory(join(temporaryDirectory(), "data"));
    mkdirSync(join(dataDirectory, "postgres", "data.partial"), { recursive: true });
    writeFileSync(join(dataDirectory, "postgres", "data.partial", "PG_VERSION"), "18\n");
    writeFileSync(join(dataDirectory, "postgres", "initdb-password"), "old\n");
    const embedded = await startEmbedded(dataDirectory, { settings: testSettings });
    expect(embedded.created).toBe(true);
    await embedded.stop();
  });

  test("a path too long for a Unix socket", async () => {
    const dataDirectory = openDataDirectory(join(temporaryDirectory(), "d".repeat(120), "data"));
    const embedded = await startEmbedded(dataDirectory, { settings: testSettings });
    try {
      expect(embedded.cluster.socketDirectory.length).toBeLessThan(90);
      expect(lstatSync(embedded.cluster.socketDirectory).mode & 0o777).toBe(0o700);
      await withClient(embedded.owner, (client) => client.query("select 1"));
    } finally {
      await embedded.stop();
      rmSync(embedded.cluster.socketDirectory, { recursive: true });
    }
  });

  test("lost passwords are made anew, though not under a server that runs", async () => {
    const dataDirectory = await clusterCopy();
    const first = await startEmbedded(dataDirectory, { settings: testSettings });
    await withClient(first.owner, (client) => client.query("create table kept as select 1 as one"));
    rmSync(join(dataDirectory, "postgres-credentials.json"));
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await expect(startEmbedded(dataDirectory, { settings: testSettings })).rejects.toThrow(/passwords .* are lost/);
    }
    await first.stop();
    const second = await startEmbedded(dataDirectory, { settings: testSettings });
    expect(second.owner.password).not.toBe(first.owner.password);
    await withClient(second.owner, async (client) =>
      expect((await client.query("select one from kept")).rows).toEqual([{ one: 1 }]),
    );
    await second.stop();
  });

  test("a cluster of another major version is refused", async () => {
    const dataDirectory = await clusterCopy();
    writeFileSync(join(dataDirectory, "postgres", "data", "PG_VERSION"), "17\n");
    await expect(startEmbedded(dataDirectory)).rejects.toThrow(
      /was made by PostgreSQL 17, and this Countersign ships 18; back it up/,
    );
  });
});

describe("one server a data directory", () => {
  test("the second is refused with the address of the first, and a command joins it", async () => {
    const dataDirectory = await clusterCopy();
    const first = await ready(serve(dataDirectory), dataDirectory);
    const second = await serve(dataDirectory).next();
    expect(second).toMatchObject({ kind: "refused", code: "data_directory_in_use" });
    expect(second.kind === "refused" && second.message).toContain(
      `the server at ${address} (process ${first.server.pid})`,
    );

    const command = await ready(serve(dataDirectory, "join"), dataDirectory);
    expect(command.how).toBe("joined");
    command.server.kill("SIGTERM");
    expect(await command.server.ended).toMatchObject({ code: 0 });
    expect(isAlive(first.postgres)).toBe(true);
    first.server.kill("SIGTERM");
    expect(await first.server.ended).toMatchObject({ code: 0 });
    await gone(first.postgres);
  });

  test("of four that start at once one wins", async () => {
    const dataDirectory = await clusterCopy();
    const programs = Array.from({ length: 4 }, () => serve(dataDirectory));
    const messages = await Promise.all(programs.map((each) => each.next()));
    expect(messages.map((message) => (message.kind === "refused" ? message.code : message.kind)).sort()).toEqual([
      ...Array<string>(3).fill("data_directory_in_use"),
      "ready",
    ]);
    programs.forEach((each) => each.kill("SIGTERM"));
    await Promise.all(programs.map((each) => each.ended));
  });

  test.each([
    ["a process that has ended", { pid: 2 ** 22 - 3, start: "x" }],
    ["a number that now belongs to another process", { pid: process.pid, start: "another" }],
  ])("the lock of %s is taken over", async (_what, holder) => {
    const dataDirectory = await clusterCopy();
    const { pidNamespace } = await lockOf(dataDirectory);
    writeFileSync(
      join(dataDirectory, "server.lock"),
      JSON.stringify({ ...holder, pidNamespace, doing: "a server long gone" }),
    );
    const storage = await openStorage({ dataDirectory, doing: "a test", embedded: { settings: testSettings } });
    await storage.close();
  });

  test("a lock that was cut off in the middle of writing is taken over", async () => {
    const dataDirectory = await clusterCopy();
    writeFileSync(join(dataDirectory, "server.lock"), '{"pid":1');
    const storage = await openStorage({ dataDirectory, doing: "a test", embedded: { settings: testSettings } });
    await storage.close();
  });

  test("a holder in another container counts as long as its PostgreSQL answers", async () => {
    const dataDirectory = await clusterCopy();
    const storage = await openStorage({ dataDirectory, doing: "a test", embedded: { settings: testSettings } });
    const held = JSON.parse(readFileSync(join(dataDirectory, "server.lock"), "utf8")) as object;
    writeFileSync(
      join(dataDirectory, "server.lock"),
      JSON.stringify({ ...held, pid: 1, pidNamespace: "pid:[1]", doing: "the server next door" }),
    );
    await expect(openStorage({ dataDirectory, doing: "another" })).rejects.toThrow(/the server next door/);
    await storage.close();
    const again = await openStorage({ dataDirectory, doing: "another", embedded: { settings: testSettings } });
    await again.close();
  });
});

async function lockOf(dataDirectory: string): Promise<{ pidNamespace: string }> {
  const storage = await openStorage({ dataDirectory, doing: "a test", embedded: { settings: testSettings } });
  try {
    return JSON.parse(readFileSync(join(dataDirectory, "server.lock"), "utf8")) as { pidNamespace: string };
  } finally {
    await storage.close();
  }
}

describe("ends", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("%s to the server ends both in order", async (signal) => {
    const dataDirectory = await clusterCopy();
    const { server, postgres } = await ready(serve(dataDirectory), dataDirectory);
    server.kill(signal);
    expect(await server.ended).toMatchObject({ code: 0, signal: null });
    expect(isAlive(postgres)).toBe(false);
    expect(serverLog(dataDirectory)).toMatch(/database system is shut down\s*$/);
    expect(existsSync(join(dataDirectory, "server.lock"))).toBe(false);
  });

  test("what a terminal sends to the whole foreground group does not reach PostgreSQL: the server ends it in order", async () => {
    const dataDirectory = await clusterCopy();
    const first = await ready(serve(dataDirectory, "", { ownGroup: true }), dataDirectory);
    process.kill(-first.server.pid, "SIGKILL"); // nothing in the group survives this
    await first.server.ended;
    expect(isAlive(first.postgres)).toBe(true);

    const second = await ready(serve(dataDirectory, "", { ownGroup: true }), dataDirectory);
    expect(second.how).toBe("adopted");
    process.kill(-second.server.pid, "SIGINT"); // Ctrl-C
    expect(await second.server.ended).toMatchObject({ code: 0 });
    expect(isAlive(first.postgres)).toBe(false);
    expect(serverLog(dataDirectory)).toMatch(/database system is shut down\s*$/);
  });
});

describe("kill -9", () => {
  test("of the server: PostgreSQL goes on, and the next start adopts it", async () => {
    const dataDirectory = await clusterCopy();
    const first = await ready(serve(dataDirectory), dataDirectory);
    await withClient(first.login, (client) => client.query("create table kept as select 1 as one"));
    first.server.kill("SIGKILL");
    await first.server.ended;
    expect(isAlive(first.postgres)).toBe(true);

    const second = await ready(serve(dataDirectory), dataDirectory);
    expect(second).toMatchObject({ how: "adopted", postgres: first.postgres });
    await withClient(second.login, async (client) =>
      expect((await client.query("select one from kept")).rows).toEqual([{ one: 1 }]),
    );
    second.server.kill("SIGTERM");
    await second.server.ended;
    await gone(first.postgres);
  });

  test("of the postmaster, with sessions at work: an immediate start succeeds", async () => {
    const dataDirectory = await clusterCopy();
    const first = await ready(serve(dataDirectory), dataDirectory);
    const busy = withClient(first.login, (client) =>
      client.query("select count(*) from generate_series(1, 100000000)"),
    ).catch((error: unknown) => error);
    await expect
      .poll(
        () =>
          withClient(
            first.login,
            async (client) =>
              (await client.query("select from pg_stat_activity where query like '%generate_series%'")).rowCount,
          ),
        { interval: 10 },
      )
      .toBeGreaterThan(1);
    process.kill(first.postgres, "SIGKILL");
    first.server.kill("SIGKILL");
    await first.server.ended;
    const second = await ready(serve(dataDirectory), dataDirectory);
    expect(second.how).toBe("started");
    expect(second.postgres).not.toBe(first.postgres);
    expect(await busy).toBeInstanceOf(Error);
    second.server.kill("SIGTERM");
    await second.server.ended;
  });

  test("of the postmaster alone: the server starts it again and goes on", async () => {
    const dataDirectory = await clusterCopy();
    const storage = await openStorage({ dataDirectory, doing: "a test", embedded: { settings: testSettings } });
    const first = postmaster(dataDirectory);
    await storage.owner.query("create table kept as select 1 as one");
    process.kill(first, "SIGKILL");
    await gone(first);
    // A session of the dead one may answer once more: only an answer beside another postmaster counts.
    const answers = (): Promise<number | null> =>
      storage.owner.query("select one from kept").then(
        (found) => found.rowCount,
        () => 0,
      );
    const pidFile = join(clusterHome(dataDirectory), "data", "postmaster.pid");
    const another = (): boolean => existsSync(pidFile) && postmaster(dataDirectory) !== first;
    await expect.poll(async () => another() && (await answers()) === 1, { timeout: 30_000, interval: 20 }).toBe(true);
    const second = postmaster(dataDirectory);
    expect(second).not.toBe(first);
    await storage.close();
    expect(isAlive(second)).toBe(false);
  });

  test("of everything under load: the next start recovers every row that was acknowledged", async () => {
    const dataDirectory = await clusterCopy();
    for (let round = 0; round < 2; round += 1) {
      const { server, postgres } = await ready(serve(dataDirectory, round === 0 ? "write" : ""), dataDirectory);
      if (round === 1) {
        expect(serverLog(dataDirectory)).toContain("was not properly shut down");
        server.kill("SIGTERM");
        await server.ended;
        break;
      }
      let acknowledged = -1;
      while (acknowledged < 200) {
        const message = await server.next();
        if (message.kind === "acknowledged") acknowledged = message.number;
      }
      process.kill(postgres, "SIGKILL");
      server.kill("SIGKILL");
      await server.ended;
      await gone(postgres);
      const embedded = await startEmbedded(dataDirectory, { settings: testSettings });
      const found = await withClient(embedded.owner, (client) =>
        client.query<{ rows: number; last: number }>(
          "select count(*)::integer as rows, max(number) as last from written",
        ),
      );
      const row = found.rows[0];
      expect(row?.last).toBeGreaterThanOrEqual(acknowledged);
      expect(row?.rows).toBe((row?.last ?? 0) + 1);
      process.kill(embedded.cluster.pid, "SIGQUIT"); // so that the next round recovers once more
      await gone(embedded.cluster.pid);
    }
  });

  test("a postmaster.pid whose number now belongs to another process of the same user does not stop the start", async () => {
    const dataDirectory = await clusterCopy();
    const first = await startEmbedded(dataDirectory, { settings: testSettings });
    const file = join(first.cluster.dataDirectory, "postmaster.pid");
    const text = readFileSync(file, "utf8");
    process.kill(first.cluster.pid, "SIGKILL");
    await gone(first.cluster.pid);
    const { uid, gid } = statSync(first.cluster.dataDirectory);
    // A bystander that runs as the user PostgreSQL runs as: its own start-up check takes it for a live postmaster.
    const bystander = spawn("sleep", ["1000"], { stdio: "ignore", ...(process.getuid?.() === 0 ? { uid, gid } : {}) });
    await once(bystander, "spawn");
    const number = Number(bystander.pid);
    writeFileSync(file, text.replace(/^\d+/, String(number)));
    const second = await startEmbedded(dataDirectory, { settings: testSettings });
    expect(second.cluster.how).toBe("started");
    await second.stop();
    expect(isAlive(number)).toBe(true);
    bystander.kill("SIGKILL");
  });
});

describe("as root", () => {
  const root = process.getuid?.() === 0;
  if (!root) console.info("not root: dropping to another user is not tried here");
  const runAs = runAsUser();
  const othersReachUs = runAs !== undefined && canTraverse(fileURLToPath(new URL(".", import.meta.url)), runAs);
  if (root && !othersReachUs)
    console.info("this checkout is closed to other users: running as one of them is not tried here");

  test.runIf(root)(
    "PostgreSQL runs as another user, and a data directory below a 0700 home keeps its database elsewhere",
    async () => {
      const home = temporaryDirectory();
      chmodSync(home, 0o700);
      const dataDirectory = openDataDirectory(join(home, "data"));
      const embedded = await startEmbedded(dataDirectory, { settings: testSettings });
      const outside = clusterHome(dataDirectory);
      try {
        expect(outside.startsWith("/var/lib/countersign/")).toBe(true);
        expect(statSync(outside).mode & 0o777).toBe(0o700);
        expect(statSync(outside).uid).not.toBe(0);
        expect(statSync(`/proc/${embedded.cluster.pid}`).uid).toBe(statSync(outside).uid);
        expect(statSync(dataDirectory).mode & 0o777).toBe(0o700);
        await embedded.stop();
        // The same data directory finds it again; a copy of it does not open the original's database.
        const again = await startEmbedded(dataDirectory, { settings: testSettings });
        await again.stop();
        renameSync(dataDirectory, `${dataDirectory}-copy`);
        await expect(startEmbedded(`${dataDirectory}-copy`)).rejects.toThrow(/belongs to the data directory/);
      } finally {
        await embedded.stop();
        removeWithPostgres(outside);
        rmSync(`${outside}.of`, { force: true });
      }
    },
  );

  test.runIf(othersReachUs)(
    "another user's data directory is opened as that user's, and that user runs it in place",
    async () => {
      const { uid, gid } = statSync(clusterHome(await startedOnce()));
      const dataDirectory = join(temporaryDirectory(), "data");
      mkdirSync(dataDirectory);
      chownSync(dataDirectory, uid, gid);
      const { server, postgres } = await ready(serve(dataDirectory, "", { uid, gid }), dataDirectory);
      expect(statSync(`/proc/${postgres}`).uid).toBe(uid);
      expect(clusterHome(dataDirectory)).toBe(join(realpathSync(dataDirectory), "postgres"));
      expect(statSync(join(dataDirectory, "postgres-credentials.json")).uid).toBe(uid);
      server.kill("SIGTERM");
      expect(await server.ended).toMatchObject({ code: 0 });
      // Root may look after it too, and leaves it to its owner.
      const byRoot = await startEmbedded(dataDirectory, { settings: testSettings });
      expect(statSync(`/proc/${byRoot.cluster.pid}`).uid).toBe(uid);
      await byRoot.stop();
    },
  );
});

async function startedOnce(): Promise<string> {
  const dataDirectory = await clusterCopy();
  await (await startEmbedded(dataDirectory, { settings: testSettings })).stop();
  return dataDirectory;
}
