/**
 * The demo's stage: a client for everybody, the workspace, and two facts that it never takes on trust: the present
 * content of a target, read from the disk or the API, and its content before each change.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { ChangeSetView, Target } from "@countersign/contract";
import { canonicalize } from "@countersign/proof";
import { isCountersignError, type Input } from "@countersign/sdk";
import { vote, type Agent, type Person } from "./people.js";

/**
 * The exact content of a target: a file's bytes and mode, a resource's canonical text; undefined when it was absent.
 */
export type Held = { readonly bytes: Buffer; readonly mode: number } | { readonly text: string } | undefined;

export interface Recorded {
  readonly target: Target;
  readonly before: Held;
}

export interface Cast {
  /** Administers, is answerable for no agent, approves. */
  readonly first: Person;
  /** Answerable for every agent. */
  readonly owner: Person;
  /** Approve; the owner of the agents is none of them. */
  readonly approvers: readonly Person[];
  readonly agents: ReadonlyMap<string, Agent>;
}

export interface Tally {
  readonly created: Set<string>;
  readonly applied: Set<string>;
  readonly rolledBack: Set<string>;
  readonly rejected: Set<string>;
  /** Change-sets that were told of a conflict when they were submitted. */
  readonly conflicts: Set<string>;
  /** Applies that were refused because of drift. */
  driftRefused: number;
  /** Applies that began, failed and were taken back. */
  compensated: number;
  /** Targets compared with their earlier content, after a rollback or a failed apply. */
  compared: number;
  readonly unlike: string[];
}

export const emptyTally = (): Tally => ({
  created: new Set(),
  applied: new Set(),
  rolledBack: new Set(),
  rejected: new Set(),
  conflicts: new Set(),
  driftRefused: 0,
  compensated: 0,
  compared: 0,
  unlike: [],
});

export type Proposal = Input<"createChangeSet">;

export class Stage {
  readonly cast: Cast;
  readonly root: string;
  readonly workspace: string;
  readonly tally = emptyTally();
  /** The content of each change-set's targets before it was applied. */
  readonly recorded = new Map<string, readonly Recorded[]>();

  constructor(cast: Cast, workspace: { readonly root: string; readonly name: string }) {
    this.cast = cast;
    this.root = workspace.root;
    this.workspace = workspace.name;
  }

  agent(name: string): Agent {
    const agent = this.cast.agents.get(name);
    if (agent === undefined) throw new Error(`there is no agent for ${name}`);
    return agent;
  }

  /** Where a file target lies on the disk. */
  pathOf(target: Target): string {
    if (target.kind !== "file") throw new Error("a resource has no path");
    return join(this.root, target.path);
  }

  /** Read past the server for files, through it for resources. */
  async held(target: Target): Promise<Held> {
    if (target.kind === "file") {
      const path = this.pathOf(target);
      return existsSync(path) ? { bytes: readFileSync(path), mode: statSync(path).mode & 0o7777 } : undefined;
    }
    const { environment, type, id } = target;
    try {
      const found = await this.cast.first.client.getResource({ environment, type, id });
      return found.deleted || found.document === null ? undefined : { text: canonicalize(found.document) };
    } catch (error) {
      if (isCountersignError(error, "not_found", "target_not_found")) return undefined;
      throw error;
    }
  }

  /** Creates and submits. */
  async propose(agent: Pick<Agent, "client">, proposal: Proposal): Promise<ChangeSetView> {
    const created = await agent.client.createChangeSet(proposal);
    this.tally.created.add(created.changeSet.id);
    const { changeSet } = await agent.client.submitChangeSet({ id: created.changeSet.id });
    if (changeSet.conflicts.length > 0) this.tally.conflicts.add(changeSet.id);
    if (changeSet.status === "REJECTED") this.tally.rejected.add(changeSet.id);
    return changeSet;
  }

  /** People sign until the route is satisfied; nothing to do where policy let it pass without them. */
  async approve(set: ChangeSetView, approvers = this.cast.approvers): Promise<ChangeSetView> {
    let now = set;
    for (const person of approvers) {
      if (now.status !== "PENDING_APPROVAL") break;
      now = await vote(person, now, "APPROVED");
    }
    return now;
  }

  /** Notes the content of the targets, then applies. Returns the change-set after that. */
  async apply(agent: Pick<Agent, "client">, set: ChangeSetView): Promise<ChangeSetView> {
    const before = await this.note(set);
    const { changeSet } = await agent.client.applyChangeSet({ id: set.id });
    if (changeSet.status === "APPLIED") {
      this.recorded.set(set.id, before);
      this.tally.applied.add(set.id);
    }
    return changeSet;
  }

  async note(set: ChangeSetView): Promise<Recorded[]> {
    const targets = new Map(set.items.map((item) => [JSON.stringify(item.input.target), item.input.target]));
    return Promise.all([...targets.values()].map(async (target) => ({ target, before: await this.held(target) })));
  }

  /** The code of the refusal, or undefined when it applied. */
  async applyRefused(agent: Pick<Agent, "client">, set: ChangeSetView): Promise<string | undefined> {
    try {
      await this.apply(agent, set);
      return undefined;
    } catch (error) {
      if (!isCountersignError(error)) throw error;
      if (error.code === "drift") this.tally.driftRefused += 1;
      return error.code;
    }
  }

  async rollBack(person: Person, id: string, options: { readonly cascade?: boolean } = {}): Promise<ChangeSetView> {
    const { changeSet } = await person.client.rollbackChangeSet({
      id,
      reason: "the demo takes a share of the changes back",
      ...options,
    });
    return changeSet;
  }

  /** Notes every target that is not, byte for byte, in its earlier state. */
  async compare(recorded: readonly Recorded[], what: string): Promise<void> {
    for (const { target, before } of recorded) {
      this.tally.compared += 1;
      if (!same(await this.held(target), before)) this.tally.unlike.push(`${what}: ${targetName(target)}`);
    }
  }
}

export function same(a: Held, b: Held): boolean {
  if (a === undefined || b === undefined) return a === b;
  if ("text" in a || "text" in b) return "text" in a && "text" in b && a.text === b.text;
  return a.mode === b.mode && a.bytes.equals(b.bytes);
}

export function targetName(target: Target): string {
  return target.kind === "file" ? `${target.workspace}:${target.path}` : `${target.type}:${target.id}`;
}
