/** The client of a witness, against the witness of this package. */
import { rmSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { formatVerifierKey, parseVerifierKey, verifierKey } from "@countersign/proof";
import { witnessAnchor } from "../../src/publishing/anchors/witness.js";
import { addLog, initWitness, openWitness, runWitness, type RunningWitness } from "../../src/witness/index.js";
import { logKey, sizeOfNote } from "../support/anchors.js";
import { exerciseAnchor, type AnchorPlace } from "../support/exercise-anchor.js";
import { temporaryDirectory } from "../support/postgres.js";
import { afterAll } from "vitest";

const clock = { nowMs: () => Date.now() };
const running = new Set<RunningWitness>();
afterAll(async () => {
  for (const witness of running) await witness.close();
});

async function makePlace(): Promise<AnchorPlace> {
  const directory = join(temporaryDirectory(), "witness");
  const { vkey } = await initWitness({ directory, name: "witness.example/w1" });
  await addLog(directory, formatVerifierKey(verifierKey({ name: "acme", type: 1, publicKey: logKey().publicKey })));
  const start = async (port: number): Promise<RunningWitness> => {
    const witness = await openWitness({ directory, clock });
    const started = await runWitness({ witness, host: "127.0.0.1", port, report: () => undefined });
    running.add(started);
    return started;
  };
  let served = await start(0);
  const { url } = served;
  const key = parseVerifierKey(vkey);
  if (key === undefined) throw new Error("no key");
  const stop = async (): Promise<void> => {
    running.delete(served);
    await served.close();
  };
  return {
    open: () => witnessAnchor({ name: "w1", url, key }),
    breakIt: stop,
    repair: async () => {
      served = await start(Number(new URL(url).port));
    },
    wipe: async () => {
      rmSync(join(directory, "state"), { recursive: true });
      mkdirSync(join(directory, "state"));
    },
    holds: async (origin) => {
      const response = await fetch(`${url}/checkpoint?origin=${encodeURIComponent(origin)}`);
      return response.status === 404 ? undefined : sizeOfNote(await response.text());
    },
  };
}

exerciseAnchor("witness", makePlace);
