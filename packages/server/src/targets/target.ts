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
  Refusal,
  Reversibility,
  Target,
  TargetFacts,
  TargetKindName,
  TenantId,
} from "@countersign/contract";
import type {
  Actor,
  DecideContext,
  EntryDraft,
  ErasureBy,
  ErasureSubject,
  Guard,
  Ledger,
  ModuleErasure,
  RowReference,
  Snapshot,
} from "../ledger/index.js";

/** Identity of a target in its tenant. Two refs with the same `kind` and `key` are the same target. A kind's own ref may say more. */
export interface TargetRef extends TargetFacts {
  readonly kind: TargetKindName;
  /** Comparable identity, the name of the target's epoch; it begins with the kind: `resource:<environment>:<type>:<id>`. */
  readonly key: string;
}

/** What is stored of a state: enough to recognise it and to bring it back. A kind's own image may hold more. */
export interface StateImage {
  readonly exists: boolean;
  /** Hex SHA-256 over the canonical state; equal hashes are equal states. Absent: null. */
  readonly hash: string | null;
  /** Hex SHA-256 of the bytes the state consists of, where it consists of bytes: they are kept in `Blobs` under it. */
  readonly blob?: string;
}

/** A state in memory while planning or acting: the image, and the bytes that its `blob` names. */
export interface TargetState<Image extends StateImage = StateImage> {
  readonly image: Image;
  readonly bytes?: Uint8Array;
}

export const absentState: TargetState & { readonly image: { readonly exists: false; readonly hash: null } } = {
  image: { exists: false, hash: null },
};

/** One target brought from one state to another. */
export interface Effect<Ref extends TargetRef = TargetRef, Image extends StateImage = StateImage> {
  readonly target: Ref;
  readonly before: Image;
  readonly after: Image;
}

