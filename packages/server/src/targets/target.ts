/**
 * The seam between change-sets and the things they change.
 *
 * A target kind knows how to look at its targets, what an operation would do to them, and how to bring one from a state
 * to another. It decides nothing about risk, policy, approval or order: `change-sets` does. Every kind passes
 * `exerciseTarget(kind)` (`test/support/exercise-target.ts`).
 *
 * INVARIANT: what an item does is a list of effects, each bringing one target from the state `before` to the state
 * `after`. Undoing it is the same list backwards. Nothing is changed whose state is not `before`.
 */
import type {
  EffectFlag,
  ItemInput,
  JsonValue,
  Problem,
  Reversibility,
  TargetKindName,
  TenantId,
} from "@countersign/contract";
import type { Actor, DecideContext, EntryDraft, Guard, Snapshot } from "../ledger/index.js";

/** Identity of a target in its tenant. Two refs with the same `key` and `kind` are the same target. */
export interface TargetRef {
  readonly kind: TargetKindName;
  /** `CONFIG`, `COMPONENT`, …; `FILE` for files. */
  readonly type: string;
  /** resource: its id; file: `<workspace>:<path>`. */
  readonly id: string;
  readonly environment: string;
  /** Comparable identity, the name of the target's epoch: `resource:<environment>:<type>:<id>`, `file:<workspace id>:<path folded>`. */
  readonly key: string;
  /** file: path below the root as given. */
  readonly path?: string;
  /** file: id of the workspace row. */
  readonly workspaceId?: string;
}

/** What is stored of a state: enough to recognise it and to bring it back. */
export interface StateImage {
  readonly exists: boolean;
  /** Hex SHA-256 over the canonical state; equal hashes are equal states. Absent: null. */
  readonly hash: string | null;
  /** resource: the document. */
  readonly document?: JsonValue;
  /** file: hex SHA-256 of the bytes, their number, and the permission bits. */
  readonly blob?: string;
  readonly bytes?: number;
  readonly mode?: number;
  /** file: how many folders above it its creation makes; undoing the creation removes those that are empty. Not part of the hash. */
  readonly madeParents?: number;
}

/** A state in memory while planning or acting: the image, and for files the bytes. */
export interface TargetState {
  readonly image: StateImage;
  readonly bytes?: Uint8Array;
}

export const absentState: TargetState = { image: { exists: false, hash: null } };

/** One target brought from one state to another. */
export interface Effect {
  readonly target: TargetRef;
  readonly before: StateImage;
  readonly after: StateImage;
}

/** An item after its kind has checked its form: what it needs of the world to be planned. */
export interface CheckedItem {
  readonly input: ItemInput;
  readonly kind: TargetKindName;
  /** The targets it touches, the one it is about first. Their `read` grant is checked before anything is read. */
  readonly targets: readonly TargetRef[];
}

export interface PlannedItem {
  readonly effects: readonly Effect[];
  /** For people: RFC 6902 for JSON, `{format:"text", unified}` or `{format:"binary", before, after}` (sizes) for files. */
  readonly diff: JsonValue;
  readonly reversibility: Reversibility;
  readonly flags: readonly EffectFlag[];
  /** Bytes that must be kept until the item is applied, by their hex SHA-256. */
  readonly blobs: ReadonlyMap<string, Uint8Array>;
}

/** Bytes by their hex SHA-256, sealed at rest. `get` throws `backup_unusable` when missing or damaged. */
export interface Blobs {
  put(bytes: Uint8Array): Promise<string>;
  get(digest: string): Promise<Uint8Array>;
}

/** Where a kind looks things up. */
export interface TargetReads {
  readonly tenant: TenantId;
  readonly blobs: Blobs;
  /** Questions to the database. While planning they are asked of one snapshot, while acting each `use` has a short one of its own. */
  look<T>(use: (snapshot: Snapshot) => Promise<T>): Promise<T>;
}

/** While a change-set is planned and judged, and while an atomic kind changes its targets: one snapshot of the database. */
export interface TargetContext extends TargetReads {
  readonly snapshot: Snapshot;
}

/**
 * While a kind acts on the world.
 * INVARIANT: no snapshot and no connection of the pool is held while the outside world takes its time.
 */
export interface ActContext extends TargetReads {
  /** Aborted when this process is not the one that runs the application any more: begin nothing new, return soon. */
  readonly signal: AbortSignal;
}

/** The states an item sees: earlier items' effects laid over the targets as they are. */
export interface PlanView {
  state(ref: TargetRef): Promise<TargetState>;
}

