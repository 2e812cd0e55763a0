/**
 * The resource kind: JSON documents kept by Countersign itself. Atomic: what is written is in the commit that records it.
 *
 * Promises: a document is exactly what was planned, or nothing changed; every revision is kept; a deleted resource leaves a
 * tombstone under its name, so that the same resource can come back. Identity is (environment, type, id) for ever.
 */
import {
  type EffectFlag,
  type EventData,
  type ItemInput,
  type JsonValue,
  type Problem,
  visible,
} from "@countersign/contract";
import {
  moveEpoch,
  type Actor,
  type DecideContext,
  type EntryDraft,
  type Guard,
  type Write,
} from "../../ledger/index.js";
import { isReferenced, resourceByName, resourcesByName, type ResourceRow } from "./queries.js";
import {
  absent,
  checkResourceItem,
  configType,
  epochsOf,
  planResource,
  type ResourceEffect,
  resourceFlags,
  type ResourceImage,
  resourceRef,
  type ResourceRef,
  resourceTargets,
  schemaOf,
  schemaRef,
} from "./resource.rules.js";
import { compileSchema, isCompiled } from "./schemas.js";
import {
  absentState,
  type AtomicTargetKind,
  type CheckConfiguration,
  type CheckedItem,
  netEffects,
  type PlannedItem,
  type PlanView,
  sameState,
  type TargetContext,
  type TargetReads,
  type TargetsOptions,
} from "../target.js";

export function resourceKind(
  options: Pick<TargetsOptions, "checkConfiguration">,
): AtomicTargetKind<ResourceRef, ResourceImage> {
  return {
    name: "resource",
    atomic: true,
    check: (item, pointer) => Promise.resolve(check(item, pointer)),
    read,
    together: { planReads, readAll },
    plan: (item, pointer, view, context) => plan(item, pointer, view, context, options.checkConfiguration),
    change,
  };
}

function check(item: ItemInput, pointer: string): CheckedItem<ResourceRef> | readonly Problem[] {
  const problems = checkResourceItem(item, pointer);
  return problems.length > 0 ? problems : { input: item, kind: "resource", targets: resourceTargets(item) };
}

async function read(ref: ResourceRef, context: TargetReads): Promise<{ readonly image: ResourceImage }> {
  const row = await context.look((snapshot) => resourceByName(snapshot, ref.environment, ref.type, ref.id));
  return row === undefined ? absentState : { image: imageOf(row) };
}

/** With the schema of what comes out of it: `checkAfter` asks for that of its type, unless it is a configuration itself. */
function planReads({ targets }: CheckedItem<ResourceRef>): ResourceRef[] {
  return targets.flatMap((ref) => (ref.type === configType ? [ref] : [ref, schemaRef(ref.type)]));
}

async function readAll(
  refs: readonly ResourceRef[],
  context: TargetReads,
): Promise<ReadonlyMap<string, { readonly image: ResourceImage }>> {
  const asked = [...new Map(refs.map((ref) => [ref.key, ref])).values()];
  if (asked.length === 0) return new Map();
  const rows = new Map(
    (await context.look((snapshot) => resourcesByName(snapshot, asked))).map((row) => [
      resourceRef(row.environment, row.type, row.resourceId).key,
      row,
    ]),
  );
  return new Map(
    asked.map(({ key }) => {
      const row = rows.get(key);
      return [key, row === undefined ? absentState : { image: imageOf(row) }];
    }),
  );
}

function imageOf(row: ResourceRow | undefined): ResourceImage {
  return row === undefined || row.deleted ? absent : { exists: true, hash: row.hash, document: row.document };
}

async function plan(
  item: CheckedItem<ResourceRef>,
  pointer: string,
  view: PlanView,
  context: TargetContext,
  checkConfiguration: CheckConfiguration,
): Promise<PlannedItem | readonly Problem[]> {
  const targets: { ref: ResourceRef; image: ResourceImage }[] = [];
  for (const ref of item.targets) targets.push({ ref, image: (await view.state(ref)).image as ResourceImage });
  const planned = planResource(item.input, targets, pointer);
  if ("length" in planned) return planned;
  const problems: Problem[] = [];
  for (const effect of planned.effects) problems.push(...(await checkAfter(effect, pointer, view, checkConfiguration)));
  if (problems.length > 0) return problems;
  const flags = await flagsOf(planned.effects, context);
  return { effects: planned.effects, diff: planned.diff, reversibility: "exact", flags, blobs: new Map() };
}

