/** `countersign change-set …`: from proposal to archive. */
import {
  statuses,
  type ApplicationAnswer,
  type ChangeSetAnswer,
  type ChangeSetView,
  type ItemInput,
  statusesFor,
} from "@countersign/contract";
import { isCountersignError, type Input } from "@countersign/sdk";
import type { Command } from "commander";
import type { Cli } from "../cli.js";
import { proposalOptions, readDraft, sendItems, titleOf, type ProposalOptions } from "../propose.js";
import type { CommandSet } from "../define.js";
import { CliError, exit, type ExitCode } from "../exit.js";
import { entryTable } from "../render/entries.js";
import {
  applicationText,
  changeSetBrief,
  changeSetTable,
  changeSetText,
  heading,
  itemsWithDiffs,
  paintLevel,
} from "../render/changeSet.js";
import { undoLines } from "../render/diff.js";
import { checkedDigest, proven, signVote } from "../signing.js";
import { empty, indent, lines, show, type Shown } from "../text.js";

export function changeSetCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "change-set", "propose, look at, approve, apply and undo change-sets").alias("cs");
  create(set, group);
  list(set, group);
  reading(set, group);
  votes(set, group);
  revise(set, group);
  moving(set, group);
}

const number = "<id>";

export interface Steps {
  readonly submit?: boolean;
  readonly apply?: boolean;
}

function create(set: CommandSet, group: Command): void {
  const command = set.add(
    group,
    "create",
    "propose a change-set: it is checked, planned and scored; nothing is changed yet",
    [
      "countersign change-set create --set 'CONFIG:shop/checkout#/timeout=30' --submit",
      "countersign change-set create --file shop:config/app.json --from ./app.json -t 'New limits'",
      "countersign change-set create --put CONFIG:shop/checkout --from checkout.json --submit --apply",
      "countersign change-set create -f changes.json --submit      (docs/targets.md has the JSON)",
      "countersign change-set create --set 'production:CONFIG:shop/checkout#/name=\"007\"'   (quotes make it a text)",
    ],
  );
  const forms = proposalOptions(command);
  command
    .option("--submit", "ask for approval at once")
    .option("--apply", "submit, and apply if nobody has to approve");
  set.does<ProposalOptions & Steps>(command, async (cli, options) => {
    const draft = await readDraft(cli, options, forms);
    if (draft.items.length === 0) {
      throw new CliError("usage", "the change-set has no items; say what to change", {
        help: [
          "countersign change-set create --set 'CONFIG:shop/checkout#/timeout=30'",
          "countersign change-set create --help",
        ],
      });
    }
    const created = await sendItems(draft.items, (items) =>
      cli.client.createChangeSet({ ...draft.fields, title: titleOf(draft), items } as Input<"createChangeSet">),
    );
    return finish(cli, created, options);
  });
}

/** Submits and applies, as the options say, and answers with the outcome. */
export async function finish(cli: Cli, created: ChangeSetAnswer, steps: Steps): Promise<ExitCode> {
  let answer: ChangeSetAnswer | ApplicationAnswer = created;
  const { id } = created.changeSet;
  if (steps.submit === true || steps.apply === true)
    answer = await afterCreated(created.changeSet, () => cli.client.submitChangeSet({ id }));
  if (steps.apply === true && answer.changeSet.status === "APPROVED")
    answer = await afterCreated(created.changeSet, () => cli.client.applyChangeSet({ id }));
  if (steps.apply === true && answer.changeSet.status === "PENDING_APPROVAL")
    cli.note(cli.paint.yellow("not applied yet: somebody must approve it first"));
  await cli.answer(answer, () => answerText(cli, answer, steps.apply === true ? "brief" : "whole"));
  return steps.apply === true ? applied(answer) : exit.ok;
}

/** A refusal of a later step: the change-set stays, and the refusal says of which it speaks. */
async function afterCreated<T>(set: ChangeSetView, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (isCountersignError(error)) throw Object.assign(error, { changeSet: set.number });
    throw error;
  }
}

function applied(answer: ChangeSetAnswer | ApplicationAnswer): ExitCode {
  return "application" in answer && answer.application.status !== "SUCCEEDED" ? exit.refused : exit.ok;
}

function answerText(cli: Cli, answer: ChangeSetAnswer | ApplicationAnswer, how: "brief" | "whole"): Shown {
  const { paint, terminal } = cli;
  const text =
    how === "brief"
      ? changeSetBrief(paint, answer.changeSet)
      : changeSetText(paint, answer.changeSet, { nowMs: terminal.nowMs(), diffs: true });
  const run = "application" in answer ? lines(empty, applicationText(cli.paint, answer.application)) : undefined;
  const seqs = answer.receipts.map((receipt) => receipt.seq);
  const recorded =
    seqs.length === 0
      ? undefined
      : cli.paint.dim(
          show`recorded in the ledger as ${seqs.length === 1 ? `entry ${seqs[0]}` : `entries ${Math.min(...seqs)}–${Math.max(...seqs)}`}`,
        );
  return lines(text, run, recorded);
}

