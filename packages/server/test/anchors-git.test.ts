/** The git anchor: what every anchor promises, and what is its own. */
import { execFileSync } from "node:child_process";
import { renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { gitAnchor } from "../src/ledger/anchors/git.js";
import { sizeOfNote } from "./support/anchors.js";
import { exerciseAnchor, type AnchorPlace } from "./support/exercise-anchor.js";
import { temporaryDirectory } from "./support/postgres.js";

const clock = { nowMs: () => Date.now() };

function git(directory: string, ...args: string[]): string {
  return execFileSync("git", args, { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

function makePlace(): AnchorPlace {
  const directory = join(temporaryDirectory(), "anchor");
  const away = `${directory}.away`;
  return {
    open: () => gitAnchor({ name: "repository", directory, clock }),
    breakIt: async () => renameSync(directory, away),
    repair: async () => renameSync(away, directory),
    wipe: async () => {
      rmSync(directory, { recursive: true });
      git(join(directory, ".."), "init", "-q", "anchor");
    },
    holds: async (origin) => sizeOfNote(git(directory, "show", `HEAD:${encodeURIComponent(origin)}/checkpoint`)),
  };
}

exerciseAnchor("git", () => Promise.resolve(makePlace()));
