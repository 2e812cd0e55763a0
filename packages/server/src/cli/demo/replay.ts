/**
 * Replays the chains: each recorded edit becomes a change-set by its author's agent, is approved where policy asks for
 * people, and applied. On the way two incidents happen, as in real teams: two agents work on one target at the same
 * time, and somebody edits a file past everybody.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { ChangeSetView, ItemInput, JsonValue, Target } from "@countersign/contract";
import { canonicalize } from "@countersign/proof";
import type { Chain, Edit } from "./histories.js";
import { vote } from "./people.js";
import { targetName, type Proposal, type Stage } from "./stage.js";

/** Incidents, printed as they happen. */
export interface Incident {
  readonly kind: "conflict" | "drift" | "rejected" | "denied" | "refused" | "failed" | "stopped";
  readonly text: string;
}

export interface Replay {
  readonly stage: Stage;
  /** After each edit. */
  readonly onEdit: () => void;
  readonly onIncident: (incident: Incident) => void;
}

/** The result of one chain: its change-sets, oldest first, and edits that changed nothing. */
export interface Replayed {
  readonly chain: Chain;
  readonly sets: readonly string[];
  readonly unchanged: number;
}

/** Two agents at once at the third edit of a chain and every twentieth from there; an edit past the server at the sixth. */
const conflictAt = (index: number): boolean => index % 20 === 2;
const driftAt = (index: number): boolean => index % 20 === 5;
const rejectAt = (index: number): boolean => index % 20 === 8;

export async function replayChain(replay: Replay, chain: Chain): Promise<Replayed> {
  const run = new ChainRun(replay, chain);
  for (let index = 0; index < chain.edits.length; index++) {
    const edit = chain.edits[index] as Edit;
    const next = chain.edits[index + 1];
    if (!run.changes(edit.after)) {
      run.unchanged += 1;
      replay.onEdit();
    } else if (conflictAt(index) && next !== undefined && run.canConflict(edit, next)) {
      await run.conflict(edit, next);
      index += 1;
      replay.onEdit();
      replay.onEdit();
    } else {
      await run.edit(edit, index);
      replay.onEdit();
    }
  }
  return { chain, sets: run.sets, unchanged: run.unchanged };
}

class ChainRun {
  readonly #replay: Replay;
  readonly #chain: Chain;
  readonly #targets: readonly Target[];
  /** The document as the last applied edit left it; null when there is none. */
  #now: JsonValue = null;
  readonly sets: string[] = [];
  unchanged = 0;

  constructor(replay: Replay, chain: Chain) {
    this.#replay = replay;
    this.#chain = chain;
    this.#targets = targetsOf(chain, replay.stage.workspace);
  }

