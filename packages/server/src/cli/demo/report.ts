/** Prints the demo's story: progress and incidents on stderr, the summary on stdout, `--json` for machines. */
import type { Cli } from "../cli.js";
import { empty, indent, lines, show, type Shown } from "../text.js";
import type { Chain } from "./histories.js";
import type { Incident, Replayed } from "./replay.js";
import type { Cast, Stage } from "./stage.js";
import type { Verified } from "./verify.js";

export interface DemoSummary {
  readonly stage: Stage;
  readonly replayed: readonly Replayed[];
  readonly verify: Verified;
  readonly seconds: number;
  readonly problems: readonly string[];
}

/** Of each kind of incident this many are told one by one; the summary counts all. */
const toldOfEach = 3;
const barWidth = 30;

export class Reporter {
  readonly #cli: Cli;
  readonly #edits: number;
  readonly #bar: boolean;
  readonly #told = new Map<string, number>();
  #done = 0;
  #all: number;
  #what = "replaying";

  constructor(cli: Cli, chains: readonly Chain[]) {
    this.#cli = cli;
    this.#edits = chains.reduce((sum, chain) => sum + chain.edits.length, 0);
    this.#all = this.#edits;
    this.#bar = cli.terminal.interactive && !cli.json;
    const names = [...new Set(chains.map((chain) => chain.history))];
    cli.note(
      show`${cli.paint.bold("Countersign demo")}: ${this.#edits} recorded edits of ${chains.length} files from ${names.join(", ")}`,
    );
    cli.note(cli.paint.dim("starting a server on a PostgreSQL of its own …"));
  }

  began(url: string, cast: Cast): void {
    const people = [cast.owner, ...cast.approvers].map((person) => person.name).join(", ");
    this.#good(show`server at ${url}; a policy and grants, proposed, signed and applied like any change`);
    this.#good(
      show`an organisation: ${people}, each with a signing key of their own; ${cast.agents.size} agents, for whom ${cast.owner.name} is answerable`,
    );
  }

  edit(): void {
    this.#done += 1;
    if (this.#bar) this.#drawBar();
    else if (this.#done % Math.ceil(this.#all / 5) === 0 && this.#done < this.#all)
      this.#cli.note(this.#cli.paint.dim(show`  ${this.#what} ${this.#done}/${this.#all}`));
  }

  #drawBar(): void {
    const filled = Math.round((this.#done / Math.max(1, this.#all)) * barWidth);
    const bar = `${"█".repeat(filled)}${"░".repeat(barWidth - filled)}`;
    this.#cli.terminal.err(`\r\u001b[2K  ${this.#cli.paint.cyan(bar).text} ${this.#what} ${this.#done}/${this.#all}`);
  }

  #clear(): void {
    if (this.#bar) this.#cli.terminal.err("\r\u001b[2K");
  }

  #good(text: Shown): void {
    this.#clear();
    this.#cli.note(show`${this.#cli.paint.green("✓")} ${text}`);
  }

  incident({ kind, text }: Incident): void {
    const told = (this.#told.get(kind) ?? 0) + 1;
    this.#told.set(kind, told);
    if (told > toldOfEach) return;
    this.#clear();
    this.#cli.note(show`  ${this.#cli.paint.yellow(kind.padEnd(8))} ${text}`);
    if (told === toldOfEach) this.#cli.note(this.#cli.paint.dim(show`           (more of these are only counted)`));
  }

  replayed(stage: Stage, replayed: readonly Replayed[]): void {
    const unchanged = replayed.reduce((sum, one) => sum + one.unchanged, 0);
    const left = unchanged === 0 ? "" : ` (${unchanged} changed nothing)`;
    this.#good(
      show`${this.#edits} edits replayed${left}: ${stage.tally.created.size} change-sets proposed, ${stage.tally.applied.size} applied, each target equal to what was recorded`,
    );
  }

  rollingBack(count: number): void {
    [this.#done, this.#all, this.#what] = [0, count, "rolling back"];
  }

  async summary(summary: DemoSummary): Promise<void> {
    this.#clear();
    await this.#cli.answer(machineSummary(summary), () => this.#forPeople(summary));
  }

  #forPeople({ stage, verify, seconds, problems }: DemoSummary): Shown {
    const { paint } = this.#cli;
    const { tally } = stage;
    const { report, bundle } = verify;
    const files = new Set([...stage.recorded.values()].flat().map(({ target }) => JSON.stringify(target))).size;
    const rows: readonly (readonly [string, string])[] = [
      [
        "change-sets",
        `${tally.created.size} proposed by ${stage.cast.agents.size} agents on ${files} targets, ${tally.applied.size} applied`,
      ],
      ["said no", `${tally.rejected.size} rejected by a person or by policy`],
      [
        "in each other's way",
        `${tally.conflicts.size} conflicts shown at submit, ${tally.driftRefused} applies refused because of drift`,
      ],
      ["failed", `${tally.compensated} apply could not finish and was taken back`],
      [
        "rolled back",
        `${tally.rolledBack.size}; ${tally.compared} targets compared with what they were: ${tally.unlike.length === 0 ? "every byte equal" : `${tally.unlike.length} differ`}`,
      ],
      [
        "ledger",
        `${report.entries} entries, integrity ${report.integrity}; verified at ${Math.round(report.entriesPerSecond).toLocaleString("en")} entries/s`,
      ],
      [
        "bundle",
        `exported and verified again without the server: ${bundle.integrity}, head ${(bundle.head ?? "").slice(0, 16)}…`,
      ],
      ["time", `${seconds.toFixed(1)} s`],
    ];
    const table = rows.map(([name, text]) => show`${paint.dim(name.padEnd(20))} ${text}`);
    const verdict =
      problems.length === 0
        ? paint.green("Every change was proposed, decided, recorded, and what was taken back is exactly what it was.")
        : lines(
            paint.red("Not everything is as it must be:"),
            ...problems.slice(0, 20).map((problem) => show`  ${problem}`),
          );
    return lines(empty, indent(lines(...table)), empty, verdict);
  }

  keepHint(folder: string): void {
    const { paint } = this.#cli;
    this.#cli.note(
      lines(
        empty,
        show`${paint.dim("Kept:")} ${folder}`,
        show`  ${paint.cyan(`COUNTERSIGN_DATA=${folder}/data countersign start`)}`,
        show`  ${paint.cyan(`COUNTERSIGN_DATA=${folder}/data COUNTERSIGN_KEY=$(cat ${folder}/key) countersign change-set list`)}`,
        show`  ${paint.cyan(`COUNTERSIGN_DATA=${folder}/data COUNTERSIGN_KEY=$(cat ${folder}/key) countersign audit log`)}`,
      ),
    );
  }
}

/** Exactly the documented keys. */
export function machineSummary({ stage, verify, seconds, problems }: DemoSummary) {
  const { tally } = stage;
  const { report } = verify;
  return {
    change_sets: tally.created.size,
    applied: tally.applied.size,
    rolled_back: tally.rolledBack.size,
    rejected: tally.rejected.size,
    conflicts: tally.conflicts.size,
    drift_refused: tally.driftRefused,
    entries: report.entries,
    verify: {
      integrity: verify.bundle.integrity === "ok" ? report.integrity : verify.bundle.integrity,
      completeness: report.completeness.status,
      entries_per_second: Math.round(report.entriesPerSecond),
    },
    restored_exact: tally.compared > 0 && tally.unlike.length === 0 && problems.length === 0,
    seconds: Math.round(seconds * 10) / 10,
  };
}