interface ListOptions {
  readonly status?: string;
  readonly category?: string;
  readonly author?: string;
  readonly tag?: string;
  readonly target?: string;
  readonly search?: string;
  readonly sort: string;
  readonly order: string;
  readonly limit: string;
  readonly pending?: boolean;
  readonly mine?: boolean;
}

function list(set: CommandSet, group: Command): void {
  const command = set
    .add(group, "list", "list change-sets, the newest first", [
      "countersign change-set list --status PENDING_APPROVAL",
      "countersign change-set list --pending --mine      those that wait for your vote",
      "countersign change-set list --target shop/checkout --sort risk --json",
    ])
    .alias("ls")
    .option("--status <status,…>", `one or more of ${statuses.join(", ")}`)
    .option("--category <category,…>", "category")
    .option("--author <name>", "name or id of the author")
    .option("--tag <text>", "tag")
    .option("--target <text>", "part of a target's id")
    .option("--search <words>", "words of the title, description or number")
    .option("--sort <by>", "created, updated, risk or deadline", "created")
    .option("--order <order>", "asc or desc", "desc")
    .option("--limit <rows>", "rows at most", "50")
    .option("--pending", "those that wait for a vote, and the people they wait for")
    .option("--mine", "with --pending: those that wait for yours");
  set.does<ListOptions>(command, async (cli, options) => {
    const limit = wholeNumber(options.limit, "--limit");
    const width = Math.max(24, cli.terminal.columns - 90);
    if (options.pending === true || options.mine === true) {
      const page = await cli.client.listPendingApprovals({ mine: options.mine === true, limit });
      return cli.answer(page, () =>
        lines(
          changeSetTable(cli.paint, page.rows, cli.terminal.nowMs(), width),
          ...page.rows.map((row) => show`${row.number} waits for ${cli.paint.yellow(row.waitingFor.join("; "))}`),
        ),
      );
    }
    const { status, category, author, tag, target, search, sort, order } = options;
    const filters = {
      author,
      tag,
      target,
      search,
      sort,
      order,
      limit,
      status: status?.split(","),
      category: category?.split(","),
    };
    const page = await cli.client.listChangeSets(filters as Input<"listChangeSets">);
    await cli.answer(page, () =>
      lines(
        changeSetTable(cli.paint, page.rows, cli.terminal.nowMs(), width),
        page.nextCursor !== null && cli.paint.dim("there are more: --limit, or narrow it down"),
      ),
    );
  });
}

export function wholeNumber(text: string, option: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new CliError("usage", `\`${text}\` is no whole number for ${option}`);
  return Number(text);
}

function reading(set: CommandSet, group: Command): void {
  set.does(
    set.add(
      group,
      `show ${number}`,
      "everything about a change-set: items, risk, policy, route, votes, legal commands",
    ),
    async (cli, _options, id) => {
      const view = await cli.client.getChangeSet({ id });
      await cli.answer(view, () => changeSetText(cli.paint, view, { nowMs: cli.terminal.nowMs(), diffs: false }));
    },
  );
  set.does(
    set.add(group, `diff ${number}`, "the changes of a change-set, item by item", [
      "countersign change-set diff CS-2026-1120-001 | less -R",
    ]),
    async (cli, _options, id) => {
      const { rows } = await cli.client.listChangeSetItems({ id });
      await cli.answer({ rows }, () => itemsWithDiffs(cli.paint, rows));
    },
  );
  set.does(
    set.add(group, `history ${number}`, "every ledger entry about a change-set, oldest first"),
    async (cli, _options, id) => {
      const { rows } = await cli.client.getChangeSetHistory({ id });
      await cli.answer({ rows }, () => entryTable(cli.paint, rows));
    },
  );
}

interface VoteOptions {
  readonly reason?: string;
  readonly abstain?: boolean;
}

