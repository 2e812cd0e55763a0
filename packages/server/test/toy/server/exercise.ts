/** The toy kind's world for the conformance suite, and a case for every operation it has. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JsonValue } from "@countersign/contract";
import { resourceStateHash } from "@countersign/proof";
import type { CompensatingTargetKind } from "../../../src/targets/index.js";
import { inTurn } from "../../../src/targets/locks.js";
import type { Exercise, ExerciseCase, TargetWorld } from "../../support/exercise-target.js";
import { kv, valuesFile } from "./kv.js";

interface KvWorld extends TargetWorld {
  readonly file: string;
}

async function open(): Promise<KvWorld> {
  const dataDirectory = mkdtempSync(join(tmpdir(), "cs-test-kv-"));
  const file = valuesFile(dataDirectory);
  const kind = kv.open({ dataDirectory, checkConfiguration: () => [] }) as CompensatingTargetKind;
  // It keeps nothing in the database: what a kind may ask of it is never asked.
  const none = () => Promise.reject(new Error("the toy asks the database nothing"));
  const context = { blobs: { put: none, get: none }, look: none, signal: new AbortController().signal } as never;
  return {
    kind,
    file,
    within: (use) => use(context),
    observe: async () =>
      existsSync(file) ? resourceStateHash(JSON.parse(readFileSync(file, "utf8")) as JsonValue) : "{}",
    // Its acts must not run twice at once: the engine sees to that.
    apply: (effects, token) => inTurn([file], () => kind.act({ effects, token }, context)),
    check: async () => [],
    close: async () => rmSync(dataDirectory, { recursive: true, force: true }),
  };
}

const target = { kind: "kv", store: "flags", key: "a", environment: "development" };
const keep = (values: Record<string, JsonValue>) => async (world: KvWorld) =>
  writeFileSync(
    world.file,
    JSON.stringify(
      Object.fromEntries(Object.entries(values).map(([key, value]) => [`kv:development:flags:${key}`, value])),
    ),
  );
const cases: readonly ExerciseCase<KvWorld>[] = [
  {
    name: "CREATE",
    prepare: keep({ z: 1 }),
    item: { operation: "CREATE", target, after: { on: true } },
    drift: keep({ a: 2 }),
  },
  {
    name: "CREATE of a group of five",
    prepare: keep({ z: 1 }),
    item: { operation: "CREATE", target: { ...target, key: "g/" }, after: { a: 1, b: 2, c: 3, d: 4, e: 5 } },
    drift: keep({ "g/d": 2 }),
  },
  { name: "UPDATE", prepare: keep({ a: 1 }), item: { operation: "UPDATE", target, after: 2 }, drift: keep({ a: 3 }) },
  { name: "DELETE", prepare: keep({ a: 1 }), item: { operation: "DELETE", target }, drift: keep({ a: 3 }) },
  {
    name: "RENAME",
    prepare: keep({ a: 1 }),
    item: { operation: "RENAME", target, to: { id: "b" } },
    drift: keep({ b: 3 }),
  },
];
const refused = (["MOVE", "RESIZE", "REORDER", "CHANGE_PROPERTY", "ADD_CHILD", "REMOVE_CHILD"] as const).map(
  (operation) => ({
    operation,
    target,
  }),
);

export const kvExercise: Exercise<KvWorld> = { open, cases, refused };
