/** `countersign witness` and `countersign anchors` as people type them; the witness as a process that is killed. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatVerifierKey, parseVerifierKey, verifierKey } from "@countersign/proof";
import { afterAll, describe, expect, it } from "vitest";
import { witnessAnchor } from "../../src/publishing/anchors/witness.js";
import { logKey, MemoryLog } from "../support/anchors.js";
import { Machine } from "../support/cli.js";

const hooks = new URL("../support/typescriptHooks.mjs", import.meta.url).href;
const program = fileURLToPath(new URL("../support/cliProgram.ts", import.meta.url));
const logVkey = formatVerifierKey(verifierKey({ name: "acme", type: 1, publicKey: logKey().publicKey }));
const running = new Set<ChildProcess>();
afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
});

/** Resolves with what it says first. */
async function runWitness(machine: Machine, directory: string): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(
    process.execPath,
    ["--import", hooks, program, "witness", "run", "--dir", directory, "--port", "0", "--json"],
    { env: { PATH: process.env["PATH"], HOME: machine.home }, stdio: ["ignore", "pipe", "inherit"] },
  );
  running.add(child);
  let text = "";
  for await (const piece of child.stdout ?? []) {
    text += String(piece);
    if (text.trimEnd().endsWith("}")) break;
  }
  return { child, url: (JSON.parse(text) as { url: string }).url };
}

describe("countersign witness", () => {
  it("is made, told a log, run, killed, run again, and remembers", async () => {
    const machine = new Machine();
    const directory = join(machine.home, "w");
    const init = await machine.run(["witness", "init", "--name", "w.example/1", "--dir", directory, "--json"]);
    expect(init).toMatchObject({ code: 0, stderr: "" });
    const { vkey } = JSON.parse(init.stdout) as { vkey: string };
    expect(await machine.run(["witness", "add-log", logVkey, "--dir", directory])).toMatchObject({ code: 0 });
    const key = parseVerifierKey(vkey);
    if (key === undefined) throw new Error(`\`${vkey}\` is no key`);

    const log = new MemoryLog();
    const first = await runWitness(machine, directory);
    await witnessAnchor({ name: "w", url: first.url, key }).submit(await log.submission(300));
    first.child.kill("SIGKILL");
    await once(first.child, "exit");
    const second = await runWitness(machine, directory);
    const anchor = witnessAnchor({ name: "w", url: second.url, key });
    const forged = new MemoryLog({ story: "forged" });
    await expect(anchor.submit(await forged.submission(400))).rejects.toMatchObject({
      how: "inconsistent",
      holds: 300,
    });
    expect((await anchor.submit(await log.submission(400))).size).toBe(400);

    const list = await machine.run(["witness", "list", "--dir", directory, "--json"]);
    expect(JSON.parse(list.stdout)).toMatchObject({
      ...{ name: "w.example/1", vkey },
      logs: [{ name: "acme", trusted: [logKey().publicKey] }],
      cosigned: [{ origin: log.origin, size: 400 }],
    });
    expect((await machine.run(["witness", "list", "--dir", directory])).stdout).toContain(log.origin);
    second.child.kill("SIGTERM");
    expect(await once(second.child, "exit")).toEqual([0, null]);
  });

  const wrong: readonly (readonly [string, readonly string[], number, string])[] = [
    ["no name", ["init"], 64, "--name"],
    ["a name with a space", ["init", "--name", "a b"], 3, "is no name of a witness"],
    ["no witness there", ["run"], 3, "there is no witness"],
    ["a log for no witness", ["add-log", logVkey], 3, "there is no witness"],
    ["neither key nor statements", ["add-log"], 64, "--statements FILE"],
    ["a port beyond", ["run", "--port", "70000"], 64, "is no port"],
    ["a host that is none", ["run", "--host", "a b"], 64, "is no address"],
  ];
  it.each(wrong)("%s is told", async (_what, args, code, message) => {
    const done = await new Machine().run(["witness", ...args]);
    expect({ code: done.code, told: done.stderr.includes(message) }).toEqual({ code, told: true });
  });

  it("is not made twice in one folder", async () => {
    const machine = new Machine();
    expect((await machine.run(["witness", "init", "--name", "a"])).code).toBe(0);
    expect(await machine.run(["witness", "init", "--name", "b"])).toMatchObject({ code: 3 });
  });
});

describe("countersign anchors list", () => {
  it("says when there is no database", async () => {
    const none = await new Machine().run(["anchors", "list"]);
    expect(none.code).toBe(3);
    expect(none.stderr).toContain("there is no database on this machine");
  });
});
