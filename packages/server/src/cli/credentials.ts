/**
 * The CLI's logins: `credentials.json` with a server, an API key and names for each profile. Only its owner can read
 * the file (0600, folder 0700), and it is written whole or not at all. An API key is only ever sent to the server it
 * was given for.
 */
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { z } from "zod";
import { CliError } from "./exit.js";
import type { Terminal } from "./terminal.js";

const profile = z.strictObject({
  url: z.url(),
  key: z.string().min(1),
  tenant: z.string(),
  principal: z.string(),
  /** For people only; the server's answer counts. */
  name: z.string().default(""),
  /** The signing key that is used unless another is named. */
  signingKey: z.string().optional(),
});
export type Profile = z.infer<typeof profile>;
const file = z.strictObject({ version: z.literal(1), profiles: z.record(z.string(), profile) });

/** `COUNTERSIGN_CONFIG`, else `$XDG_CONFIG_HOME/countersign`, else `~/.config/countersign`. */
export function configFolder(terminal: Pick<Terminal, "env" | "home">): string {
  const chosen = terminal.env["COUNTERSIGN_CONFIG"];
  if (chosen !== undefined && chosen !== "") return resolve(chosen);
  const xdg = terminal.env["XDG_CONFIG_HOME"];
  return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(terminal.home, ".config"), "countersign");
}

export function readProfiles(folder: string): Record<string, Profile> {
  const path = join(folder, "credentials.json");
  const text = readIfThere(path);
  if (text === undefined) return {};
  closeToOthers(path);
  const parsed = file.safeParse(parseJson(text));
  if (!parsed.success)
    throw new CliError(
      "credentials_damaged",
      `\`${path}\` cannot be read as credentials; move it away and log in again`,
      { help: ["countersign login"] },
    );
  return parsed.data.profiles;
}

export function writeProfile(folder: string, name: string, value: Profile | undefined): void {
  const profiles = readProfiles(folder);
  if (value === undefined) delete profiles[name];
  else profiles[name] = value;
  writePrivateFile(folder, "credentials.json", `${JSON.stringify({ version: 1, profiles }, null, 2)}\n`);
}

/** Written beside and renamed: a reader sees the old file or the new one. */
export function writePrivateFile(folder: string, name: string, text: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const path = join(folder, name);
  const draft = `${path}.${process.pid}.new`;
  try {
    writeFileSync(draft, text, { mode: 0o600, flag: "wx", flush: true });
    renameSync(draft, path);
  } catch (cause) {
    rmSync(draft, { force: true });
    throw new CliError(
      "file_unreadable",
      `cannot write \`${path}\`; check the folder's owner and the disk, or set COUNTERSIGN_CONFIG`,
      { cause },
    );
  }
}

export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new CliError("file_unreadable", `cannot read \`${path}\`; check its owner and permissions`, { cause });
  }
}

/** Others could have read it already; from now on they cannot. */
function closeToOthers(path: string): void {
  if (process.platform === "win32") return;
  if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o600);
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // The caller reports which form was expected where.
    return undefined;
  }
}
