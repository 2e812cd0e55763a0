/**
 * The file kind: files below registered workspace roots. Compensating: it acts between an intent and its outcome.
 *
 * Promises: nothing outside the roots is read or written (`tree.ts` has the mechanism) · a file is replaced whole or not at
 * all, and what is reported done is durable · before a file is replaced or removed, its bytes are sealed in the database and
 * were read back · doing a step again after a crash ends where doing it once would have.
 */
import {
  type FileTarget,
  type ItemInput,
  type Problem,
  RefusalError,
  refusedForProblems,
  visible,
} from "@countersign/contract";
import {
  checkFileItem,
  type FileEffect,
  fileImage,
  type FileImage,
  type FileRef,
  fileTargets,
  type FileTargetState,
  type FileView,
  planFile,
} from "./file.rules.js";
import { gate, inTurn } from "../locks.js";
import { workspaceById, workspaceByName } from "./queries.js";
import {
  absentState,
  netEffects,
  reverseEffects,
  sameState,
  type ActContext,
  type ActOutcome,
  type ActStep,
  type CheckedItem,
  type CompensatingTargetKind,
  type PlannedItem,
  type PlanView,
  type TargetContext,
  type TargetReads,
} from "../target.js";
import { codeOf, openTree, type FileState, type FoundFile, type Tree } from "./tree.js";

export interface FileKindOptions {
  /** Never reached, wherever a root lies: the data directory, key and token files. */
  readonly denied: readonly string[];
  /** False: the way of platforms without `/proc/self/fd`. */
  readonly handles?: boolean;
}

export function fileKind(options: FileKindOptions): CompensatingTargetKind<FileRef, FileImage> {
  const files: Files = { tree: (ref, context) => treeOf(ref, context, options) };
  return {
    name: "file",
    atomic: false,
    concurrentActs: "idempotent",
    check,
    read: async (ref, context) => stateOf(await (await files.tree(ref, context)).read(ref.path)),
    plan: (item, pointer, view, context) => plan(item, pointer, { view, context, files }),
    act: (step, context) => act(step, context, files),
    tidy: (step, context) => tidy(step, context, files),
  };
}

interface Files {
  tree(ref: FileRef, context: TargetReads): Promise<Tree>;
}

const stateOf = (file: FileState): FileTargetState =>
  file.exists ? { image: fileImage(file.bytes, file.mode), bytes: file.bytes } : absentState;

async function treeOf(ref: FileRef, context: TargetReads, { denied, handles }: FileKindOptions): Promise<Tree> {
  const row = await context.look((snapshot) => workspaceById(snapshot, ref.workspaceId));
  if (row === undefined || row.status !== "ACTIVE") {
    const message = `the workspace of \`${visible(ref.id)}\` is not registered any more; register it again`;
    throw new RefusalError({ kind: "refused", code: "target_unavailable", message });
  }
  return openTree({ root: row.root, denied, ...(handles === undefined ? {} : { handles }) });
}

async function check(
  item: ItemInput,
  pointer: string,
  context: TargetContext,
): Promise<CheckedItem<FileRef> | readonly Problem[]> {
  const problems = checkFileItem(item, pointer);
  const name = (item.target as FileTarget).workspace;
  const workspace = await workspaceByName(context.snapshot, name);
  if (workspace === undefined || workspace.status !== "ACTIVE") {
    problems.push({
      code: "target_not_found",
      message: `there is no workspace \`${visible(name)}\`; register it first`,
      pointer: `${pointer}/target/workspace`,
    });
    return problems;
  }
  return problems.length > 0 ? problems : { input: item, kind: "file", targets: fileTargets(item, workspace) };
}

