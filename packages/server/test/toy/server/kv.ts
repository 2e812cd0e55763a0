/**
 * The toy kind: values in one JSON file of the data directory. Compensating, and its acts must not run twice at once: two that read the
 * file before either writes it would lose one of their changes.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ItemInput, JsonValue, Problem, TargetKindName } from "@countersign/contract";
import { resourceStateHash } from "@countersign/proof";
import {
  absentState,
  netEffects,
  sameState,
  type CompensatingTargetKind,
  type Effect,
  type StateImage,
  type TargetKindModule,
  type TargetRef,
} from "../../../src/targets/target.js";
import { checkFields } from "../../../src/targets/fields.rules.js";
import { kvDescriptor, type KvTarget } from "../contract/kv.js";

const name = "kv" as TargetKindName;

export interface KvImage extends StateImage {
  readonly value?: JsonValue;
}
type KvEffect = Effect<TargetRef, KvImage>;
type Values = Readonly<Record<string, JsonValue>>;

const refOf = ({ store, key, environment }: Omit<KvTarget, "kind">): TargetRef => ({
  kind: name,
  type: "KV",
  id: `${store}:${key}`,
  environment,
  key: `kv:${environment}:${store}:${key}`,
});
const imageOf = (value: JsonValue): KvImage => ({ exists: true, hash: resourceStateHash(value), value });
const absent: KvImage = absentState.image;

/** Values by the key of their target. */
export const valuesFile = (dataDirectory: string): string => join(dataDirectory, "values.json");
function read(file: string): Values {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Values;
  } catch {
    return {}; // nothing was ever kept
  }
}

/** The values an item is about, by their refs; those of a group first. */
function targetsOf({ target, to, after, operation }: ItemInput): TargetRef[] {
  const { store, key, environment } = target as unknown as KvTarget;
  const at = (other: string): TargetRef => refOf({ store, key: other, environment });
  if (operation === "CREATE" && key.endsWith("/"))
    return Object.keys(after as object).map((member) => at(key + member));
  return to?.id === undefined ? [at(key)] : [at(key), at(to.id)];
}

function check(item: ItemInput, pointer: string) {
  const rule = (kvDescriptor.fields as Partial<Record<ItemInput["operation"], object>>)[item.operation];
  const problems: readonly Problem[] =
    rule === undefined
      ? [{ code: "operation_unsupported", message: "means nothing for a value", pointer: `${pointer}/operation` }]
      : checkFields(item, rule, pointer, kvDescriptor.noun);
  return problems.length > 0 ? problems : { input: item, kind: name, targets: targetsOf(item) };
}

const problem = (code: Problem["code"], pointer: string, { id }: TargetRef): Problem[] => [
  { code, pointer: `${pointer}/target/key`, message: `\`${id}\`: ${code}` },
];

function effectsOf(item: ItemInput, states: readonly (readonly [TargetRef, KvImage])[], pointer: string) {
  const [[ref, image] = [undefined, absent], destination] = states;
  if (ref === undefined) return [{ code: "no_effect" as const, message: "the group is empty", pointer }];
  if (item.operation === "CREATE") {
    const members = states.length === 1 && !(item.target as unknown as KvTarget).key.endsWith("/");
    const next = (at: TargetRef): JsonValue =>
      members
        ? (item.after as JsonValue)
        : ((item.after as Record<string, JsonValue>)[at.id.split("/").at(-1) ?? ""] as JsonValue);
    const taken = states.find(([, { exists }]) => exists);
    if (taken !== undefined) return problem("target_exists", pointer, taken[0]);
    return states.map(([target]): KvEffect => ({ target, before: absent, after: imageOf(next(target)) }));
  }
  if (!image.exists) return problem("target_not_found", pointer, ref);
  if (item.operation === "DELETE") return [{ target: ref, before: image, after: absent }];
  if (destination !== undefined) {
    if (destination[1].exists) return problem("target_exists", pointer, destination[0]);
    return [
      { target: destination[0], before: absent, after: image },
      { target: ref, before: image, after: absent },
    ];
  }
  const after = imageOf(item.after as JsonValue);
  return sameState(image, after) ? problem("no_effect", pointer, ref) : [{ target: ref, before: image, after }];
}

const isEffects = (found: readonly KvEffect[] | readonly Problem[]): found is readonly KvEffect[] =>
  found.every((one) => "target" in one);

/** Brings all values to their states after in one write, or none. */
function bring(file: string, effects: readonly KvEffect[]): Problem | undefined {
  const values = { ...read(file) };
  for (const { target, before, after } of effects) {
    const now = Object.hasOwn(values, target.key) ? imageOf(values[target.key] as JsonValue) : absent;
    if (!sameState(now, before) && !sameState(now, after))
      return { code: "drift", message: `\`${target.id}\` is not in the state the plan was made for; revise` };
    if (after.exists) values[target.key] = after.value as JsonValue;
    else delete values[target.key];
  }
  writeFileSync(`${file}.new`, JSON.stringify(values));
  renameSync(`${file}.new`, file);
  return undefined;
}

function kvKind(file: string): CompensatingTargetKind<TargetRef, KvImage> {
  const stateOf = ({ key }: TargetRef): { image: KvImage } => {
    const values = read(file);
    return { image: Object.hasOwn(values, key) ? imageOf(values[key] as JsonValue) : absent };
  };
  return {
    name,
    atomic: false,
    concurrentActs: "exclusive",
    check: async (item, pointer) => check(item, pointer),
    read: async (ref) => stateOf(ref),
    plan: async (item, pointer, view) => {
      const states: (readonly [TargetRef, KvImage])[] = [];
      for (const ref of item.targets) states.push([ref, (await view.state(ref)).image]);
      const effects = effectsOf(item.input, states, pointer);
      if (!isEffects(effects)) return effects;
      const diff = effects.map(({ target, after }) => ({
        op: "replace",
        path: `/${target.id}`,
        value: after.value ?? null,
      }));
      return { effects, diff, reversibility: "exact", flags: [], blobs: new Map() };
    },
    act: async ({ effects }) => {
      const refused = bring(file, netEffects(effects));
      return refused === undefined ? { kind: "done" } : { kind: "refused", problem: refused };
    },
    tidy: async () => undefined,
  };
}

const isTrueImage = ({ exists, hash, value }: KvImage): boolean =>
  exists ? value !== undefined && imageOf(value).hash === hash : hash === null && value === undefined;

export const kv: TargetKindModule = {
  rules: {
    isTrue: ({ target, before, after }: KvEffect) =>
      target.key === `kv:${target.environment}:${target.id}` && isTrueImage(before) && isTrueImage(after),
    outcome: ({ hash }: KvImage) => hash,
    characters: ({ value }: KvImage) => JSON.stringify(value ?? null).length,
    backups: () => [],
    needs: () => [],
    bareTarget: (environment, erased) => ({ kind: "kv", store: erased, key: erased, environment }) as never,
    bareImage: ({ exists, hash }: KvImage) => ({ exists, hash }),
    stays: { what: "values in stores", beyond: true },
    openKeys: async () => (key) => {
      const [, environment, store, ...rest] = key.split(":");
      return [environment, store, rest.join(":")];
    },
  },
  open: ({ dataDirectory }) => kvKind(valuesFile(dataDirectory)),
};