/** What the document after must be: a schema, a configuration, or what the schema of its type says. */
async function checkAfter(
  { target, after }: ResourceEffect,
  pointer: string,
  view: PlanView,
  checkConfiguration: CheckConfiguration,
): Promise<readonly Problem[]> {
  const document = after.document ?? null;
  if (schemaOf(target) !== undefined) return checkSchema(target, after, pointer);
  if (target.type === configType) return checkConfiguration(target, document, pointer);
  if (document === null) return [];
  const schema = (await view.state(schemaRef(target.type))).image as ResourceImage;
  if (!schema.exists || schema.hash === null) return [];
  const compiled = compileSchema(schema.document as JsonValue, schema.hash, "");
  // A schema is checked before it is kept; one that no longer compiles (another version of the program) stops what it guards.
  return isCompiled(compiled)
    ? compiled.check(document, pointer)
    : compiled.map((problem) => ({ ...problem, pointer: `${pointer}/target/type` }));
}

function checkSchema(target: ResourceRef, after: ResourceImage, pointer: string): readonly Problem[] {
  const type = schemaOf(target) ?? "";
  if (type === configType || !/^[A-Z][A-Z0-9_]{0,62}$/.test(type)) {
    return [
      {
        code: "schema_unsupported",
        message: `\`${visible(type)}\` is not a type that takes a schema`,
        pointer: `${pointer}/target/id`,
      },
    ];
  }
  if (after.document === undefined || after.hash === null) return [];
  const compiled = compileSchema(after.document, after.hash, pointer);
  return isCompiled(compiled) ? [] : compiled;
}

async function flagsOf(effects: readonly ResourceEffect[], context: TargetContext): Promise<EffectFlag[]> {
  const source = effects.length === 2 ? effects[1]?.target : undefined;
  if (source === undefined) return resourceFlags(effects, false);
  const row = await resourceByName(context.snapshot, source.environment, source.type, source.id);
  return resourceFlags(
    effects,
    await isReferenced(context.snapshot, source.id, row?.id ?? "00000000-0000-0000-0000-000000000000"),
  );
}

interface Step {
  readonly effect: ResourceEffect;
  readonly row: ResourceRow | undefined;
}

async function change(
  effects: readonly ResourceEffect[],
  by: { readonly actor: Actor; readonly changeSetId: string },
  context: TargetContext,
) {
  const net = netEffects(effects);
  const rows = await resourcesByName(
    context.snapshot,
    net.map((effect) => effect.target),
  );
  const steps = net.map((effect) => ({ effect, row: rows.find((row) => isRow(row, effect.target)) }));
  const drift = steps
    .filter(({ effect, row }) => !sameState(imageOf(row), effect.before))
    .map(({ effect }) => driftProblem(effect.target));
  if (drift.length > 0) return drift;
  const names = [
    ...new Set(steps.flatMap(({ effect }) => (sameState(effect.before, effect.after) ? [] : epochsOf(effect.target)))),
  ];
  const epochs = await context.snapshot.epochs(names);
  return (decide: DecideContext) =>
    decideChange(
      steps,
      names.map((name) => moveEpoch(name, epochs.get(name) ?? 0)),
      by,
      decide,
    );
}

const isRow = (row: ResourceRow, { environment, type, id }: ResourceRef): boolean =>
  row.environment === environment && row.type === type && row.resourceId === id;

const driftProblem = (target: ResourceRef): Problem => ({
  code: "drift",
  message: `${target.type} \`${visible(target.id)}\` in ${target.environment} is not in the state the plan was made for; revise`,
});

