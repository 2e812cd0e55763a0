/**
 * Shows whether the ledger is signed, and which anchors confirm it: in one line when all is well, else with the problem
 * and the way out.
 */
import type { OperationOutput } from "@countersign/contract";
import { counted, lines, show, type Painter, type Shown } from "../text.js";
import { roughly } from "../when.js";

type Standing = OperationOutput<"getPublishing">;
type AnchorStanding = Standing["anchors"][number];

/** Signing takes a second; a minute is no matter of luck. */
const lateMs = 60_000;

export function publishingText(paint: Painter, standing: Standing, nowMs: number): Shown {
  return lines(
    signed(paint, standing, nowMs),
    standing.anchors.flatMap((anchor) => wrong(paint, anchor, nowMs) ?? []),
    confirmed(paint, standing),
  );
}

function signed(paint: Painter, { state, reason, entries, checkpoint }: Standing, nowMs: number): Shown {
  const open = entries - (checkpoint?.size ?? 0);
  const of = counted(entries, "entry", "entries");
  const all =
    checkpoint === null
      ? `none of the ledger's ${of} was ever signed`
      : `${checkpoint.size} of ${of}, the newest checkpoint ${roughly(checkpoint.signedAt, nowMs)}`;
  switch (state) {
    case "stopped":
      return lines(
        paint.red(`NOTHING IS SIGNED: ${reason ?? "the server's log says why"}`),
        show`  ${all}; docs/publishing.md, "When signing stops"`,
      );
    case "waiting":
      return lines(
        paint.yellow(`signing waits: ${reason ?? "the server's log says why"}`),
        show`  ${all}; it is tried again by itself`,
      );
    case "starting":
      return show`the server has not looked at the ledger yet; ${all}`;
    case "elsewhere":
    case "published": {
      const late = open > 0 && (checkpoint === null || nowMs - Date.parse(checkpoint.signedAt) > lateMs);
      if (!late) return show`${paint.green("the ledger is signed")}${paint.dim(`: ${all}`)}`;
      const where = state === "elsewhere" ? "the server that signs (not this one)" : "the server";
      return paint.yellow(`signing is late: ${all}; the log of ${where} says why`);
    }
  }
}

function wrong(paint: Painter, { name, standing, since, lastError, nextAttemptAt }: AnchorStanding, nowMs: number) {
  const why = `${since === null ? "" : ` (${roughly(since, nowMs)})`}: ${lastError ?? "the anchor does not say why"}`;
  if (standing === "contradicts")
    return lines(
      paint.red(`ANCHOR ${name} CONTRADICTS THE LEDGER${why}`),
      "  somebody has to look: docs/forensics.md, `countersign audit verify --policy FILE`",
    );
  if (standing !== "failing") return undefined;
  const again = nextAttemptAt === null ? "" : `, ${roughly(nextAttemptAt, nowMs)}`;
  return lines(
    paint.yellow(`anchor ${name} fails${why}`),
    `  it is tried again by itself${again}; \`countersign anchors list\` on the server's machine`,
  );
}

function confirmed(paint: Painter, { anchors, anchorsDegraded, entries }: Standing): Shown {
  if (anchors.length === 0) return paint.dim("no anchor keeps checkpoints of the ledger: docs/anchors.md");
  const good = anchors.filter(({ standing }) => standing === "ok");
  const most = Math.max(0, ...good.map((one) => one.confirmed));
  const text = `${good.length} of ${counted(anchors.length, "anchor", "anchors")} confirmed when last asked, at most ${most} of ${counted(entries, "entry", "entries")}`;
  return anchorsDegraded
    ? paint.yellow(`${text}; that is fewer than are required, or one contradicts`)
    : paint.dim(text);
}
