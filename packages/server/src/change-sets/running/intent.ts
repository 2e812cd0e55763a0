/** Deciding the intent of a run, and running it to its end. What an intent is: `intent.rules.ts`. */
import { type ApplicationAnswer, type Refusal, refused } from "@countersign/contract";
import type { Receipt, Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { type Decide, type Load, transactOn } from "../command.js";
import type { Desk, RequestContext } from "../desk.js";
import { isStopped, loadForCommand, refusalOf } from "../load.js";
import { readApplication, readHolds } from "../queries.js";
import type { HoldRow, ItemRow, Whole } from "../rows.js";
import { applicationOf, namesOf, receiptsOf, view } from "../view.rules.js";
import type { Intent, Ready } from "./intent.rules.js";
import type { Runner } from "./run.js";

/** The answer says where the run ended. A replayed request runs nothing, and is told where the first one stands. */
export async function decideAndRun<L extends Ready>(
  { desk, runner }: { desk: Desk; runner: Runner },
  caller: Caller,
  request: RequestContext,
  load: Load<L>,
  decide: Decide<L, Intent>,
): Promise<ApplicationAnswer | Refusal> {
  // Of the last decision, already compared with the ledger: the run need not compare them again.
  let items: readonly ItemRow[] | undefined;
  const outcome = await transactOn(desk, caller, request, load, (loaded, context) => {
    items = loaded.whole.items;
    return decide(loaded, context);
  });
  if (outcome.kind === "refused") return outcome;
  const { applicationId } = outcome.result;
  const receipts =
    outcome.kind === "committed"
      ? [...outcome.receipts, ...(await runner.run(caller.tenant, applicationId, items))]
      : [];
  return answerAbout(desk, caller, applicationId, receipts);
}

function answerAbout(
  desk: Desk,
  caller: Caller,
  applicationId: string,
  receipts: readonly Receipt[],
): Promise<ApplicationAnswer | Refusal> {
  return desk.ledger.snapshot(caller.tenant, async (snapshot) => {
    const application = await readApplication(snapshot, applicationId);
    if (application === undefined) throw new Error(`application ${applicationId} is gone`);
    const loaded = await loadForCommand(desk, snapshot, application.application.change_set_id);
    if (isStopped(loaded)) return refusalOf(loaded);
    return {
      changeSet: view(loaded),
      application: applicationOf(application, namesOf(loaded.people)),
      receipts: receiptsOf(receipts),
    };
  });
}

/** Holds on the targets outside the database, so that one application at a time changes each; free ones as they are now. */
export async function holdsFor(desk: Desk, snapshot: Snapshot, whole: Whole): Promise<readonly HoldRow[] | Refusal> {
  const keys = outsideKeys(desk, whole);
  const holds = await readHolds(snapshot, keys);
  const taken = holds.find((hold) => hold.application_id !== null && hold.application_id !== undefined);
  if (taken === undefined)
    return [
      ...holds,
      ...keys
        .filter((key) => !holds.some((hold) => hold.id === key))
        .map((id): HoldRow => ({ id, version: 0, application_id: null, change_set_id: null })),
    ];
  return refused(
    "target_locked",
    `\`${taken.id}\` is being changed by application \`${taken.application_id}\`; try again when it has ended`,
    { retryAfterSeconds: 1 },
  );
}

function outsideKeys(desk: Desk, whole: Whole): string[] {
  const keys = whole.items
    .filter((item) => !desk.targets.kind(item.target_kind).atomic)
    .flatMap((item) => item.effects.map((effect) => effect.target.key));
  return [...new Set(keys)].sort();
}
