/** The migration runner, on a real PostgreSQL. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RefusalError } from "@countersign/contract";
import pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import {
  assertSchemaCurrent,
  createMigration,
  dumpSchema,
  migrateDown,
  migrateUp,
  migrationStatus,
  readMigrations,
  tables,
} from "../../src/storage/index.js";
import {
  createDatabase,
  temporaryDirectory,
  testPostgres,
  withClient,
  type TestDatabase,
} from "../support/postgres.js";

const options = { appVersion: "0.1.0", nowMs: () => 1_700_000_000_000 };
const down = { ...options, steps: 1, confirmed: true };

/** A directory of migrations: `{ "000001_a": ["up", "down"] }`. */
function directoryOf(files: Readonly<Record<string, readonly [up: string, down: string]>>): string {
  const directory = join(temporaryDirectory(), "migrations");
  mkdirSync(directory);
  for (const [name, [up, down]] of Object.entries(files)) {
    writeFileSync(join(directory, `${name}.up.sql`), up);
    writeFileSync(join(directory, `${name}.down.sql`), down);
  }
  return directory;
}

const twoTables = (): string =>
  directoryOf({
    "000001_books": ["create table countersign.books (id integer)", "drop table countersign.books"],
    "000002_pages": [
      "create table countersign.pages (id integer); insert into countersign.pages values (1)",
      "drop table countersign.pages",
    ],
  });

async function refusalOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof RefusalError
    ? `${error.refusal.code}: ${error.refusal.message}`
    : `no refusal: ${String(error)}`;
}

async function onEmpty<T>(work: (client: pg.Client, database: TestDatabase) => Promise<T>): Promise<T> {
  const database = await createDatabase({ migrated: false });
  return withClient(database.owner, (client) => work(client, database));
}

const tablesOf = async (client: pg.Client): Promise<string[]> => {
  const found = await client.query<{ name: string }>(
    "select tablename as name from pg_tables where schemaname = 'countersign' order by 1",
  );
  return found.rows.map((row) => row.name);
};

beforeAll(async () => void (await testPostgres()));

describe("up, down, status", () => {
  test("go there, back, and there again", async () => {
    const directory = twoTables();
    await onEmpty(async (client) => {
      expect(await migrationStatus(client, directory)).toMatchObject({
        applied: [],
        pending: [{ name: "000001_books" }, { name: "000002_pages" }],
      });
      expect(await refusalOf(assertSchemaCurrent(client, directory))).toMatch(
        /^schema_behind: 2 migrations are not applied, first `000001_books`; run `countersign migrate up`/,
      );
      expect(await migrateUp(client, { ...options, directory })).toEqual(["000001_books", "000002_pages"]);
      expect(await migrateUp(client, { ...options, directory })).toEqual([]);
      await assertSchemaCurrent(client, directory);
      const { applied, pending } = await migrationStatus(client, directory);
      expect(pending).toEqual([]);
      expect(applied[1]).toEqual({
        number: 2,
        name: "000002_pages",
        checksum: readMigrations(directory)[1]?.checksum,
        appliedAtMs: 1_700_000_000_000,
        appVersion: "0.1.0",
      });
      expect(await tablesOf(client)).toEqual(["books", "migrations", "pages"]);

      expect(await migrateDown(client, { ...down, directory })).toEqual(["000002_pages"]);
      expect(await tablesOf(client)).toEqual(["books", "migrations"]);
      expect(await migrateDown(client, { ...down, steps: 5, directory })).toEqual(["000001_books"]);
      expect(await migrateUp(client, { ...options, directory })).toHaveLength(2);
    });
  });

  test("a migration that fails leaves nothing of itself, and those before it stay", async () => {
    const directory = twoTables();
    writeFileSync(join(directory, "000003_broken.up.sql"), "create table countersign.half (id integer); select 1 / 0;");
    writeFileSync(join(directory, "000003_broken.down.sql"), "");
    await onEmpty(async (client) => {
      expect(await refusalOf(migrateUp(client, { ...options, directory }))).toMatch(
        /^migration_failed: `000003_broken` failed: division by zero; the migration was rolled back/,
      );
      expect(await tablesOf(client)).toEqual(["books", "migrations", "pages"]);
      expect((await migrationStatus(client, directory)).pending).toMatchObject([{ name: "000003_broken" }]);
    });
  });

  test("eight runners at once: each migration happens once", async () => {
    const directory = twoTables();
    const database = await createDatabase({ migrated: false });
    const done = await Promise.all(
      Array.from({ length: 8 }, () =>
        withClient(database.owner, (client) => migrateUp(client, { ...options, directory })),
      ),
    );
    expect(done.flat().sort()).toEqual(["000001_books", "000002_pages"]);
    await withClient(database.owner, async (client) =>
      expect((await client.query("select id from countersign.pages")).rowCount).toBe(1),
    );
  });

  test("down asks to be confirmed", async () => {
    const directory = twoTables();
    await onEmpty(async (client) => {
      await migrateUp(client, { ...options, directory });
      expect(await refusalOf(migrateDown(client, { ...down, confirmed: false, directory }))).toMatch(
        /^down_refused: .*`--yes`/,
      );
      expect(await tablesOf(client)).toContain("pages");
    });
  });
});

