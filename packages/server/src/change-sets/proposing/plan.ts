/**
 * Plans items over an overlay: item 2 sees what item 1 would leave. Reads targets, changes nothing.
 * Every target's `read` grant is decided before anything is read.
 */
import type { ItemInput, Problem, Refusal } from "@countersign/contract";
import { limits, refusedForProblems } from "@countersign/contract";
import { canonicalize } from "@countersign/proof";
import { type Configuration, decideRead, policySet, type PolicyPrincipal } from "../../governance/index.js";
import type { Snapshot } from "../../ledger/index.js";
import type {
  Blobs,
  CheckedItem,
  Effect,
  PlannedItem,
  PlanView,
  StateImage,
  TargetContext,
  TargetRef,
  TargetState,
  Targets,
} from "../../targets/index.js";
import { orderItems, type OrderedPlan } from "./plan.rules.js";

export interface Plan {
  /** In the order of execution. */
  readonly items: readonly OrderedPlan[];
  readonly checked: readonly CheckedItem[];
}

export interface Planning {
  readonly targets: Targets;
  readonly blobs: Blobs;
  readonly snapshot: Snapshot;
  readonly configuration: Configuration;
  readonly principal: PolicyPrincipal;
  /** Told all targets once they may be read and before they are: what else is asked about them travels along. */
  readonly alongside?: (keys: readonly string[]) => void;
}

/** The plan, or one refusal with all problems and their pointers. */
export async function planItems(inputs: readonly ItemInput[], planning: Planning): Promise<Plan | Refusal> {
  const context: TargetContext = {
    tenant: planning.snapshot.tenant,
    snapshot: planning.snapshot,
    blobs: planning.blobs,
  };
  const { checked, problems } = await checkItems(inputs, planning.targets, context);
  const order = orderItems(inputs);
  if (isProblems(order)) return refusedForProblems([...problems, ...order]);

  const readable = inputs.flatMap((_, index) =>
    checked[index] === undefined ? [] : [{ sequence: index + 1, targets: checked[index].targets }],
  );
  const denied = decideRead(planning.principal, readable, policySet(planning.configuration));
  if (denied !== undefined) return denied;
  planning.alongside?.([...new Set(readable.flatMap((item) => item.targets.map((target) => target.key)))]);

  // Items whose form is wrong are left out, and those on the same targets with them: what they would meet is not known.
  const unknown = new Set(
    inputs.filter((_, index) => checked[index] === undefined).map((input) => canonicalize(input.target)),
  );
  const isUnknown = ({ input }: CheckedItem): boolean => unknown.size > 0 && unknown.has(canonicalize(input.target));
  const upcoming = order.flatMap((index) => checked[index] ?? []).filter((item) => !isUnknown(item));
  const overlay = new Overlay(planning.targets, context);
  const items: OrderedPlan[] = [];
  // A short item may be about a large document: two hundred of them are refused before they are too much for anybody.
  const weight = { documents: 0, bytes: 0 };
  for (const [place, index] of order.entries()) {
    const item = checked[index];
    if (item === undefined || isUnknown(item)) continue;
    await overlay.readAhead(upcoming, item);
    const planned = await planning.targets.kind(item.kind).plan(item, `/items/${index}`, overlay, context);
    if (isProblems(planned)) {
      problems.push(...planned);
      continue;
    }
    weight.documents += documentsOf(planned);
    weight.bytes += bytesOf(planned);
    if (weight.documents > limits.planDocumentsMax || weight.bytes > limits.planFileBytesMax) {
      problems.push({
        code: "limit_exceeded",
        pointer: `/items/${index}`,
        message: `up to item \`${index + 1}\` the states to keep are larger than one change-set may hold; propose the items in several, or what one document becomes as one item`,
      });
      break;
    }
    overlay.lay(planned.effects, planned.blobs);
    items.push({ sequence: index + 1, position: place + 1, input: inputs[index] as ItemInput, planned });
  }
  if (problems.length > 0) return refusedForProblems(problems);
  return { items, checked: checked.filter((item) => item !== undefined) };
}

