/**
 * What agents and services see of change-sets they did not propose. A change-set holds what its targets hold, so looking at
 * it needs what looking at them needs: the `read` grant. People are shown everything, for they decide on it.
 */
import type { ChangeSetView, ItemView } from "@countersign/contract";
import { decideRead, policySet } from "../governance/index.js";
import type { Caller } from "../tenancy/index.js";
import { type Loaded, policyPrincipal } from "./loaded.rules.js";

export function asSeenBy(caller: Caller, loaded: Loaded, view: ChangeSetView): ChangeSetView {
  const { people, configuration, whole } = loaded;
  const { id, kind } = caller.principal;
  if (kind === "human" || caller.actor.type === "system" || id === whole.changeSet.author_id) return view;
  const principal = policyPrincipal(people, id, configuration);
  const rules = policySet(configuration);
  const mayRead = (item: ItemView): boolean => {
    const stored = whole.items.find((one) => one.sequence === item.sequence);
    const targets = (stored?.effects ?? []).map((effect) => effect.target);
    return decideRead(principal, [{ sequence: item.sequence, targets }], rules) === undefined;
  };
  return { ...view, items: view.items.map((item) => (mayRead(item) ? item : withheld(item))) };
}

/** That something happens to the target, not what it holds: a hash would tell whoever guesses. */
function withheld(item: ItemView): ItemView {
  const bare = ({ exists }: { exists: boolean }) => ({ exists, hash: null });
  return {
    ...item,
    input: { operation: item.operation, target: item.input.target },
    effects: item.effects.map(({ target, before, after }) => ({ target, before: bare(before), after: bare(after) })),
    diff: { format: "withheld" },
  };
}