describe("a history that differs is refused", () => {
  test.each<[string, (directory: string) => void, RegExp]>([
    [
      "edited",
      (directory) => writeFileSync(join(directory, "000001_books.up.sql"), "select 1"),
      /^migration_edited: `000001_books` was edited.*restore the file/,
    ],
    [
      "edited the way down",
      (directory) => writeFileSync(join(directory, "000001_books.down.sql"), "select 1"),
      /^migration_edited: `000001_books`/,
    ],
    [
      "edited in its white space",
      (directory) =>
        writeFileSync(join(directory, "000001_books.up.sql"), "create table countersign.books (id integer) "),
      /^migration_edited/,
    ],
    [
      "newer",
      (directory) => ["up", "down"].forEach((way) => rmSync(join(directory, `000002_pages.${way}.sql`))),
      /^migration_newer: .*`000002_pages`, made by Countersign 0\.1\.0; this program knows 1/,
    ],
    [
      "renamed",
      (directory) =>
        ["up", "down"].forEach((way) =>
          renameSync(join(directory, `000002_pages.${way}.sql`), join(directory, `000002_sheets.${way}.sql`)),
        ),
      /^migration_missing: the applied migration `000002_pages` is not among the files \(`000002_sheets`/,
    ],
    [
      "missing one way",
      (directory) => rmSync(join(directory, "000002_pages.down.sql")),
      /^migration_missing: `000002_pages.down.sql` is missing/,
    ],
    [
      "missing in the middle",
      (directory) => ["up", "down"].forEach((way) => rmSync(join(directory, `000001_books.${way}.sql`))),
      /^migration_missing: there is no migration 1/,
    ],
  ])("%s", async (_what, spoil, expected) => {
    const directory = twoTables();
    await onEmpty(async (client) => {
      await migrateUp(client, { ...options, directory });
      spoil(directory);
      const attempts = [
        () => migrationStatus(client, directory),
        () => migrateUp(client, { ...options, directory }),
        () => migrateDown(client, { ...down, directory }),
        () => assertSchemaCurrent(client, directory),
      ];
      for (const attempt of attempts) expect(await refusalOf(attempt())).toMatch(expected);
      expect(await tablesOf(client)).toEqual(["books", "migrations", "pages"]);
    });
  });

  test("a record that is missing in the database", async () => {
    const directory = twoTables();
    await onEmpty(async (client) => {
      await migrateUp(client, { ...options, directory });
      await client.query("delete from countersign.migrations where number = 1");
      expect(await refusalOf(migrateUp(client, { ...options, directory }))).toMatch(
        /^migration_missing: migration 1 is not recorded/,
      );
    });
  });

  test.each([
    ["a stray file", { "notes.sql": "" }, /`notes.sql` is not named like/],
    ["two of one number", { "000001_a.up.sql": "", "000001_b.up.sql": "" }, /have one number/],
  ])("%s among the files", (_what, files, expected) => {
    const directory = join(temporaryDirectory(), "migrations");
    mkdirSync(directory);
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
    expect(() => readMigrations(directory)).toThrow(expected);
  });
});

describe("create", () => {
  test("writes the next pair, and refuses what is no name", () => {
    const directory = twoTables();
    const paths = createMigration("Add due-dates", directory);
    expect(paths.map((path) => path.slice(directory.length + 1))).toEqual([
      "000003_add_due_dates.up.sql",
      "000003_add_due_dates.down.sql",
    ]);
    expect(readMigrations(directory)).toHaveLength(3);
    expect(() => createMigration("../x", directory)).toThrow(/cannot name a migration/);
    expect(readdirSync(directory)).toHaveLength(6);
  });
});

/** By hand: what the door would refuse to write is still an entry that must not be lost. */
async function insertEntry(database: TestDatabase): Promise<void> {
  await withClient(database.superuser, (superuser) =>
    superuser.query(`
      insert into countersign.entries (tenant_id, seq, time_ms, entry_id, prev, content, content_hash, hash)
      values ('00000000-0000-7000-8000-000000000001', 0, 1, '00000000-0000-7000-8000-000000000002', decode(repeat('00', 32), 'hex'),
              '{"id":"00000000-0000-7000-8000-000000000002"}', decode(repeat('01', 32), 'hex'), decode(repeat('02', 32), 'hex'))`),
  );
}

describe("the shipped migrations", () => {
  test("go all the way down on an empty ledger, and up to the same schema", async () => {
    await onEmpty(async (client) => {
      const up = await migrateUp(client, options);
      const first = await dumpSchema(client);
      expect(await migrateDown(client, { ...down, steps: up.length })).toEqual([...up].reverse());
      expect(await tablesOf(client)).toEqual(["migrations"]);
      expect(await migrateUp(client, options)).toEqual(up);
      expect(await dumpSchema(client)).toBe(first);
    });
  });

  test("every table is declared, and every declared table exists", async () => {
    const database = await createDatabase();
    const found = await withClient(database.owner, tablesOf);
    expect(found.filter((name) => name !== "migrations")).toEqual(Object.keys(tables).sort());
  });

  test("schema.sql shows what they make", async () => {
    const database = await createDatabase();
    const { versionNumber } = await database.storage.describe();
    if (versionNumber < 180_000 || versionNumber >= 190_000)
      return void console.info(`schema.sql is PostgreSQL 18's wording; this is ${versionNumber}: not compared`);
    const file = fileURLToPath(new URL("../../schema.sql", import.meta.url));
    const expected = await withClient(database.owner, dumpSchema);
    expect(readFileSync(file, "utf8") === expected, "`schema.sql` is behind the migrations: run `npm run schema`").toBe(
      true,
    );
  });

  test("the first migration does not go down over entries", async () => {
    await onEmpty(async (client, database) => {
      const up = await migrateUp(client, options);
      await insertEntry(database);
      expect(await refusalOf(migrateDown(client, { ...down, steps: up.length }))).toMatch(
        /^(down_refused|migration_failed): .*(ledger|entries)/,
      );
    });
  });

  test.each([
    ["empties", "truncate countersign.entries cascade"],
    ["deletes from", "delete from countersign.entries where true"],
    ["erases", "update countersign.entries set content = null where true"],
    ["drops", "drop table countersign.bodies, countersign.entries"],
  ])("a way down that %s the ledger is refused", async (_what, harm) => {
    const directory = join(temporaryDirectory(), "migrations");
    mkdirSync(directory);
    for (const { name, up, down: back } of readMigrations()) {
      writeFileSync(join(directory, `${name}.up.sql`), up);
      writeFileSync(join(directory, `${name}.down.sql`), back);
    }
    const next = `${String(readMigrations().length + 1).padStart(6, "0")}_careless`;
    writeFileSync(join(directory, `${next}.up.sql`), "select 1");
    const careless = ["entries", "bodies"]
      .map(
        (name) =>
          `alter table countersign.${name} disable trigger user; alter table countersign.${name} no force row level security;`,
      )
      .join(" ");
    writeFileSync(join(directory, `${next}.down.sql`), `set role countersign_ledger; ${careless} ${harm}; reset role;`);
    await onEmpty(async (client, database) => {
      await migrateUp(client, { ...options, directory });
      await insertEntry(database);
      expect(await refusalOf(migrateDown(client, { ...down, directory }))).toMatch(
        /^down_refused: `\d+_careless` would destroy ledger entries/,
      );
      await withClient(database.superuser, async (superuser) =>
        expect((await superuser.query("select from countersign.entries")).rowCount).toBe(1),
      );
    });
  });
});