function documentsOf({ effects }: PlannedItem): number {
  const size = ({ document }: StateImage): number => (document === undefined ? 0 : JSON.stringify(document).length);
  return effects.reduce((sum, { before, after }) => sum + size(before) + size(after), 0);
}

function bytesOf({ blobs }: PlannedItem): number {
  return [...blobs.values()].reduce((sum, bytes) => sum + bytes.length, 0);
}

/** Targets of the effects as they are now, by key. */
export async function readStates(
  effects: readonly Effect[],
  targets: Targets,
  context: TargetContext,
): Promise<Map<string, StateImage>> {
  const resources = effects.flatMap(({ target }) => (target.kind === "resource" ? [target] : []));
  const states = new Map<string, StateImage>();
  for (const [key, { image }] of await targets.resource.readAll(resources, context)) states.set(key, image);
  for (const { target } of effects) {
    if (states.has(target.key)) continue;
    const state = await targets.kind(target.kind).read(target, context);
    states.set(target.key, state.image);
  }
  return states;
}

/** By the items' places; undefined where the form is wrong. */
async function checkItems(
  inputs: readonly ItemInput[],
  targets: Targets,
  context: TargetContext,
): Promise<{ checked: (CheckedItem | undefined)[]; problems: Problem[] }> {
  const problems: Problem[] = [];
  const checked: (CheckedItem | undefined)[] = [];
  for (const [index, input] of inputs.entries()) {
    const result = await targets.kind(input.target.kind).check(input, `/items/${index}`, context);
    if (isProblems(result)) problems.push(...result);
    checked.push(isProblems(result) ? undefined : result);
  }
  return { checked, problems };
}

/**
 * Items whose targets are read in one statement: one by one, every item waited for a round trip of its own. Not all of them,
 * because what they are about may be large, and planning stops where it is too much.
 */
const itemsAhead = 16;

/** Targets as they are, with the effects of earlier items laid over them. */
class Overlay implements PlanView {
  readonly #targets: Targets;
  readonly #context: TargetContext;
  readonly #states = new Map<string, TargetState>();
  /** Items of the upcoming ones whose targets were read. */
  #ahead = 0;

  constructor(targets: Targets, context: TargetContext) {
    this.#targets = targets;
    this.#context = context;
  }

  /** Reads what the plans of this item and of those behind it will ask for, unless it was read with one before. */
  async readAhead(upcoming: readonly CheckedItem[], item: CheckedItem): Promise<void> {
    const at = upcoming.indexOf(item, Math.max(0, this.#ahead - itemsAhead));
    if (at < this.#ahead) return;
    this.#ahead = at + itemsAhead;
    const { resource } = this.#targets;
    const refs = upcoming
      .slice(at, this.#ahead)
      .flatMap((next) => (next.kind === resource.name ? resource.planReads(next) : []))
      .filter((ref) => !this.#states.has(ref.key));
    for (const [key, state] of await resource.readAll(refs, this.#context)) this.#states.set(key, state);
  }

  async state(ref: TargetRef): Promise<TargetState> {
    const known = this.#states.get(ref.key);
    if (known !== undefined) return known;
    const state = await this.#targets.kind(ref.kind).read(ref, this.#context);
    this.#states.set(ref.key, state);
    return state;
  }

  lay(effects: readonly Effect[], blobs: ReadonlyMap<string, Uint8Array>): void {
    for (const { target, after } of effects) {
      const bytes = after.blob === undefined ? undefined : blobs.get(after.blob);
      this.#states.set(target.key, bytes === undefined ? { image: after } : { image: after, bytes });
    }
  }
}

function isProblems(value: unknown): value is readonly Problem[] {
  return Array.isArray(value) && value.length > 0 && typeof (value[0] as { code?: unknown }).code === "string";
}