  changes(document: JsonValue): boolean {
    return canonicalize(document) !== canonicalize(this.#now);
  }

  /** Both edits must update an existing target, and differ. */
  canConflict(first: Edit, second: Edit): boolean {
    return (
      this.#now !== null &&
      first.after !== null &&
      second.after !== null &&
      canonicalize(first.after) !== canonicalize(second.after) &&
      this.changes(second.after)
    );
  }

  async edit(edit: Edit, index: number): Promise<void> {
    const { stage } = this.#replay;
    const agent = stage.agent(edit.author);
    let set = await stage.propose(agent, this.#proposal(edit, index));
    if (rejectAt(index) && set.status === "PENDING_APPROVAL") set = await this.#rejectOnce(set, edit);
    set = await stage.approve(set);
    if (driftAt(index) && this.#now !== null) await this.#editPastTheServer(set, edit);
    await this.#applied(set, edit);
  }

  /** Two agents propose on the same state; both are approved; the second is refused at apply, and rebased. */
  async conflict(first: Edit, second: Edit): Promise<void> {
    const { stage, onIncident } = this.#replay;
    const one = await stage.propose(stage.agent(first.author), this.#proposal(first, 0));
    const other = await stage.propose(stage.agent(second.author), this.#proposal(second, 0));
    const told = other.conflicts.some((conflict) => conflict.changeSetId === one.id);
    const agreed = await stage.approve(other);
    await this.#applied(await stage.approve(one), first);
    const code = await stage.applyRefused(stage.agent(second.author), agreed);
    if (!told || code !== "drift")
      throw new Error(
        `${other.number} was proposed beside ${one.number}: told of the conflict: ${told}; refused at apply: ${code ?? "no"}`,
      );
    onIncident({
      kind: "conflict",
      text: `${one.number} by ${first.author} and ${other.number} by ${second.author} both change ${this.#chain.path}: told at submit, the second refused at apply (drift), rebased and applied`,
    });
    await this.#rebase(agreed, second);
  }

  async #rebase(set: ChangeSetView, edit: Edit): Promise<void> {
    const { stage } = this.#replay;
    const agent = stage.agent(edit.author);
    await agent.client.reviseChangeSet({ id: set.id, revision: set.revision });
    const { changeSet } = await agent.client.submitChangeSet({ id: set.id });
    await this.#applied(await stage.approve(changeSet), edit);
  }

  /** A person says no, with a reason; the agent proposes again. */
  async #rejectOnce(set: ChangeSetView, edit: Edit): Promise<ChangeSetView> {
    const { stage, onIncident } = this.#replay;
    const [approver] = stage.cast.approvers;
    if (approver === undefined) throw new Error("the demo has no approver");
    const rejected = await vote(approver, set, "REJECTED", "please say in the title what this is for");
    if (rejected.status !== "REJECTED") return rejected;
    stage.tally.rejected.add(set.id);
    onIncident({
      kind: "rejected",
      text: `${set.number} by ${edit.author}: ${approver.name} signed a rejection with a reason; revised and approved`,
    });
    const agent = stage.agent(edit.author);
    await agent.client.reviseChangeSet({
      id: set.id,
      revision: rejected.revision,
      title: `${set.title} (for the release notes)`.slice(0, 200),
    });
    return (await agent.client.submitChangeSet({ id: set.id })).changeSet;
  }

  /** Somebody writes to the file after the approval. The apply is refused; when the bytes are back it goes through. */
  async #editPastTheServer(set: ChangeSetView, edit: Edit): Promise<void> {
    const { stage, onIncident } = this.#replay;
    const target = this.#targets.find((one) => one.kind === "file");
    if (target === undefined || set.status !== "APPROVED") return;
    const path = stage.pathOf(target);
    const bytes = readFileSync(path);
    writeFileSync(path, Buffer.concat([bytes, Buffer.from("\n")]));
    const code = await stage.applyRefused(stage.agent(edit.author), set);
    writeFileSync(path, bytes);
    if (code !== "drift")
      throw new Error(`${set.number}: the file was edited past the server and apply answered ${code ?? "applied"}`);
    onIncident({
      kind: "drift",
      text: `${set.number} by ${edit.author}: ${targetName(target)} was edited past the server after the approval; apply refused it`,
    });
  }

  async #applied(set: ChangeSetView, edit: Edit): Promise<void> {
    const { stage } = this.#replay;
    const after = await stage.apply(stage.agent(edit.author), set);
    if (after.status !== "APPLIED") throw new Error(`${set.number} is ${after.status} after apply`);
    this.#now = edit.after;
    this.sets.push(set.id);
    await this.#check(set);
  }

  /** The applied content must equal the recorded one. */
  async #check(set: ChangeSetView): Promise<void> {
    const { stage } = this.#replay;
    for (const target of this.#targets) {
      const held = await stage.held(target);
      const text =
        held === undefined
          ? "null"
          : "text" in held
            ? held.text
            : canonicalize(JSON.parse(held.bytes.toString("utf8")) as JsonValue);
      if (text !== canonicalize(this.#now))
        throw new Error(`${set.number} is applied, and ${targetName(target)} is not what was recorded`);
    }
  }

  #proposal(edit: Edit, index: number): Proposal {
    const [subject = ""] = edit.message.split("\n");
    return {
      title: (subject.trim() === "" ? `edit of ${edit.path}` : subject).slice(0, 200),
      description: edit.message.slice(0, 2_000),
      tags: [this.#chain.history.slice(0, 60)],
      metadata: { commit: edit.commit, recordedAt: edit.date },
      items: this.#targets.map((target) => this.#item(target, edit.after, index)),
    };
  }

  #item(target: Target, after: JsonValue, index: number): ItemInput {
    const operation = after === null ? "DELETE" : this.#now === null ? "CREATE" : "UPDATE";
    if (after === null) return { operation, target };
    // Every other edit of a file is sent as a document: then the server edits the JSON and keeps the formatting.
    if (target.kind === "file" && (operation === "CREATE" || index % 2 === 0))
      return { operation, target, content: { text: `${JSON.stringify(after, null, 2)}\n` } };
    return { operation, target, after };
  }
}

function targetsOf(chain: Chain, workspace: string): Target[] {
  const file: Target = { kind: "file", workspace, path: chain.path };
  const resource: Target = {
    kind: "resource",
    type: typeOf(chain.path),
    id: `${chain.history}/${chain.path}`,
    environment: "development",
  };
  return { file: [file], resource: [resource], both: [resource, file] }[chain.shape];
}

function typeOf(path: string): string {
  if (path.includes("theme")) return "THEME";
  return path.includes("dashboard") ? "DASHBOARD" : "CONFIG";
}
