/**
 * A process that submits to a file or git anchor and is killed by its own hand: before the n-th change it makes to the file system,
 * or together with the n-th git it starts. Arguments: kind, directory, sizes (`300,900`), n (0: never). Sends the size of each receipt, then "done".
 */
import childProcess from "node:child_process";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const [, , kind = "", directory = "", sizes = "", killAt = "0"] = process.argv;
let step = 0;
function change(): void {
  step += 1;
  if (step === Number(killAt)) process.kill(process.pid, "SIGKILL");
}

const { promises } = fs;
for (const name of ["link", "rename", "mkdir", "unlink", "rm"] as const) {
  const original = promises[name] as (...given: unknown[]) => Promise<unknown>;
  Object.assign(promises, {
    [name]: (...given: unknown[]) => {
      change();
      return original(...given);
    },
  });
}
const open = promises.open.bind(promises);
promises.open = async (...given: Parameters<typeof open>) => {
  const handle = await open(...given);
  for (const name of ["write", "writeFile", "sync"] as const) {
    const original = handle[name].bind(handle) as (...given: unknown[]) => Promise<unknown>;
    Object.assign(handle, {
      [name]: (...written: unknown[]) => {
        change();
        return original(...written);
      },
    });
  }
  return handle;
};
if (kind === "git") {
  const spawn = childProcess.spawn.bind(childProcess) as (...given: unknown[]) => childProcess.ChildProcess;
  Object.assign(childProcess, {
    spawn: (...given: unknown[]) => {
      const child = spawn(...given);
      step += 1;
      // The git that was started gets as far as it gets.
      if (step === Number(killAt)) {
        child.kill("SIGKILL");
        process.kill(process.pid, "SIGKILL");
      }
      return child;
    },
  });
}
syncBuiltinESMExports();

const { fileAnchor } = await import("../../src/publishing/anchors/file.js");
const { gitAnchor } = await import("../../src/publishing/anchors/git.js");
const { MemoryLog } = await import("./anchors.js");

const options = { name: "killed", directory, clock: { nowMs: () => Date.now() } };
const anchor = kind === "git" ? gitAnchor(options) : fileAnchor(options);
const log = new MemoryLog();
let anchored = 0;
for (const size of sizes.split(",").map(Number)) {
  const receipt = await anchor.submit(await log.submission(size, anchored));
  anchored = receipt.size;
  process.send?.(receipt.size);
}
process.send?.("done");
process.disconnect();
