/**
 * Scenes that try forbidden acts: an agent that widens its own rights, an author who approves, an agent that votes, an
 * apply that fails half-way, an apply while the kill-switch is engaged. Each scene throws when the answer is not the
 * one promised.
 */
import { linkSync, readFileSync, rmSync } from "node:fs";
import type { ApplicationAnswer, ItemInput, Target } from "@countersign/contract";
import { isCountersignError } from "@countersign/sdk";
import { proven, vote, type Agent } from "./people.js";
import type { Incident, Replayed } from "./replay.js";
import type { Stage } from "./stage.js";

export interface Scenes {
  readonly stage: Stage;
  readonly replayed: readonly Replayed[];
  readonly onIncident: (incident: Incident) => void;
}

export async function playScenes(scenes: Scenes): Promise<void> {
  const agent = [...scenes.stage.cast.agents.values()][0];
  if (agent === undefined) throw new Error("the histories have no author");
  await widensItsOwnRights(scenes, agent);
  await signsForItself(scenes, agent);
  await failsHalfWay(scenes, agent);
  await isStopped(scenes, agent);
}

async function refusedAs(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return "it was done";
  } catch (error) {
    if (isCountersignError(error)) return error.code;
    throw error;
  }
}

/** The agent may do one item but not the other: the whole change-set is denied. */
async function widensItsOwnRights({ stage, onIncident }: Scenes, agent: Agent): Promise<void> {
  const target: Target = { kind: "resource", type: "SYSTEM_CONFIG", id: "system.config/grants", environment: "system" };
  const note: Target = { kind: "resource", type: "CONFIG", id: "demo/note", environment: "development" };
  const items: ItemInput[] = [
    { operation: "CREATE", target: note, after: { text: "a harmless change" } },
    {
      operation: "UPDATE",
      target,
      after: {
        grants: [{ id: "everything", principals: ["agents"], operations: ["*"], targets: ["resource:*:*:**"] }],
      },
    },
  ];
  const set = await stage.propose(agent, { title: "Widen my grants", items });
  if (set.status !== "REJECTED") throw new Error(`${set.number} widens the rights of its author and is ${set.status}`);
  const denied = set.policy === null ? "" : deniedBy(set.policy);
  onIncident({
    kind: "denied",
    text: `${set.number} by ${agent.name} wanted to widen its own grants: item 2 denied by policy${denied}, nothing of it applied`,
  });
}

function deniedBy(policy: unknown): string {
  const { items } = policy as {
    readonly items?: readonly { readonly outcome: string; readonly policies: readonly string[] }[];
  };
  const names = (items ?? []).filter((item) => item.outcome === "deny").flatMap((item) => item.policies);
  return names.length === 0 ? "" : ` \`${names.join("`, `")}\``;
}

/** The human who is answerable for the agent does not approve its change-sets; the agent does not vote at all. */
async function signsForItself({ stage, onIncident }: Scenes, agent: Agent): Promise<void> {
  const target: Target = { kind: "resource", type: "CONFIG", id: "demo/limits", environment: "production" };
  const set = await stage.propose(agent, {
    title: "Raise the limits in production",
    items: [{ operation: "CREATE", target, after: { requestsPerMinute: 600 } }],
  });
  const own = await refusedAs(() => vote(stage.cast.owner, set, "APPROVED"));
  const byAgent = await refusedAs(() => vote({ ...stage.cast.owner, client: agent.client }, set, "APPROVED"));
  if (own !== "separation_of_duties" || !["forbidden", "agents_never_vote"].includes(byAgent)) {
    throw new Error(`${set.number}: its author's human voted (${own}), its author voted (${byAgent})`);
  }
  onIncident({
    kind: "refused",
    text: `${set.number} by ${agent.name}: ${stage.cast.owner.name}, answerable for the agent, may not approve it (${own}); the agent may not vote (${byAgent})`,
  });
  await agent.client.cancelChangeSet({ id: set.id, reason: "it was only tried" });
}

