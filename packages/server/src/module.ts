/**
 * What a module brings to the server besides its front door. A module that has nothing of a kind leaves the member out; what is
 * brought is collected in `modules.ts`, and nowhere else is a list of modules.
 */
import type { OperationId } from "@countersign/contract";
import type { Follower } from "./followers/index.js";
import type { EraseSubject, FinishErasures } from "./ledger/index.js";
import type { Job } from "./platform/index.js";
import type { Handlers } from "./tenancy/index.js";

export interface Module {
  readonly name: string;
  /** What does each operation that belongs to the module. */
  readonly operations?: Partial<Handlers>;
  /** What recurs for every tenant. */
  readonly jobs?: readonly Job[];
  /** What is done for every entry. */
  readonly followers?: readonly Follower[];
  /** What erasing a subject takes away here. */
  readonly erase?: EraseSubject;
  /** What is left to be removed after an erasure was recorded. */
  readonly finishErasures?: FinishErasures;
  /** Resolves when nothing of it is under way. Modules are closed from the last to the first. */
  readonly close?: () => Promise<void> | void;
}

type OperationsOf<M> = M extends { readonly operations: infer Operations } ? keyof Operations : never;
type Undone<Modules extends readonly Module[]> = Exclude<OperationId, OperationsOf<Modules[number]>>;

/**
 * The handlers of all modules in one table. An operation of the contract that no module does is an error of the compiler, which
 * names it; one that two modules do is thrown here, at the start of the server.
 */
export function operationsOf<const Modules extends readonly Module[]>(
  modules: [Undone<Modules>] extends [never] ? Modules : { readonly nobodyDoes: Undone<Modules> },
): Handlers {
  const table = new Map<string, { readonly module: string; readonly handle: unknown }>();
  for (const { name, operations = {} } of modules as Modules)
    for (const [id, handle] of Object.entries(operations)) {
      const other = table.get(id);
      if (other !== undefined) throw new Error(`\`${id}\` is done by \`${other.module}\` and by \`${name}\``);
      table.set(id, { module: name, handle });
    }
  // INVARIANT: every operation is there, as the type of `modules` says.
  return Object.fromEntries([...table].map(([id, { handle }]) => [id, handle])) as unknown as Handlers;
}
