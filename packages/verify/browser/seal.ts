/**
 * The seal beside the verdict: a rosette drawn from the hash of the last entry, so two people who look at one ledger see one
 * picture. It is for the eye; what counts is the hash, which stands below in full. Broken where the record is, and an empty
 * ring while there is nothing to draw.
 */
import { svg } from "./dom.js";
import type { Tone } from "./words.js";

const centre = 100;
const glyphs: Readonly<Record<Tone, readonly string[]>> = {
  good: ["M82 101 L95 114 L119 87"],
  doubt: ["M100 82 V106", "M100 117 V117.5"],
  bad: ["M86 86 L114 114", "M114 86 L86 114"],
  unread: ["M91 91 A9.5 9.5 0 1 1 103.5 100.5 C101 102 100 103.5 100 107", "M100 117 V117.5"],
};

/** `progress` from 0 to 1; undefined: nothing is being read. */
export function emptySeal(progress?: number): SVGElement {
  const ring = { cx: "100", cy: "100", r: "92", fill: "none", stroke: "currentColor" };
  const dashes = svg("circle", { ...ring, "stroke-width": "1", "stroke-dasharray": "2 5", opacity: "0.7" });
  if (progress === undefined) return drawing(dashes, ...penOver());
  const filled = svg("circle", {
    ...ring,
    "stroke-width": "3",
    pathLength: "100",
    "stroke-dasharray": `${(progress * 100).toFixed(1)} 100`,
    transform: "rotate(-90 100 100)",
  });
  return drawing(dashes, filled);
}

export function sealOf(hash: string | undefined, tone: Tone): SVGElement {
  const rosette = hash === undefined ? [emptyRing()] : rosetteOf(hash);
  const glyph = [
    svg("circle", {
      cx: "100",
      cy: "100",
      r: "33",
      fill: "var(--paper)",
      stroke: "currentColor",
      "stroke-width": "1.5",
    }),
    ...glyphs[tone].map((d) =>
      svg("path", {
        d,
        fill: "none",
        stroke: "currentColor",
        "stroke-width": "5",
        "stroke-linecap": "round",
        "stroke-linejoin": "round",
      }),
    ),
  ];
  if (tone !== "bad" || hash === undefined) return drawing(...rosette, ...glyph);
  const half = (id: string, clip: string, shift: string): SVGElement[] => [
    svg("clipPath", { id }, svg("polygon", { points: clip })),
    svg("g", { transform: shift }, svg("g", { "clip-path": `url(#${id})` }, ...rosetteOf(hash))),
  ];
  return drawing(
    ...half("left-half", "-20,-20 112,-20 94,60 108,110 88,150 100,220 -20,220", "translate(-5 3) rotate(-3 100 100)"),
    ...half("right-half", "220,-20 112,-20 94,60 108,110 88,150 100,220 220,220", "translate(5 -3) rotate(3 100 100)"),
    ...glyph,
  );
}

/** The line on which somebody will sign. */
function penOver(): SVGElement[] {
  return [
    svg("path", { d: "M58 116 H142", stroke: "currentColor", "stroke-width": "1" }),
    svg("path", { d: "M64 100 L74 110 M74 100 L64 110", stroke: "currentColor", "stroke-width": "1.5", fill: "none" }),
  ];
}

function emptyRing(): SVGElement {
  return svg("circle", {
    cx: "100",
    cy: "100",
    r: "92",
    fill: "none",
    stroke: "currentColor",
    "stroke-width": "1.5",
    "stroke-dasharray": "6 6",
  });
}

/** Guilloche: three bands of waves round a circle, each drawn several times a little turned. */
function rosetteOf(hash: string): SVGElement[] {
  const byte = (at: number): number => parseInt(hash.slice(2 * at, 2 * at + 2), 16);
  const bands = [0, 1, 2].map((band) => {
    const at = band * 8;
    const radius = 80 - band * 15;
    const waves = 5 + (byte(at) % 11);
    const ripples = 13 + (byte(at + 1) % 24);
    const depth = 6 + (byte(at + 2) % 6);
    const lace = 1 + (byte(at + 3) % 30) / 10;
    const turns = 5 + (byte(at + 4) % 3);
    const phase = (byte(at + 5) / 256) * 2 * Math.PI;
    const d = Array.from({ length: turns }, (_, turn) =>
      closedCurve(
        (angle) =>
          radius +
          depth * Math.sin(waves * angle + phase + (turn * 2 * Math.PI) / turns) +
          lace * Math.cos(ripples * angle),
      ),
    ).join("");
    return svg("path", {
      d,
      fill: "none",
      stroke: "currentColor",
      "stroke-width": "0.65",
      opacity: String(0.95 - band * 0.12),
    });
  });
  const rim = [94, 97].map((r) =>
    svg("circle", { cx: "100", cy: "100", r: String(r), fill: "none", stroke: "currentColor", "stroke-width": "0.8" }),
  );
  return [...bands, ...rim];
}

function closedCurve(radiusAt: (angle: number) => number): string {
  const steps = 360;
  let d = "";
  for (let step = 0; step < steps; step++) {
    const angle = (step / steps) * 2 * Math.PI;
    const radius = radiusAt(angle);
    d += `${step === 0 ? "M" : "L"}${(centre + radius * Math.sin(angle)).toFixed(1)} ${(centre - radius * Math.cos(angle)).toFixed(1)}`;
  }
  return `${d}Z`;
}

function drawing(...children: readonly SVGElement[]): SVGElement {
  return svg("svg", { viewBox: "0 0 200 200", focusable: "false" }, ...children);
}