/**
 * While an apply of several files is under way, a second name (a hard link) appears for the last one: writing to it would
 * write elsewhere too, so the server will not, and takes back the files before it.
 */
async function failsHalfWay({ stage, replayed, onIncident }: Scenes, agent: Agent): Promise<void> {
  const files = filesThatAreThere(stage, replayed).slice(0, 8);
  const [first] = files;
  const last = files.at(-1);
  if (first === undefined || last === undefined || files.length < 2) return;
  const items = files.map((target): ItemInput => ({
    operation: "UPDATE",
    target,
    content: { text: `{ "replaced": ${JSON.stringify(target.path)} }\n` },
  }));
  const title = `Replace ${files.length} files at once`;
  const set = await stage.approve(await stage.propose(agent, { title, items }));
  const before = await stage.note(set);
  const names = { watched: stage.pathOf(first), linked: stage.pathOf(last) };
  const status = await applyDisturbed(() => agent.client.applyChangeSet({ id: set.id }), names);
  if (status !== "COMPENSATED")
    throw new Error(`${set.number}: the last file could not be written and apply ended ${status}`);
  stage.tally.compensated += 1;
  await stage.compare(before, `${set.number} after a failed apply`);
  onIncident({
    kind: "failed",
    text: `${set.number} by ${agent.name}: while ${files.length} files were being written the last one got a second name (a hard link); the server would not write there and took back the others, byte for byte`,
  });
  const after = await stage.apply(agent, set);
  if (after.status !== "APPLIED") throw new Error(`${set.number} is ${after.status} after the second try`);
  await stage.rollBack(stage.cast.owner, set.id);
  stage.tally.rolledBack.add(set.id);
  await stage.compare(before, set.number);
}

/** Applies; as soon as the first file is new, the last gets its second name, which goes when the apply has ended. */
async function applyDisturbed(
  apply: () => Promise<ApplicationAnswer>,
  { watched, linked }: { readonly watched: string; readonly linked: string },
): Promise<string> {
  const before = readFileSync(watched);
  const second = `${linked}.second-name`;
  const ended = { yes: false };
  const applied = apply().finally(() => (ended.yes = true));
  while (!ended.yes && readFileSync(watched).equals(before)) await new Promise((resolve) => setTimeout(resolve, 1));
  linkSync(linked, second);
  try {
    return (await applied).application.status;
  } finally {
    rmSync(second);
  }
}

function filesThatAreThere(stage: Stage, replayed: readonly Replayed[]): Extract<Target, { kind: "file" }>[] {
  return replayed
    .filter(({ chain }) => chain.shape !== "resource" && chain.edits.at(-1)?.after !== null)
    .map(({ chain }) => ({ kind: "file", workspace: stage.workspace, path: chain.path }));
}

/** Anyone may stop everything; two people, each with their key, let it go on. */
async function isStopped({ stage, onIncident }: Scenes, agent: Agent): Promise<void> {
  const target: Target = { kind: "resource", type: "CONFIG", id: "demo/banner", environment: "development" };
  const set = await stage.approve(
    await stage.propose(agent, {
      title: "Show a banner",
      items: [{ operation: "CREATE", target, after: { text: "hello" } }],
    }),
  );
  const { first, approvers } = stage.cast;
  await first.client.engageKillSwitch({ reason: "something looks wrong" });
  const code = await refusedAs(() => stage.apply(agent, set));
  if (code !== "kill_switch_engaged")
    throw new Error(`${set.number}: the kill-switch is engaged and apply answered: ${code}`);
  for (const person of approvers) {
    const { killSwitch } = await person.client.releaseKillSwitch(proven(person, "releaseKillSwitch", {}));
    if (killSwitch.status === "RELEASED") break;
  }
  const after = await stage.apply(agent, set);
  if (after.status !== "APPLIED")
    throw new Error(`${set.number} is ${after.status} after the kill-switch was released`);
  onIncident({
    kind: "stopped",
    text: `${set.number} by ${agent.name}: apply refused while the kill-switch was engaged; two people released it with their keys, then it applied`,
  });
}
