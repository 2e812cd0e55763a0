/**
 * Tells whether a process is alive, and whether it is the same process as before. A number alone does not show that,
 * because the system reuses numbers.
 * Promises: a process is recognised by its number and its start time; on Linux also by its working directory.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, readlinkSync } from "node:fs";

/** True when a process of this number exists, under any user. A zombie counts as gone. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  return linuxStat(pid)?.state !== "Z";
}

/** A text that is the same for one process as long as it lives, and another for a later one of the same number. */
export function processStart(pid: number): string | undefined {
  if (process.platform === "linux") return linuxStat(pid)?.start;
  try {
    const started = execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], {
      encoding: "utf8",
      env: { LC_ALL: "C", TZ: "UTC" },
    });
    return started.trim() === "" ? undefined : started.trim();
  } catch {
    return undefined; // ps says by its exit code that there is no such process
  }
}

function linuxStat(pid: number): { state: string; start: string } | undefined {
  if (process.platform !== "linux") return undefined;
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined; // no such process
  }
  // proc(5): the command, field 2, is in parentheses and may hold anything; field 3 is the state, 22 the start in ticks since boot.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", start: `${bootId()}:${fields[19] ?? ""}` };
}

function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "unknown-boot"; // a hardened container may hide it; the start ticks still tell processes of one boot apart
  }
}

/**
 * Every PostgreSQL process working in `dataDirectory` (server and backends stand in it). Undefined where the system
 * does not tell (anything but Linux).
 */
export function postgresProcessesIn(dataDirectory: string): number[] | undefined {
  if (process.platform !== "linux") return undefined;
  const found: number[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (readFileSync(`/proc/${name}/comm`, "utf8").trim() !== "postgres") continue;
      if (readlinkSync(`/proc/${name}/cwd`) === dataDirectory) found.push(Number(name));
    } catch {
      continue; // ended meanwhile, or another user's
    }
  }
  return found;
}