function decideChange(
  steps: readonly Step[],
  epochWrites: readonly Write[],
  by: { readonly actor: Actor; readonly changeSetId: string },
  decide: DecideContext,
) {
  const guards = steps.map(({ effect, row }) => guardOf(effect.target, row));
  const changing = steps
    .filter(({ effect }) => !sameState(effect.before, effect.after))
    .map((step) => ({ ...step, rowId: step.row?.id ?? decide.uuid() }));
  const entries = changing.map((step): EntryDraft => {
    const other = counterpart(step, changing);
    const refs = [
      { type: "change_set", id: by.changeSetId },
      ...(other === undefined ? [] : [{ type: "resource", id: other.rowId }]),
    ];
    const row = rowAfter(step, by.changeSetId);
    return {
      actor: by.actor,
      action: actionOf(step.effect, other !== undefined),
      subject: { type: "resource", id: step.rowId },
      refs,
      data: dataOf(step.effect, row.revision),
      body: { environment: row.environment, type: row.type, id: row.resource_id },
      writes: [writeOf(step, row), versionOf(step.rowId, row, decide)],
    };
  });
  const last = entries.at(-1);
  if (last !== undefined && epochWrites.length > 0)
    entries[entries.length - 1] = { ...last, writes: [...(last.writes ?? []), ...epochWrites] };
  return { guards, entries };
}

function guardOf({ environment, type, id }: ResourceRef, row: ResourceRow | undefined): Guard {
  if (row !== undefined) return { kind: "row", table: "resources", id: row.id, version: row.version };
  return { kind: "absent", table: "resources", key: { environment, type, resource_id: id } };
}

/** The other half of a move: gone here, there with the same state. */
function counterpart<T extends { readonly effect: ResourceEffect }>({ effect }: T, all: readonly T[]): T | undefined {
  if (effect.before.exists === effect.after.exists) return undefined;
  return all.find(
    ({ effect: other }) =>
      other.target.type === effect.target.type &&
      (effect.before.exists
        ? !other.before.exists && other.after.hash === effect.before.hash
        : !other.after.exists && other.before.hash === effect.after.hash),
  );
}

type ResourceAction = "resource.created" | "resource.updated" | "resource.deleted" | "resource.moved";

function actionOf({ before, after }: ResourceEffect, moved: boolean): ResourceAction {
  if (!after.exists) return moved ? "resource.moved" : "resource.deleted";
  return before.exists ? "resource.updated" : "resource.created";
}

function dataOf({ before, after }: ResourceEffect, revision: number): EventData<ResourceAction> {
  return {
    revision,
    ...(before.hash === null ? {} : { before: before.hash }),
    ...(after.hash === null ? {} : { after: after.hash }),
  };
}

interface NextRow {
  readonly id: string;
  readonly environment: string;
  readonly type: string;
  readonly resource_id: string;
  readonly document?: JsonValue;
  readonly deleted: boolean;
  readonly revision: number;
  readonly hash?: string;
  readonly change_set_id: string;
}

function rowAfter({ effect, row, rowId }: Step & { readonly rowId: string }, changeSetId: string): NextRow {
  const { target, after } = effect;
  const state =
    after.document === undefined || after.hash === null ? {} : { document: after.document, hash: after.hash };
  const revision = (row?.revision ?? 0) + 1;
  return {
    id: rowId,
    environment: target.environment,
    type: target.type,
    resource_id: target.id,
    ...state,
    deleted: !after.exists,
    revision,
    change_set_id: changeSetId,
  };
}

function writeOf({ row }: Step, next: NextRow): Write {
  return row === undefined
    ? { verb: "insert", table: "resources", row: { ...next } }
    : { verb: "update", table: "resources", row: { ...next }, from: row.version };
}

function versionOf(resource: string, next: NextRow, decide: DecideContext): Write {
  const { document, deleted, revision, hash, change_set_id } = next;
  const state = document === undefined || hash === undefined ? {} : { document, hash };
  return {
    verb: "insert",
    table: "resource_versions",
    row: { id: decide.uuid(), resource, revision, ...state, deleted, change_set_id, at_ms: decide.nowMs },
  };
}