function votes(set: CommandSet, group: Command): void {
  const approve = set
    .add(
      group,
      `approve ${number}`,
      "approve by signature: shows the change-set, then asks for your key's passphrase",
      [
        "countersign change-set approve CS-2026-1120-001",
        "countersign change-set approve CS-2026-1120-001 --yes --passphrase-file ~/.countersign-passphrase",
      ],
    )
    .option("--reason <text>", "why, for the record")
    .option("--abstain", "take part without consenting");
  set.does<VoteOptions>(approve, (cli, options, id) =>
    vote(cli, id, options.abstain === true ? "ABSTAINED" : "APPROVED", options.reason),
  );
  const reject = set
    .add(group, `reject ${number}`, "reject by signature; also withdraws an approval that is not applied yet")
    .requiredOption("--reason <text>", "why");
  set.does<VoteOptions>(reject, (cli, options, id) => vote(cli, id, "REJECTED", options.reason));
  const back = set
    .add(group, `request-changes ${number}`, "send a change-set back to its author; votes are dismissed")
    .requiredOption("--reason <text>", "what to change");
  set.does<VoteOptions>(back, (cli, options, id) =>
    answered(cli, cli.client.requestChanges({ id, ...reasoned(options) })),
  );
}

/** Shows what will be signed, asks, signs, sends. */
export async function vote(
  cli: Cli,
  id: string,
  decision: "APPROVED" | "REJECTED" | "ABSTAINED",
  reason: string | undefined,
): Promise<void> {
  const view = await cli.client.getChangeSet({ id });
  const digest = checkedDigest(view);
  const question = showBallot(cli, view, digest, decision);
  // Giving the passphrase is consent; where it is given beforehand, the person is asked, or said so with --yes.
  if (cli.passphraseIsGiven) await cli.sure(question);
  const signed = await signVote(cli, view, digest, decision);
  const send = decision === "REJECTED" ? cli.client.rejectChangeSet : cli.client.approveChangeSet;
  await answered(cli, send.call(cli.client, { id: view.id, ...signed, ...(reason === undefined ? {} : { reason }) }));
}

function showBallot(cli: Cli, view: ChangeSetView, digest: string, decision: string): Shown {
  const { paint } = cli;
  cli.note(
    lines(
      heading(paint, view),
      show`risk ${paintLevel(paint, view.riskLevel ?? "")} ${view.riskScore ?? ""}, undo ${view.reversibility}, by ${view.author.name}`,
      empty,
      itemsWithDiffs(paint, view.items),
      empty,
    ),
  );
  cli.note(show`${paint.bold(decision)} will be signed over approval digest ${paint.cyan(digest)}`);
  return show`Sign ${decision} for ${view.number}?`;
}

function reasoned(options: { readonly reason?: string }): { reason?: string } {
  return options.reason === undefined ? {} : { reason: options.reason };
}

async function answered(cli: Cli, call: Promise<ChangeSetAnswer | ApplicationAnswer>): Promise<ExitCode> {
  const answer = await call;
  await cli.answer(answer, () => answerText(cli, answer, "brief"));
  return applied(answer);
}

function revise(set: CommandSet, group: Command): void {
  const command = set.add(group, `revise ${number}`, "make a new revision; votes on the old one are dismissed", [
    "countersign change-set revise CS-2026-1120-001 --rebase --submit   (the same items, planned on the targets' present state)",
    "countersign change-set revise CS-2026-1120-001 -f changes.json",
  ]);
  const forms = proposalOptions(command);
  command
    .option("--rebase", "keep the items and plan them again")
    .option("--revision <number>", "the revision your changes are based on; the present one when left out")
    .option("--submit", "ask for approval at once")
    .option("--apply", "submit, and apply if nobody has to approve");
  set.does<ProposalOptions & Steps & { readonly rebase?: boolean; readonly revision?: string }>(
    command,
    async (cli, options, id) => {
      const draft = await readDraft(cli, options, forms);
      const { items: _items, ...fields } = draft.fields;
      if (draft.items.length === 0 && options.rebase !== true && Object.keys(fields).length === 0)
        throw new CliError("usage", "nothing to revise; give `--rebase`, `-f FILE` or changes such as `--set`");
      if (draft.items.length > 0 && options.rebase === true)
        throw new CliError("usage", "`--rebase` keeps the items; leave it out or leave the items out");
      const revision =
        options.revision === undefined
          ? (await cli.client.getChangeSetStatus({ id })).revision
          : wholeNumber(options.revision, "--revision");
      const send = (items: ItemInput[]): Promise<ChangeSetAnswer> =>
        cli.client.reviseChangeSet({
          id,
          revision,
          ...fields,
          ...(items.length === 0 ? {} : { items }),
        } as Input<"reviseChangeSet">);
      return finish(cli, await sendItems(draft.items, send), options);
    },
  );
}

interface MoveOptions {
  readonly reason?: string;
  readonly cascade?: boolean;
  readonly as: "applied" | "not_applied";
  readonly evidence: string;
  readonly wait?: boolean;
}

