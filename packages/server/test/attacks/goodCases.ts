/** What is done properly and must raise no alarm: integrity holds, the policy's demand is met, and what was done openly is said in a note. */
import { join } from "node:path";
import { writeFileSync } from "node:fs";
import { formatVerifierKey, verifierKey, type NoteClass } from "@countersign/proof";
import { openLedger, type Ledger } from "../../src/ledger/index.js";
import { listKeys, restore, restoreAsClone, rotateKeys } from "../../src/publishing/index.js";
import { openSealing } from "../../src/platform/index.js";
import { commit, committed } from "../support/ledger.js";
import type { OpenedScene, Scene, Stage, Verdict } from "./stage.js";

export interface GoodCase {
  readonly done: string;
  /** What is done; the verdict is asked for afterwards, unless it gives one itself. */
  readonly act: (scene: Scene, stage: Stage) => Promise<Verdict | undefined>;
  /** A note that must be among those of the verdict. */
  readonly note?: NoteClass;
  readonly fromBackup?: boolean;
}

const opened =
  (work: (on: OpenedScene, stage: Stage) => Promise<void>): GoodCase["act"] =>
  async (scene, stage) => {
    await scene.open((on) => work(on, stage));
    return undefined;
  };

/** Entries of somebody who goes on working. */
async function goOn(ledger: Ledger, stage: Stage, entries: number): Promise<void> {
  for (let n = 0; n < entries; n++) await committed(commit(ledger, stage.tenant));
}

export const goodCases: readonly GoodCase[] = [
  { done: "nothing", act: () => Promise.resolve(undefined) },
  {
    done: "commits go on while it is verified",
    act: (scene, stage) =>
      scene.open(async ({ ledger }) => {
        let verified = false;
        const working = (async () => {
          while (!verified) await goOn(ledger, stage, 5);
        })();
        try {
          return await scene.verify();
        } finally {
          verified = true;
          await working;
        }
      }),
  },
  {
    done: "stopped, started, and published again",
    act: async (scene, stage) => {
      for (let n = 0; n < 3; n++)
        await scene.open(async ({ ledger, anchor }) => {
          await goOn(ledger, stage, 3);
          await anchor();
        });
      return undefined;
    },
  },
  {
    done: "several processes write and publish at once",
    act: async (scene, stage) => {
      const one = () =>
        scene.open(async ({ ledger, anchor }) => {
          await Promise.all(Array.from({ length: 4 }, () => goOn(ledger, stage, 10)));
          await anchor();
        });
      await Promise.all([one(), one()]);
      return undefined;
    },
  },
  {
    done: "the log key rotated three times, with checkpoints between",
    act: opened(async ({ ledger, parts, anchor }, stage) => {
      for (const reason of ["one", "two", "three"]) {
        await rotateKeys(parts, { reason });
        await goOn(ledger, stage, 2);
        await anchor();
      }
    }),
    note: "KEY_ROTATED",
  },
  {
    done: "the first key revoked, openly, after it was replaced",
    act: opened(async ({ revoke, anchor }, stage) => {
      await revoke(stage.logKeys[0]?.publicKey ?? "", Date.now());
      await anchor();
    }),
    note: "KEY_REVOKED",
  },
  {
    done: "the texts of a change-set erased by the command for it",
    act: async (scene, stage) => {
      await scene.serve(async (ada) => {
        const subject = `change_set:${stage.applied[0] ?? ""}`;
        const erased = await ada.call("eraseSubject", { subject, reason: "on request", policy: "gdpr-art-17" });
        if (erased.status !== 200) throw new Error(JSON.stringify(erased.body));
      });
      return undefined;
    },
    note: "ERASED",
  },
  {
    done: "the beginning pruned after it was archived",
    act: async (scene, stage) => {
      await scene.serve(async (ada) => {
        const pruned = await ada.call("pruneLedger", { upTo: stage.anchored[1] ?? 0, archive: "first" });
        if (pruned.status !== 200 && pruned.status !== 201) throw new Error(JSON.stringify(pruned.body));
      });
      return undefined;
    },
    note: "PRUNED",
  },
  {
    done: "the clock of the server four seconds behind",
    act: opened(async ({ storage, dataDirectory }, stage) => {
      const clock = { nowMs: () => Date.now() - 4_000 };
      const ledger = await openLedger({ storage, sealing: openSealing({ dataDirectory }), clock });
      await goOn(ledger, stage, 5);
      await ledger.close();
    }),
  },
  {
    done: "an older backup restored, and said so with a signed entry",
    act: opened(async ({ parts, ledger, publishing }, stage) => {
      await publishing.stop();
      await restore(parts, { reason: "the disk died" });
      await goOn(ledger, stage, 2);
    }),
    fromBackup: true,
    note: "RESTORED",
  },
  {
    done: "a copy made a deployment of its own",
    act: async (scene, stage) => {
      const key = await scene.open(async ({ parts, publishing }) => {
        await publishing.stop();
        const folder = join(scene.dataDirectory, "keys-of-the-clone");
        const clone = await restoreAsClone({ ...parts, folder }, { reason: "a test system" });
        return { deployment: clone.deployment, folder };
      });
      const { keys } = await listKeys({ folder: key.folder, signer: undefined, clock: { nowMs: Date.now } }, undefined);
      const policy = join(stage.auditor, "policy-of-the-clone");
      const log = verifierKey({ name: key.deployment, type: 1, publicKey: keys[0]?.publicKey ?? "" });
      writeFileSync(policy, `log ${formatVerifierKey(log)}\nquorum none\n`);
      return scene.verify({ policy });
    },
  },
];
