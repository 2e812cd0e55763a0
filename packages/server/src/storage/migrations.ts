/**
 * Brings a database's schema up and down by plain SQL files, `NNNNNN_what.up.sql` and `NNNNNN_what.down.sql`.
 *
 * Promises:
 * - Each migration is one transaction together with its record: it happened or it did not.
 * - Two runners exclude each other by an advisory lock.
 * - A database whose history differs from the files (edited, missing, newer) is refused, and the refusal says what to
 *   do.
 * - The checksum is SHA-256 of the two files' exact bytes; stored checksums depend on that for ever.
 * - Going down never destroys ledger entries, and never happens without `confirmed`.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sha256Hex } from "@countersign/proof";
import pg from "pg";
import { failure } from "./failure.js";
import * as queries from "./queries.js";
import { tableClasses } from "./tables.js";

/** The migrations shipped with this program. */
export const migrationsDirectory = fileURLToPath(new URL("../../migrations/", import.meta.url));

export interface Migration {
  readonly number: number;
  /** `000001_ledger` */
  readonly name: string;
  readonly up: string;
  readonly down: string;
  readonly checksum: string;
}

export interface MigrationStatus {
  readonly applied: readonly queries.AppliedMigration[];
  readonly pending: readonly Pick<Migration, "number" | "name">[];
}

export interface RunOptions {
  /** Written beside each migration. */
  readonly appVersion: string;
  readonly nowMs: () => number;
  readonly directory?: string;
}

const FILE = /^(\d{6})_([a-z0-9_]+)\.(up|down)\.sql$/;

/** Reads and checks a directory of migrations: numbered from 1 without gaps, each in both directions. */
export function readMigrations(directory: string = migrationsDirectory): Migration[] {
  const names = new Map<number, string>();
  for (const file of readdirSync(directory)
    .filter((name) => name.endsWith(".sql"))
    .sort()) {
    const parts = FILE.exec(file);
    if (parts === null)
      throw failure("migration_missing", `\`${file}\` is not named like \`000001_what.up.sql\`; rename it`);
    const [number, name] = [Number(parts[1]), `${parts[1]}_${parts[2]}`];
    if ((names.get(number) ?? name) !== name)
      throw failure("migration_missing", `\`${name}\` and \`${names.get(number)}\` have one number; renumber one`);
    names.set(number, name);
  }
  return [...names].map(([number, name], index) => {
    if (number !== index + 1)
      throw failure(
        "migration_missing",
        `there is no migration ${index + 1} in \`${directory}\`; numbers have no gaps`,
      );
    const [up, down] = [readDirection(directory, name, "up"), readDirection(directory, name, "down")];
    return { number, name, up, down, checksum: sha256Hex(`${up}\0${down}`) };
  });
}

function readDirection(directory: string, name: string, direction: "up" | "down"): string {
  try {
    return readFileSync(join(directory, `${name}.${direction}.sql`), "utf8");
  } catch (cause) {
    throw failure("migration_missing", `\`${name}.${direction}.sql\` is missing; every migration has both directions`, {
      cause,
    });
  }
}

/** The applied and the pending migrations. Throws `migration_edited`, `migration_missing`, `migration_newer`. */
export async function migrationStatus(client: queries.Queryable, directory?: string): Promise<MigrationStatus> {
  const files = readMigrations(directory);
  const applied = await queries.readApplied(client);
  checkHistory(files, applied);
  return { applied, pending: files.slice(applied.length).map(({ number, name }) => ({ number, name })) };
}

function checkHistory(files: readonly Migration[], applied: readonly queries.AppliedMigration[]): void {
  const newest = files.at(-1)?.number ?? 0;
  applied.forEach((row, index) => {
    if (row.number > newest) {
      throw failure(
        "migration_newer",
        `the database has migration \`${row.name}\`, made by Countersign ${row.appVersion}; this program knows ${newest}: run that version or a later one`,
      );
    }
    const file = files[index];
    if (file === undefined || file.number !== row.number) {
      throw failure(
        "migration_missing",
        `migration ${index + 1} is not recorded in the database though later ones are; restore a backup`,
      );
    }
    if (file.name !== row.name) {
      throw failure(
        "migration_missing",
        `the applied migration \`${row.name}\` is not among the files (\`${file.name}\` has its number); restore the file`,
      );
    }
    if (file.checksum !== row.checksum) {
      throw failure(
        "migration_edited",
        `\`${row.name}\` was edited after it was applied; restore the file and write a new migration instead`,
      );
    }
  });
}