async function plan(
  item: CheckedItem<FileRef>,
  pointer: string,
  at: { readonly view: PlanView; readonly context: TargetContext; readonly files: Files },
): Promise<PlannedItem | readonly Problem[]> {
  try {
    const views: FileView[] = [];
    for (const [index, ref] of item.targets.entries()) {
      const onDisk = await (await at.files.tree(ref, at.context)).read(ref.path);
      const several = onDisk.exists ? severalNames(onDisk, ref) : undefined;
      if (several !== undefined)
        return [{ ...several, pointer: pointer + (index === 0 ? "/target/path" : "/to/path") }];
      views.push({
        ref,
        ...((await at.view.state(ref)) as FileTargetState),
        missingParents: onDisk.exists ? 0 : onDisk.missingParents,
      });
    }
    const planned = planFile(item.input, views, pointer);
    return "length" in planned ? planned : { ...planned, reversibility: "exact" };
  } catch (error) {
    return [{ ...problemOf(error), pointer: `${pointer}/target/path` }];
  }
}

/** Writing to a file with several names would write elsewhere too, perhaps outside the root. */
function severalNames(file: FoundFile, ref: FileRef): Problem | undefined {
  if (file.links <= 1) return undefined;
  return {
    code: "path_refused",
    message: `\`${visible(ref.path)}\` has \`${file.links}\` names (hard links); make it a file of its own first`,
  };
}

/** Problems of the target; what is no refusal, or not about the target, goes on up. */
function problemOf(error: unknown): Problem {
  if (!(error instanceof RefusalError) || error.refusal.code === "database_unavailable") throw error;
  return { code: error.refusal.code, message: error.refusal.message };
}

/** One effect with what is needed to carry it out. */
interface Step {
  readonly effect: FileEffect;
  readonly tree: Tree;
  readonly token: string;
  /** The bytes after; undefined when the file shall be absent. */
  readonly bytes: Uint8Array | undefined;
}

/** Acts at once, for the sake of memory: each holds the bytes of its files, before and after. */
const actsMax = 8;
const throughGate = gate(actsMax);

async function act({ effects, token }: ActStep<FileEffect>, context: ActContext, files: Files): Promise<ActOutcome> {
  const net = netEffects(effects);
  const keys = net.map((effect) => effect.target.key);
  return inTurn(keys, () => throughGate(() => actInTurn(net, token, context, files)));
}

async function actInTurn(
  effects: readonly FileEffect[],
  token: string,
  context: ActContext,
  files: Files,
): Promise<ActOutcome> {
  let steps: Step[];
  try {
    steps = await prepare(effects, token, context, files);
  } catch (error) {
    return { kind: "refused", problem: problemOf(error) };
  }
  return carryOut(steps, context, files);
}

async function tidy({ effects, token }: ActStep<FileEffect>, context: ActContext, files: Files): Promise<void> {
  for (const effect of netEffects(effects)) {
    await inTurn([effect.target.key], async () => {
      try {
        await (
          await files.tree(effect.target, context)
        ).recover(effect.target.path, token, isState(effect.before.hash));
      } catch (error) {
        // It cannot be reached now; nothing depends on it.
        problemOf(error);
      }
    });
  }
}

/** Everything that can be refused before the first change: what an earlier try left, drift, links, backups, the new bytes. */
async function prepare(
  effects: readonly FileEffect[],
  token: string,
  context: ActContext,
  files: Files,
): Promise<Step[]> {
  const steps: Step[] = [];
  const problems: Problem[] = [];
  for (const effect of effects) {
    const tree = await files.tree(effect.target, context);
    await tree.recover(effect.target.path, token, isState(effect.before.hash));
    const file = await tree.read(effect.target.path);
    const { image } = stateOf(file);
    if (!sameState(image, effect.before) && !sameState(image, effect.after)) problems.push(driftProblem(effect.target));
    const several = file.exists ? severalNames(file, effect.target) : undefined;
    if (several !== undefined) problems.push(several);
    const bytes = effect.after.exists ? await contentFor(effect, context) : undefined;
    if (file.exists && sameState(image, effect.before)) await backUp(file, context);
    steps.push({ effect, tree, token, bytes });
  }
  if (problems.length > 0) throw new RefusalError(refusedForProblems(problems));
  return steps;
}

const driftProblem = (target: FileRef): Problem => ({
  code: "drift",
  message: `\`${visible(target.id)}\` is not in the state the plan was made for; revise`,
});

