/** The file anchor: what every anchor promises, and what is its own. */
import { readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileAnchor } from "../src/ledger/anchors/file.js";
import { sizeOfNote } from "./support/anchors.js";
import { exerciseAnchor, type AnchorPlace } from "./support/exercise-anchor.js";
import { temporaryDirectory } from "./support/postgres.js";

const clock = { nowMs: () => Date.now() };

function makePlace(): AnchorPlace {
  const directory = join(temporaryDirectory(), "anchor");
  const away = `${directory}.away`;
  return {
    open: () => fileAnchor({ name: "disk", directory, clock }),
    breakIt: async () => renameSync(directory, away),
    repair: async () => renameSync(away, directory),
    wipe: async () => {
      for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true });
    },
    holds: async (origin) =>
      sizeOfNote(readFileSync(join(directory, encodeURIComponent(origin), "checkpoint"), "utf8")),
  };
}

exerciseAnchor("file", () => Promise.resolve(makePlace()));