/** What changed outside the database by one step, or why it did not. */
export type ActOutcome =
  | { readonly kind: "done" }
  /** The step was refused before any effect (drift, missing parent, path escaped): nothing changed. */
  | { readonly kind: "refused"; readonly problem: Problem }
  /** It failed underway; what the targets hold now must be read. */
  | { readonly kind: "failed"; readonly problem: Problem };

interface TargetKindBase {
  readonly name: TargetKindName;
  /** Form of the item: which fields the operation takes, names, paths. Touches nothing but the registered workspaces. All problems, with pointers below `pointer`. */
  check(item: ItemInput, pointer: string, context: TargetContext): Promise<CheckedItem | readonly Problem[]>;
  /** The target as it is now. Throws `RefusalError` `target_unavailable` when it cannot be read. */
  read(ref: TargetRef, context: TargetReads): Promise<TargetState>;
  /** What the item would do to the states of `view`. Changes nothing. */
  plan(
    item: CheckedItem,
    pointer: string,
    view: PlanView,
    context: TargetContext,
  ): Promise<PlannedItem | readonly Problem[]>;
}

/** Its writes join the commit that records them: applied and recorded are one. */
export interface AtomicTargetKind extends TargetKindBase {
  readonly atomic: true;
  /** The targets whose states `plan` asks its view for, so that they can be read together. */
  planReads(item: CheckedItem): readonly TargetRef[];
  /** `read` of all of them in one statement, by key. */
  readAll(refs: readonly TargetRef[], context: TargetReads): Promise<ReadonlyMap<string, TargetState>>;
  /**
   * Called while loading: reads the targets. What it returns is called while deciding, and gives the guards and entries
   * (with their writes) that bring the targets from `before` to `after`, for effects in order (several may touch one
   * target: written once). `drift` problems when a target is not in `before`.
   */
  change(
    effects: readonly Effect[],
    by: { readonly actor: Actor; readonly changeSetId: string },
    context: TargetContext,
  ): Promise<AtomicChange | readonly Problem[]>;
}

/** The decided half of an atomic change: ids and time come from the door. */
export type AtomicChange = (decide: DecideContext) => {
  readonly guards: readonly Guard[];
  readonly entries: readonly EntryDraft[];
};

/** What a compensating kind carries out: `token` is stable over retries of the same step. */
export interface ActStep {
  readonly effects: readonly Effect[];
  readonly token: string;
}

/**
 * What becomes of an act that two processes do at once, or of one that is done again after the first died.
 * `idempotent`: one effect, whoever does it and how often. `exclusive`: it must not run twice at once; the engine holds a lock of the
 * database for as long as it acts, and acts again only when the targets are seen to be as before.
 */
export type ConcurrentActs = "idempotent" | "exclusive";

/** Acts on the world between an intent and an outcome entry; can be undone by acting again. */
export interface CompensatingTargetKind extends TargetKindBase {
  readonly atomic: false;
  readonly concurrentActs: ConcurrentActs;
  /**
   * Brings the targets from `before` to `after`, each change of one target atomic, durable on return. Refuses without
   * effect when a target is not in `before`. Doing it again when all targets are in `after` is `done`.
   */
  act(step: ActStep, context: ActContext): Promise<ActOutcome>;
  /**
   * Removes what a step that died left beside its targets (temporary files), without doing or undoing the step. `act` does
   * it for its own token and effects; this is for a step that is decided otherwise: undone, or found done by reading.
   */
  tidy(step: ActStep, context: ActContext): Promise<void>;
}

export type TargetKind = AtomicTargetKind | CompensatingTargetKind;

/** All questions asked of one snapshot. */
export function contextIn(snapshot: Snapshot, blobs: Blobs): TargetContext {
  return { tenant: snapshot.tenant, snapshot, blobs, look: (use) => use(snapshot) };
}

/** Same state: both absent, or equal hashes. */
export function sameState(a: StateImage, b: StateImage): boolean {
  return a.exists === b.exists && a.hash === b.hash;
}

/** What undoes the effects: the list backwards, each from its `after` to its `before`. */
export function reverseEffects(effects: readonly Effect[]): Effect[] {
  return effects.toReversed().map(({ target, before, after }) => ({ target, before: after, after: before }));
}

/** The first state before and the last after of every target, in the order of their first effect. */
export function netEffects(effects: readonly Effect[]): Effect[] {
  const net = new Map<string, Effect>();
  for (const effect of effects) {
    const known = net.get(effect.target.key);
    net.set(effect.target.key, known === undefined ? effect : { ...known, after: effect.after });
  }
  return [...net.values()];
}