/** Nobody is told: whoever runs the application now finds out what the files hold. */
const lostProblem = (target: FileRef): Problem => ({
  code: "target_unavailable",
  message: `\`${visible(target.id)}\` was left to another process, which runs the application now`,
});

const isState =
  (hash: string | null) =>
  (file: FoundFile): boolean =>
    fileImage(file.bytes, file.mode).hash === hash;

async function contentFor({ after, target }: FileEffect, context: ActContext): Promise<Uint8Array> {
  const bytes = await context.blobs.get(after.blob ?? "");
  // INVARIANT: what is written has the hash that was approved.
  if (fileImage(bytes, after.mode ?? 0).hash !== after.hash) {
    throw new RefusalError({
      kind: "refused",
      code: "backup_unusable",
      message: `the stored bytes of \`${visible(target.id)}\` are not those of the plan`,
    });
  }
  return bytes;
}

/** INVARIANT: no bytes are replaced or removed that are not sealed in the database and were read back from there. */
async function backUp(file: FoundFile, context: ActContext): Promise<void> {
  await context.blobs.get(await context.blobs.put(file.bytes));
}

/** Does the steps in order; if one cannot be done, takes back those before it. */
async function carryOut(steps: readonly Step[], context: ActContext, files: Files): Promise<ActOutcome> {
  const done: FileEffect[] = [];
  for (const step of steps) {
    if (context.signal.aborted) return { kind: "failed", problem: lostProblem(step.effect.target) };
    const outcome = await bring(step);
    if (outcome.kind === "done") {
      done.push(step.effect);
      continue;
    }
    if (outcome.kind === "failed" || done.length === 0) return outcome;
    const back = await takeBack(done, step.token, context, files);
    return back ? outcome : { kind: "failed", problem: outcome.problem };
  }
  return { kind: "done" };
}

async function takeBack(
  done: readonly FileEffect[],
  token: string,
  context: ActContext,
  files: Files,
): Promise<boolean> {
  try {
    for (const step of await prepare(reverseEffects(done), `${token}:back`, context, files)) {
      if ((await bring(step)).kind !== "done") return false;
    }
    return true;
  } catch (error) {
    problemOf(error);
    return false;
  }
}

/** Tries at one effect: another process with the same token may sweep our temporary file away under us. */
const attemptsMax = 3;

/** Brings one file to its state after. Refused: it is as it was, or as somebody else made it. Failed: it must be read. */
async function bring(step: Step): Promise<ActOutcome> {
  for (let attempt = 1; ; attempt++) {
    const path = step.effect.target.path;
    try {
      const file = await step.tree.read(path);
      const { image } = stateOf(file);
      if (sameState(image, step.effect.after)) {
        if (!step.effect.after.exists) await step.tree.prune(path, step.effect.before.madeParents ?? 0);
        return { kind: "done" };
      }
      if (!sameState(image, step.effect.before)) return { kind: "refused", problem: driftProblem(step.effect.target) };
      if (await change(step, file)) return { kind: "done" };
      if (attempt >= attemptsMax) return { kind: "refused", problem: driftProblem(step.effect.target) };
    } catch (error) {
      const problem = problemOf(error);
      const vanished = error instanceof RefusalError && codeOf(error.cause) === "ENOENT";
      if (vanished && attempt < attemptsMax) continue;
      return { kind: (await isUntouched(step)) ? "refused" : "failed", problem };
    }
  }
}

/** One change of one file. False: it was not in its state before. */
function change({ effect, tree, token, bytes }: Step, file: FileState): Promise<boolean> {
  const path = effect.target.path;
  if (bytes === undefined) return tree.remove(path, isState(effect.before.hash), effect.before.madeParents ?? 0, token);
  const content = { bytes, mode: effect.after.mode ?? 0 };
  return file.exists ? tree.replace(path, content, file.mark, token) : tree.create(path, content, token);
}

async function isUntouched({ effect, tree }: Step): Promise<boolean> {
  try {
    return sameState(stateOf(await tree.read(effect.target.path)).image, effect.before);
  } catch (error) {
    // It cannot be read now: what it holds must be found out later.
    problemOf(error);
    return false;
  }
}