/** An item after its kind has checked its form: what it needs of the world to be planned. */
export interface CheckedItem<Ref extends TargetRef = TargetRef> {
  readonly input: ItemInput;
  readonly kind: TargetKindName;
  /** The targets it touches, the one it is about first. Their `read` grant is checked before anything is read. */
  readonly targets: readonly Ref[];
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

/**
 * `Ref` and `Image` are the kind's own. Callers hand a kind only what is of it: they take the kind by the `kind` of the ref.
 */
interface TargetKindBase<Ref extends TargetRef, Image extends StateImage> {
  readonly name: TargetKindName;
  /** Form of the item: which fields the operation takes, names, paths. Touches nothing but what is registered in the database. All problems, with pointers below `pointer`. */
  check(item: ItemInput, pointer: string, context: TargetContext): Promise<CheckedItem<Ref> | readonly Problem[]>;
  /** The target as it is now. Throws `RefusalError` `target_unavailable` when it cannot be read. */
  read(ref: Ref, context: TargetReads): Promise<TargetState<Image>>;
  /** What the item would do to the states of `view`. Changes nothing. */
  plan(
    item: CheckedItem<Ref>,
    pointer: string,
    view: PlanView,
    context: TargetContext,
  ): Promise<PlannedItem | readonly Problem[]>;
  /** Where many targets are read faster together than one by one. */
  readonly together?: ReadTogether<Ref, Image>;
}

export interface ReadTogether<Ref extends TargetRef = TargetRef, Image extends StateImage = StateImage> {
  /** The targets whose states `plan` asks its view for. */
  planReads(item: CheckedItem<Ref>): readonly Ref[];
  /** `read` of all of them, by key. */
  readAll(refs: readonly Ref[], context: TargetReads): Promise<ReadonlyMap<string, TargetState<Image>>>;
}

/** Its writes join the commit that records them: applied and recorded are one. */
export interface AtomicTargetKind<
  Ref extends TargetRef = TargetRef,
  Image extends StateImage = StateImage,
> extends TargetKindBase<Ref, Image> {
  readonly atomic: true;
  /**
   * Called while loading: reads the targets. What it returns is called while deciding, and gives the guards and entries
   * (with their writes) that bring the targets from `before` to `after`, for effects in order (several may touch one
   * target: written once). `drift` problems when a target is not in `before`.
   */
  change(
    effects: readonly Effect<Ref, Image>[],
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
export interface ActStep<E extends Effect = Effect> {
  readonly effects: readonly E[];
  readonly token: string;
}

/**
 * What becomes of an act that two processes do at once, or of one that is done again after the first died.
 * `idempotent`: one effect, whoever does it and how often. `exclusive`: it must not run twice at once; the engine holds a lock of the
 * database for as long as it acts, and does a step again only when its targets are seen to be as before. Undoing a step, it acts on those
 * of its targets that are not as they were.
 */
export type ConcurrentActs = "idempotent" | "exclusive";

/** Acts on the world between an intent and an outcome entry; can be undone by acting again. */
export interface CompensatingTargetKind<
  Ref extends TargetRef = TargetRef,
  Image extends StateImage = StateImage,
> extends TargetKindBase<Ref, Image> {
  readonly atomic: false;
  readonly concurrentActs: ConcurrentActs;
  /**
   * Brings the targets from `before` to `after`, each change of one target atomic, durable on return. Refuses without
   * effect when a target is not in `before`. Doing it again when all targets are in `after` is `done`.
   */
  act(step: ActStep<Effect<Ref, Image>>, context: ActContext): Promise<ActOutcome>;
  /**
   * Removes what a step that died left beside its targets (temporary files), without doing or undoing the step. `act` does
   * it for its own token and effects; this is for a step that is decided otherwise: undone, or found done by reading.
   */
  tidy(step: ActStep<Effect<Ref, Image>>, context: ActContext): Promise<void>;
}

export type TargetKind = AtomicTargetKind | CompensatingTargetKind;

/** What must be kept before an effect is acted out: the bytes it replaces or removes. */
export interface BackupNeed {
  readonly targetKey: string;
  readonly digest: string;
  readonly bytes: number;
  readonly mode: number;
}

/** Rows that say where a target is, and the subject of the ledger whose entries they stand in. */
export interface AttestedNeed {
  readonly subjectId: string;
  readonly rows: readonly RowReference[];
}

/** The values of a pattern's parts (`PatternGrammar`) that a key says; undefined in place of one that nobody knows any more. */
export type PartsOfKey = (key: string) => readonly (string | undefined)[] | undefined;

/**
 * What can be said of a kind's stored targets and states without reaching a target: pure, but for `openKeys`.
 * `Ref` and `Image` are the kind's own; what comes from the database may be anything, and only `isTrue` is asked about that.
 */
export interface TargetRules<Ref extends TargetRef = TargetRef, Image extends StateImage = StateImage> {
  /** Whether an effect says what its digest covers: its key is that of its target, the hashes of its states are those of what they hold. */
  isTrue(effect: Effect<Ref, Image>): boolean;
  /** What of a state must come out the same when the item is planned again on the same states. */
  outcome(after: Image): string | boolean | null;
  /** Characters of text that a state keeps, bytes under `blob` aside. */
  characters(image: Image): number;
  /** The bytes to keep before the effect is acted out; `act` stores them. */
  backups(effect: Effect<Ref, Image>): readonly BackupNeed[];
  /** Rows that must be what the ledger says before the target is changed: where it is, how it is reached. */
  needs(target: Ref): readonly AttestedNeed[];
  /** A target as it is sent, without its names: what an erased item keeps. */
  bareTarget(environment: string, erased: string): Target;
  /** A state without what it held: digests and sizes stay. */
  bareImage(image: Image): Image;
  /** What of its targets an erasure leaves, in plain words. `beyond`: it lies where nothing of ours reaches. */
  readonly stays: { readonly what: string; readonly beyond: boolean };
  /** Reads target keys: of which targets they are. */
  openKeys(snapshot: Snapshot): Promise<PartsOfKey>;
  /** Takes away what the kind itself keeps of what a change-set wrote. */
  readonly erase?: EraseOfKind;
}

export type EraseOfKind = (
  ledger: Pick<Ledger, "attest">,
  snapshot: Snapshot,
  subject: ErasureSubject,
  by: ErasureBy,
) => Promise<ModuleErasure | Refusal>;

/** What a kind needs of the process it runs in. */
export interface TargetsOptions {
  /** Denied to every file target, whatever root it lies below. */
  readonly dataDirectory: string;
  /** Further files and folders that are denied. */
  readonly deniedPaths?: readonly string[];
  /** Where the keys and tokens of the person are that the server runs as; by default this process's. */
  readonly keys?: { readonly home: string; readonly env: Readonly<Record<string, string | undefined>> };
  /** Governance's word on a configuration document; null: it is removed. */
  readonly checkConfiguration: CheckConfiguration;
}

export type CheckConfiguration = (target: TargetRef, document: JsonValue | null, pointer: string) => readonly Problem[];

/** A kind as `kinds.ts` lists it. */
export interface TargetKindModule {
  readonly rules: TargetRules;
  open(options: TargetsOptions): TargetKind;
}

/** All questions asked of one snapshot. */
export function contextIn(snapshot: Snapshot, blobs: Blobs): TargetContext {
  return { tenant: snapshot.tenant, snapshot, blobs, look: (use) => use(snapshot) };
}

/** Same state: both absent, or equal hashes. */
export function sameState(a: StateImage, b: StateImage): boolean {
  return a.exists === b.exists && a.hash === b.hash;
}

/** What undoes the effects: the list backwards, each from its `after` to its `before`. */
export function reverseEffects<E extends Effect>(effects: readonly E[]): E[] {
  return effects.toReversed().map((effect) => ({ ...effect, before: effect.after, after: effect.before }));
}

/** The first state before and the last after of every target, in the order of their first effect. */
export function netEffects<E extends Effect>(effects: readonly E[]): E[] {
  const net = new Map<string, E>();
  for (const effect of effects) {
    const known = net.get(effect.target.key);
    net.set(effect.target.key, known === undefined ? effect : { ...known, after: effect.after });
  }
  return [...net.values()];
}
