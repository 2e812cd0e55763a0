/** Events of the kill-switch. It belongs to the tenant, so that its rows are attested with it; `refs` name the switch. */
import { z } from "zod";
import { count, event, id, timeMs } from "./event.js";

const data = {
  killSwitch: id,
  scope: z.enum(["tenant"]),
  status: z.enum(["ENGAGED", "HELD", "RELEASED"]),
  releaseVotes: count,
  holdUntilMs: timeMs.optional().meta({ description: "When an agent's hold ends by itself." }),
};
const stops = ["operators", "administrators", "auditors"] as const;

export const killSwitchEvents = {
  "kill_switch.engaged": event("tenant", data, {
    verified: true,
    reported: true,
    tone: "stopped",
    sentence: ({ actor }) => `${actor} engaged the kill-switch: nothing is applied`,
    concerns: stops,
  }),
  "kill_switch.held": event("tenant", data, {
    verified: true,
    tone: "stopped",
    sentence: ({ actor, data: { holdUntilMs } }) =>
      `${actor} stopped all applies${holdUntilMs === undefined ? "" : ` until ${new Date(holdUntilMs).toISOString()}`}`,
    concerns: stops,
  }),
  "kill_switch.confirmed": event("tenant", data, {
    verified: true,
    reported: true,
    tone: "stopped",
    sentence: ({ actor }) => `${actor} confirmed the hold: nothing is applied until the kill-switch is released`,
    concerns: stops,
  }),
  "kill_switch.release_voted": event("tenant", data, {
    verified: true,
    sentence: ({ actor }) => `${actor} agreed to release the kill-switch; another person must too`,
    concerns: stops,
  }),
  "kill_switch.released": event("tenant", data, {
    verified: true,
    reported: true,
    sentence: ({ actor }) => `${actor} released the kill-switch`,
    concerns: stops,
  }),
};