/** Throws `schema_behind` unless every migration is applied. */
export async function assertSchemaCurrent(client: queries.Queryable, directory?: string): Promise<void> {
  const { pending } = await migrationStatus(client, directory);
  if (pending.length === 0) return;
  throw failure(
    "schema_behind",
    `${pending.length} migrations are not applied, first \`${pending[0]?.name}\`; run \`countersign migrate up\``,
  );
}

/** Applies all pending migrations. Returns their names. */
export async function migrateUp(client: pg.ClientBase, options: RunOptions): Promise<string[]> {
  return withLock(client, async () => {
    const files = readMigrations(options.directory);
    await queries.ensureMigrationTable(client);
    const applied = await queries.readApplied(client);
    checkHistory(files, applied);
    const done: string[] = [];
    for (const migration of files.slice(applied.length)) {
      await inTransaction(client, migration.name, async () => {
        await client.query(migration.up);
        const { number, name, checksum } = migration;
        await queries.recordApplied(client, {
          number,
          name,
          checksum,
          appliedAtMs: options.nowMs(),
          appVersion: options.appVersion,
        });
        await deriveFromTables(client, number === files.length);
      });
      done.push(migration.name);
    }
    return done;
  });
}

export interface DownOptions extends RunOptions {
  /** How many migrations back; at least 1. */
  readonly steps: number;
  /** The person has said that data may be lost. */
  readonly confirmed: boolean;
}

/** Takes the newest migrations back. Throws `down_refused` without confirmation or where ledger entries would be lost. */
export async function migrateDown(client: pg.ClientBase, options: DownOptions): Promise<string[]> {
  if (!options.confirmed)
    throw failure(
      "down_refused",
      "going down drops tables with all their rows; repeat with `--yes` once you have a backup",
    );
  return withLock(client, async () => {
    const files = readMigrations(options.directory);
    const applied = await queries.readApplied(client);
    checkHistory(files, applied);
    const done: string[] = [];
    for (const row of applied.slice(-options.steps).reverse()) {
      const migration = files[row.number - 1];
      if (migration === undefined) throw new Error("history was checked, yet a file is missing");
      await inTransaction(client, migration.name, async () => {
        const before = await queries.countLedgerRows(client);
        await client.query(migration.down);
        // INVARIANT: ledger entries survive every way down.
        if ((await queries.countLedgerRows(client)) < before) {
          throw failure(
            "down_refused",
            `\`${migration.name}\` would destroy ledger entries; they are never destroyed. Restore an older backup into another database instead`,
          );
        }
        await queries.forgetApplied(client, migration.number);
        await deriveFromTables(client, false);
      });
      done.push(migration.name);
    }
    return done;
  });
}

/** Writes an empty pair with the next number. Returns the two paths. */
export function createMigration(what: string, directory: string = migrationsDirectory): string[] {
  const name = what
    .trim()
    .toLowerCase()
    .replaceAll(/[\s-]+/g, "_");
  if (!/^[a-z][a-z0-9_]*$/.test(name))
    throw failure("migration_missing", `\`${what}\` cannot name a migration; use letters, digits and underscores`);
  const number = String(readMigrations(directory).length + 1).padStart(6, "0");
  return (["up", "down"] as const).map((direction) => {
    const path = join(directory, `${number}_${name}.${direction}.sql`);
    writeFileSync(path, direction === "up" ? "-- why this is needed\n" : "-- what is lost by going back\n", {
      flag: "wx",
    });
    return path;
  });
}

/**
 * The grants and the door's SQL follow from the tables that exist after each step, the classes (table comments) first. On the way only tables that
 * are there are declared; with the newest migration all must be.
 */
async function deriveFromTables(client: queries.Queryable, complete: boolean): Promise<void> {
  const present = await queries.readTableNames(client);
  const classes = Object.entries(tableClasses()).filter(([name]) => complete || present.has(name));
  if (await queries.functionExists(client, "apply_grants"))
    await queries.applyGrants(client, Object.fromEntries(classes));
  if (await queries.functionExists(client, "rebuild_door")) await queries.rebuildDoor(client);
}

async function withLock<T>(client: pg.ClientBase, work: () => Promise<T>): Promise<T> {
  await queries.lockMigrations(client);
  try {
    return await work();
  } finally {
    // A broken connection has already given the lock back; the work's own error is the one to report.
    await queries.unlockMigrations(client).catch(() => undefined);
  }
}

async function inTransaction(client: queries.Queryable, name: string, work: () => Promise<void>): Promise<void> {
  await client.query("begin");
  try {
    await work();
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => undefined); // a broken connection has rolled back
    if (!(error instanceof pg.DatabaseError)) throw error;
    const where = error.position === undefined ? "" : ` at character ${error.position}`;
    throw failure("migration_failed", `\`${name}\` failed${where}: ${error.message}; the migration was rolled back`, {
      cause: error,
    });
  }
}
