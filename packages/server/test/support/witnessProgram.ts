/** A witness as a process of its own; killed before the n-th change it makes to the file system (0: never). Sends its address. */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const [, , directory = "", killAt = "0"] = process.argv;
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
  for (const name of ["writeFile", "sync"] as const) {
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
syncBuiltinESMExports();

const { openWitness, runWitness } = await import("../../src/witness/index.js");
const witness = await openWitness({ directory, clock: { nowMs: () => Date.now() } });
const { url } = await runWitness({ witness, host: "127.0.0.1", port: 0, report: () => undefined });
process.send?.(url);
