/**
 * How a change-set ends by the word of a person: cancelled before it is applied, archived after its undo window, resolved when it was
 * applied only partly. No target is touched.
 */
import type { ChangeSetAnswer, CheckedInput, Refusal } from "@countersign/contract";
import type { Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { command } from "../command.js";
import type { Desk, RequestContext } from "../desk.js";
import { isStopped, loadForCommand } from "../load.js";
import { readBackups } from "../queries.js";
import { decideArchive, decideCancel, decideResolution } from "./closing.rules.js";

export function cancel(
  desk: Desk,
  caller: Caller,
  { id, reason }: CheckedInput<"cancelChangeSet">,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = (snapshot: Snapshot) => loadForCommand(desk, snapshot, id);
  return command(desk, caller, request, load, (loaded, at) => decideCancel(loaded, { caller, reason }, at));
}

export function archive(
  desk: Desk,
  caller: Caller,
  id: string,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, id);
    return isStopped(loaded) ? loaded : { ...loaded, backups: await readBackups(snapshot, loaded.whole.changeSet.id) };
  };
  return command(desk, caller, request, load, (loaded, at) => decideArchive(loaded, { caller }, at));
}

export function resolve(
  desk: Desk,
  caller: Caller,
  { id, as, evidence }: CheckedInput<"resolveChangeSet">,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = (snapshot: Snapshot) => loadForCommand(desk, snapshot, id);
  return command(desk, caller, request, load, (loaded, at) => decideResolution(loaded, { caller, as, evidence }, at));
}
