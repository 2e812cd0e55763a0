/**
 * Text for a terminal. INVARIANT: the CLI prints only `Shown` texts for people, and a `Shown` is only made here: of our
 * own words, of colours, and of foreign text neutralised by `visible`. So no name, title or document steers a terminal.
 */
import { visible, visibleLines } from "@countersign/contract";
import colors from "picocolors";

/** Text that may be printed unchanged. */
export class Shown {
  readonly text: string;
  constructor(text: string, key: symbol) {
    if (key !== making) throw new Error("a Shown is made by cli/text.ts alone");
    this.text = text;
  }
}
const making = Symbol("making");
const make = (text: string): Shown => new Shown(text, making);

export type Showable = Shown | string | number;

/** One line: strings are neutralised, a `Shown` goes in unchanged. */
export function inline(value: Showable): Shown {
  return value instanceof Shown ? value : make(visible(String(value)));
}

/** Template: our words as they stand, every value neutralised. */
export function show(words: TemplateStringsArray, ...values: readonly Showable[]): Shown {
  return make(
    words.map((word, index) => word + (index < values.length ? inline(values[index] as Showable).text : "")).join(""),
  );
}

/** Foreign text of several lines: its line feeds and tabs stay, nothing else does. */
export function block(text: string): Shown {
  return make(visibleLines(text));
}

export const empty = make("");

/** Lines one below the other; `undefined` and `false` are left out. */
export function lines(...parts: readonly (Showable | undefined | false | readonly Shown[])[]): Shown {
  const shown = parts.filter((part) => part !== undefined && part !== false).flat();
  return make(shown.map((part) => inline(part as Showable).text).join("\n"));
}

/** `1 entry`, `2 entries`. */
export function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

export function indent(text: Shown, spaces = 2): Shown {
  return make(
    text.text
      .split("\n")
      .map((line) => (line === "" ? line : " ".repeat(spaces) + line))
      .join("\n"),
  );
}

/** A text that another library laid out from neutralised cells (tables, help). */
export function laidOut(
  cells: readonly (readonly Shown[])[],
  layOut: (cells: readonly (readonly string[])[]) => string,
): Shown {
  return make(layOut(cells.map((row) => row.map((cell) => cell.text))));
}

export type Paint = (text: Showable) => Shown;
export interface Painter {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly red: Paint;
  readonly green: Paint;
  readonly yellow: Paint;
  readonly cyan: Paint;
}

export function painter(enabled: boolean): Painter {
  const c = colors.createColors(enabled);
  const paint =
    (color: (text: string) => string): Paint =>
    (text) =>
      make(color(inline(text).text));
  return {
    bold: paint(c.bold),
    dim: paint(c.dim),
    red: paint(c.red),
    green: paint(c.green),
    yellow: paint(c.yellow),
    cyan: paint(c.cyan),
  };
}

/** At most `width` code points, the last an ellipsis; of the neutralised text, so that nothing is cut inside an escape. */
export function shortened(text: string, width: number): Shown {
  const points = [...visible(text)];
  return make(points.length <= width ? points.join("") : `${points.slice(0, Math.max(1, width - 1)).join("")}…`);
}
