/**
 * What a module brings to the server besides its front door. A module that has nothing of a kind leaves the member out; what is
 * brought is collected in `modules.ts`, and nowhere else is a list of modules.
 */
import type { Follower } from "./followers/index.js";
import type { EraseSubject, FinishErasures } from "./ledger/index.js";
import type { Job } from "./platform/index.js";

export interface Module {
  readonly name: string;
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
