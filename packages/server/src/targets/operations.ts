/** JSON resources and workspaces as they are asked for over the interfaces. */
import type { Handlers } from "../tenancy/index.js";
import { addWorkspace, dropWorkspace, type RegisterDesk, workspaces } from "./file/register.js";
import { get, history, list, type ReadingDesk } from "./resource/reading.js";

export function targetHandlers(desk: ReadingDesk & RegisterDesk) {
  return {
    listWorkspaces: ({ caller }) => workspaces(desk, caller),
    registerWorkspace: ({ caller, input, request }) => addWorkspace(desk, caller, input, request.transact),
    removeWorkspace: ({ caller, input, request }) => dropWorkspace(caller, input, request.transact),
    listResources: ({ caller, input }) => list(desk, caller, input),
    getResource: ({ caller, input }) => get(desk, caller, input),
    getResourceHistory: ({ caller, input }) => history(desk, caller, input),
  } satisfies Partial<Handlers>;
}