function moving(set: CommandSet, group: Command): void {
  set.does(
    set.add(group, `submit ${number}`, "ask for approval: policy decides, the route is made"),
    (cli, _options, id) => answered(cli, cli.client.submitChangeSet({ id })),
  );
  set.does(
    set.add(
      group,
      `apply ${number}`,
      "change the targets; answers when every item is verified or compensated, or its state is reported",
    ),
    (cli, _options, id) => answered(cli, cli.client.applyChangeSet({ id })),
  );
  const back = set
    .add(group, `rollback ${number}`, "bring every target back to exactly its earlier state")
    .option("--reason <text>", "why, for the record")
    .option("--cascade", "roll back the later change-sets that build on it first");
  set.does<MoveOptions>(back, (cli, options, id) =>
    answered(cli, rollBack(cli, { id, cascade: options.cascade === true, ...reasoned(options) })),
  );
  set.does(set.add(group, `resume ${number}`, "go on with a partly applied change-set"), (cli, _options, id) =>
    answered(cli, cli.client.resumeChangeSet({ id })),
  );
  const resolve = set
    .add(group, `resolve ${number}`, "state, with evidence and your key, the outcome of a partly applied change-set", [
      "countersign change-set resolve CS-2026-1120-001 --as applied --evidence 'compared by hand, ticket 4711'",
    ])
    .requiredOption("--as <what>", "applied or not_applied")
    .requiredOption("--evidence <text>", "how you know");
  set.does<MoveOptions>(resolve, async (cli, options, id) => {
    const input = await proven(
      cli,
      "resolveChangeSet",
      { id, as: options.as, evidence: options.evidence },
      `resolve ${id}`,
    );
    return answered(cli, cli.client.resolveChangeSet(input));
  });
  const cancel = set.add(group, `cancel ${number}`, "give it up").option("--reason <text>", "why, for the record");
  set.does<MoveOptions>(cancel, (cli, options, id) =>
    answered(cli, cli.client.cancelChangeSet({ id, ...reasoned(options) })),
  );
  set.does(
    set.add(
      group,
      `archive ${number}`,
      "archive a finished change-set; its backups are released, so it cannot be undone any more",
    ),
    async (cli, _options, id) => {
      await cli.sure(show`Archive ${id}? It cannot be undone after that.`);
      return answered(cli, cli.client.archiveChangeSet({ id }));
    },
  );
}

/** With the person's key where the server asks for it: for changes to the tenant's governance. */
async function rollBack(
  cli: Cli,
  input: { id: string; cascade: boolean; reason?: string },
): Promise<ApplicationAnswer> {
  try {
    return await cli.client.rollbackChangeSet(input);
  } catch (error) {
    if (!isCountersignError(error) || error.code !== "precondition_required") throw error;
    const signed = await proven(cli, "rollbackChangeSet", input, `take back ${input.id}`);
    if (!("proof" in signed)) throw error;
    return cli.client.rollbackChangeSet(signed);
  }
}

/** `countersign undo`: the last applied change-set of the caller or of an agent they answer for. */
export function undoCommand(set: CommandSet, root: Command): void {
  const command = set
    .add(
      root,
      "undo [id]",
      "roll back your last applied change-set (yours or your agents'), or a named one; shows first what it will do",
      ["countersign undo", "countersign undo CS-2026-1120-001 --yes --reason 'wrong limits'"],
    )
    .option("--reason <text>", "why, for the record")
    .option("--cascade", "roll back the later change-sets that build on it first");
  set.does<MoveOptions>(command, async (cli, options, id) => {
    const view = id === "" ? await lastApplied(cli) : await cli.client.getChangeSet({ id });
    const { paint } = cli;
    const undone = view.items.toReversed().flatMap((item) => undoLines(paint, item));
    cli.note(
      lines(
        heading(paint, view),
        show`by ${view.author.name}`,
        show`undoing it will:`,
        ...undone.map((line) => indent(line)),
        empty,
      ),
    );
    await cli.sure(show`Roll back ${view.number}?`);
    return answered(cli, rollBack(cli, { id: view.id, cascade: options.cascade === true, ...reasoned(options) }));
  });
}

const undoable = statusesFor("roll_back");

async function lastApplied(cli: Cli): Promise<ChangeSetView> {
  const me = await cli.me();
  const mine = new Set([me.principal.id]);
  if (me.principal.kind === "human" && me.permissions.includes("principals.read")) {
    for await (const row of cli.client.all("listPrincipals", { limit: 200 }))
      if (row.answerable?.id === me.principal.id) mine.add(row.id);
  }
  for await (const row of cli.client.all("listChangeSets", {
    status: undoable,
    sort: "updated",
    order: "desc",
    limit: 50,
  })) {
    if (mine.has(row.author.id)) return cli.client.getChangeSet({ id: row.id });
  }
  throw new CliError("nothing_to_undo", "nothing of yours is applied now", {
    help: ["countersign change-set list --status APPLIED", "countersign undo ID"],
  });
}
