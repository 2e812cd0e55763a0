/** The report as elements: what was found, who did what, where trust comes from. Everything of a file goes through `visible`. */
import { fromBase64Url, sha256Hex, type CompletenessSource, type Finding, type VerifyNote } from "@countersign/proof";
import { h } from "./dom.js";
import { happeningsOf } from "./happenings.js";
import type { Report } from "./messages.js";
import { counted, formatBytes, formatCount, formatDuration, formatTime, grouped, visible } from "./visible.js";
import {
  meaningOf,
  notCovered,
  noteTitle,
  placeOf,
  receiptStates,
  sentenceOf,
  sourceStates,
  type Tone,
} from "./words.js";

const findingsShownMax = 20;

/** Right below the verdict: the two questions, and the first bad entry. */
export function firstParts(report: Report): HTMLElement[] {
  const { result } = report;
  const first = result.first;
  return [
    part("Two questions", undefined, twoQuestions(report)),
    ...(first === undefined
      ? []
      : [
          part(
            first.class === "MALFORMED"
              ? "Where it shows"
              : first.seq === null
                ? "What was found"
                : "The first bad entry",
            undefined,
            findingBlock(first),
          ),
        ]),
    ...(result.findingsTotal > 1 ? [otherFindings(report)] : []),
  ];
}

export function restParts(report: Report): HTMLElement[] {
  return [
    ...trustParts(report),
    ...notesPart(report),
    ...(report.result.entries > 0 ? happeningsOf(report.summary) : []).map(({ title, count, body }) =>
      part(title, count, ...body),
    ),
    part(
      "What this does not show",
      undefined,
      h(
        "dl",
        { class: "limits" },
        ...notCovered.map(([title, text]) => h("div", {}, h("dt", {}, title), h("dd", {}, text))),
      ),
    ),
    part("The file itself", undefined, fileFacts(report)),
  ];
}

export function part(
  title: string,
  count: string | undefined,
  ...body: readonly (HTMLElement | undefined)[]
): HTMLElement {
  const heading = h("h2", {}, title, count === undefined ? undefined : h("span", { class: "count" }, count));
  return h("section", { class: "part" }, heading, h("div", {}, ...body));
}

/** Facts for the line below the verdict: [number, what it counts]. */
export function factsOf({ result, durationMs, file }: Report): (readonly [string, string])[] {
  const { entries, from, head, votes } = result;
  const facts: [string, string][] = [[formatCount(entries), entries === 1 ? "entry" : "entries"]];
  if (head !== undefined && (from > 0 || entries > 0))
    facts.push([`${formatCount(from)} – ${formatCount(head.seq)}`, "sequence"]);
  if (head !== undefined) facts.push([formatTime(head.timeMs), "newest"]);
  if (votes.checked > 0)
    facts.push([formatCount(votes.checked), votes.checked === 1 ? "signed vote verified" : "signed votes verified"]);
  facts.push([formatBytes(file.bytes), "read"], [formatDuration(durationMs), "taken"]);
  return facts;
}

// ---- integrity and completeness -------------------------------------------------------------------------------------

function twoQuestions(report: Report): HTMLElement {
  const { result } = report;
  const { completeness } = result;
  const integrity = {
    ok: ["good", "It holds", "Hashes, links, the signatures of votes and the signed tree all fit."],
    tampered: ["bad", "It was altered", `${counted(result.findingsTotal, "finding")}; the first stands below.`],
    undecided: ["unread", "Not decided", "Nothing is said about what could not be read."],
  } as const;
  const decided = result.integrity === "ok";
  const whole = {
    shown: ["good", completeness.unanchored === 0 ? "Shown" : `Shown but for ${formatCount(completeness.unanchored)}`],
    not_shown: ["doubt", result.entries === 0 ? "Not shown" : "Demanded, not shown"],
    not_demanded: ["unread", "Not demanded"],
  } as const;
  const nothing = ["unread", "Nothing to check", "There are no entries in it."] as const;
  const [tone, answer, text] = decided && result.entries === 0 ? nothing : integrity[result.integrity];
  const [wholeTone, wholeAnswer] = decided ? whole[completeness.status] : (["unread", "Not decided"] as const);
  return h(
    "div",
    { class: "pair" },
    question("Integrity: is it what was written?", tone, answer, text),
    question(
      "Completeness: is it everything?",
      wholeTone,
      wholeAnswer,
      decided ? visible(sentenceOf(completeness.statement), 500) : "This is answered where integrity holds.",
    ),
  );
}

function question(asked: string, tone: Tone, answer: string, text: string): HTMLElement {
  return h("div", { class: `is-${tone}` }, h("h3", {}, asked), h("p", { class: "answer" }, answer), h("p", {}, text));
}

// ---- findings -------------------------------------------------------------------------------------------------------

function findingBlock(finding: Finding): HTMLElement {
  const meaning = meaningOf(finding.class);
  return h(
    "article",
    { class: finding.class === "MALFORMED" ? "finding is-unread" : "finding" },
    h("h3", {}, meaning.headline),
    h("p", { class: "class" }, finding.class),
    h("p", { class: "place" }, placeOf(finding)),
    h("p", {}, meaning.what),
    versus(finding),
    h("p", { class: "next" }, h("b", {}, "What to do: "), meaning.next),
  );
}

function versus({ expected, actual, detail, table, id, evidence }: Finding): HTMLElement {
  const at = firstDifference(expected, actual);
  const marked = (text: string): HTMLElement =>
    h(
      "dd",
      {},
      visible(text.slice(0, at), 500),
      text.length > at ? h("mark", {}, visible(text.slice(at), 500)) : undefined,
    );
  return h(
    "dl",
    { class: "versus" },
    h("dt", {}, "expected"),
    marked(expected),
    h("dt", {}, "actual"),
    marked(actual),
    ...(detail === undefined ? [] : [h("dt", {}, "detail"), h("dd", {}, visible(detail, 500))]),
    ...(table === undefined ? [] : [h("dt", {}, "row"), h("dd", {}, visible(`${table} ${id ?? ""}`))]),
    ...(evidence ?? []).slice(0, 4).flatMap((note) => [h("dt", {}, "signed note"), h("dd", {}, visibleLines(note))]),
  );
}

function visibleLines(text: string): string {
  return text
    .slice(0, 2000)
    .split("\n")
    .map((line) => visible(line))
    .join("\n");
}

/** Where two texts begin to differ; nowhere, unless both are hashes: words that differ need no mark. */
function firstDifference(a: string, b: string): number {
  let at = 0;
  if (!/^[0-9a-f]{64}$/.test(a) || !/^[0-9a-f]{64}$/.test(b)) return Math.max(a.length, b.length);
  while (at < a.length && a[at] === b[at]) at++;
  return at;
}

function otherFindings({ result }: Report): HTMLElement {
  const others = result.findings.filter((finding) => finding !== result.first).slice(0, findingsShownMax - 1);
  const more = result.findingsTotal - 1 - others.length;
  const list = h(
    "ul",
    { class: "rows" },
    ...others.map((finding) =>
      h(
        "li",
        {},
        h("span", { class: "title" }, meaningOf(finding.class).headline),
        h("p", { class: "seq" }, h("code", {}, finding.class), ` · ${placeOf(finding)}`),
        h("details", {}, h("summary", {}, "Expected and actual"), versus(finding)),
      ),
    ),
  );
  const rest =
    more > 0
      ? h("p", { class: "aside" }, `${counted(more, "more finding")}. The first hundred are in the saved result.`)
      : undefined;
  return part("What else shows", counted(result.findingsTotal - 1, "finding"), list, rest);
}

// ---- trust ----------------------------------------------------------------------------------------------------------

function trustParts({ result, trust }: Report): HTMLElement[] {
  const { completeness, checkpoints } = result;
  const parts: HTMLElement[] = [];
  const keys = checkpoints.signedBy.map((key) => {
    const pinned = key.trust === "pinned";
    const origin = pinned ? "in your policy, or handed over by a key that is" : "by the bundle’s own word";
    return h(
      "li",
      { class: `source ${pinned ? "is-good" : "is-doubt"}` },
      h("div", {}, h("span", { class: "title" }, "Log key"), fingerprint(key.publicKey)),
      h(
        "p",
        { class: "state" },
        key.revokedAtMs === undefined ? (pinned ? "known" : "unconfirmed") : `revoked ${formatTime(key.revokedAtMs)}`,
      ),
      h("p", { class: "when" }, origin),
    );
  });
  const none = h(
    "p",
    {},
    trust.policy === null
      ? "Nobody’s signature on the checkpoints was checked: no key is known to be the log’s."
      : "No checkpoint of the bundle that agrees with its entries is signed with a key that is known to be the log’s.",
  );
  parts.push(
    part(
      "Keys, and who says so",
      undefined,
      keys.length > 0 ? h("ul", { class: "rows" }, ...keys) : none,
      policyLine(trust),
    ),
  );
  const sources = completeness.sources.slice(0, 100).map(sourceRow);
  const receipts = trust.receipts
    .slice(0, 100)
    .map(({ name, state, detail }) =>
      h(
        "li",
        { class: `source ${state === "holds" ? "is-good" : state === "fails" ? "is-bad" : "is-unread"}` },
        h("div", {}, h("span", { class: "title" }, h("bdi", {}, visible(name)))),
        h("p", { class: "state" }, receiptStates[state]),
        h("p", { class: "when" }, visible(detail)),
      ),
    );
  const unused = trust.unused
    .slice(0, 100)
    .map(({ name, why }) =>
      h(
        "li",
        { class: "source is-doubt" },
        h("div", {}, h("span", { class: "title" }, h("bdi", {}, visible(name)))),
        h("p", { class: "state" }, "not used"),
        h("p", { class: "when" }, visible(why)),
      ),
    );
  if (unused.length > 0)
    parts.push(part("Evidence that was not used", undefined, h("ul", { class: "rows" }, ...unused)));
  if (sources.length > 0) parts.push(part("Who else has seen it", undefined, h("ul", { class: "rows" }, ...sources)));
  if (receipts.length > 0)
    parts.push(part("Receipts", counted(receipts.length, "receipt"), h("ul", { class: "rows" }, ...receipts)));
  return parts;
}

function policyLine(trust: Report["trust"]): HTMLElement {
  if (trust.policy === null)
    return h(
      "p",
      { class: "aside" },
      "Without a policy the keys are the bundle’s own word: they show that the file fits together, not whose it is.",
    );
  const { name, problems } = trust.policy;
  const list = problems.slice(0, 20).map(({ line, message }) => h("li", {}, `line ${line}: ${visible(message)}`));
  return h(
    "div",
    {},
    h(
      "p",
      { class: "aside" },
      "Keys are taken from your policy ",
      h("bdi", {}, visible(name)),
      problems.length === 0 ? "" : ", not used:",
    ),
    list.length > 0 ? h("ul", { class: "problems" }, ...list) : undefined,
  );
}

const sourceTones = {
  agrees: "is-good",
  contradicts: "is-bad",
  unreadable: "is-doubt",
  untrusted: "is-doubt",
  nothing: "is-unread",
} as const;
const sourceKinds: Readonly<Record<string, string>> = {
  own: "they prove nothing by themselves",
  file: "file anchor",
  git: "git anchor",
  witness: "witness",
  receipt: "receipt",
};

function sourceRow({ name, kind, location, size, atMs, state, detail }: CompletenessSource): HTMLElement {
  const reach = size === null ? "" : ` (${counted(size, "entry", "entries")})`;
  const what = [
    sourceKinds[kind] ?? visible(kind),
    visible(location),
    atMs === null ? "" : formatTime(atMs),
    detail === undefined ? "" : visible(detail),
  ];
  return h(
    "li",
    { class: `source ${kind === "own" && state === "agrees" ? "is-unread" : sourceTones[state]}` },
    h(
      "div",
      {},
      h("span", { class: "title" }, h("bdi", {}, kind === "own" ? "The bundle’s own checkpoints" : visible(name))),
    ),
    h("p", { class: "state" }, `${sourceStates[state]}${reach}`),
    h("p", { class: "when" }, h("bdi", {}, what.filter((text) => text !== "").join(" · "))),
  );
}

/** SHA-256 of the key's 32 bytes, as it is read out over a telephone. */
export function fingerprint(publicKey: string): HTMLElement {
  const raw = fromBase64Url(publicKey, 32);
  return raw === undefined
    ? h("p", { class: "hash" }, "not a key: ", visible(publicKey, 60))
    : h("p", { class: "hash" }, grouped(sha256Hex(raw)));
}

// ---- notes and the file ---------------------------------------------------------------------------------------------

const notesShownMax = 100;

function notesPart({ result }: Report): HTMLElement[] {
  if (result.notesTotal === 0) return [];
  const rows = result.notes.slice(0, notesShownMax).map((note) => noteRow(note));
  const more = result.notesTotal - rows.length;
  const rest = more > 0 ? h("p", { class: "aside" }, `${counted(more, "more note")}.`) : undefined;
  return [part("Said openly", counted(result.notesTotal, "note"), h("ul", { class: "rows" }, ...rows), rest)];
}

function noteRow({ class: name, seq, by, detail }: VerifyNote): HTMLElement {
  const places = [
    seq === null ? "" : `entry ${formatCount(seq)}`,
    by === undefined ? "" : `said by entry ${formatCount(by)}`,
  ].filter((text) => text !== "");
  return h(
    "li",
    {},
    h("span", { class: "title" }, noteTitle(name)),
    h("p", {}, visible(detail, 500)),
    h("p", { class: "seq" }, h("code", {}, name), places.length > 0 ? ` · ${places.join(" · ")}` : ""),
  );
}

function fileFacts({ file, archives, result }: Report): HTMLElement {
  const { header, head } = result;
  const rows: (readonly [string, string])[] = [["name", visible(file.name)]];
  if (file.sha256 !== null) rows.push(["SHA-256", grouped(file.sha256)]);
  if (header !== undefined) {
    rows.push(["deployment", visible(header.deployment)], ["tenant", visible(header.tenant)]);
    if (header.about !== undefined)
      rows.push([
        "selected by",
        Object.entries(header.about)
          .slice(0, 10)
          .map(([key, value]) => `${visible(key)}: ${visible(value)}`)
          .join(", "),
      ]);
    rows.push(
      ["exported", formatTime(header.exportedAtMs)],
      [
        "bodies",
        `${header.bodies}; ${formatCount(result.bodies.checked)} verified, ${formatCount(result.bodies.absent)} not in the file`,
      ],
    );
  }
  for (const archive of archives.slice(0, 20))
    rows.push([
      "archive",
      `${visible(archive.name)}: ${counted(archive.entries, "entry", "entries")}, SHA-256 ${grouped(archive.sha256)}`,
    ]);
  if (head !== undefined) rows.push([`hash of entry ${formatCount(head.seq)}`, grouped(head.hash)]);
  if (head?.root !== undefined) rows.push(["root of the tree", grouped(head.root)]);
  return h(
    "dl",
    { class: "versus" },
    ...rows.flatMap(([title, text]) => [h("dt", {}, title), h("dd", {}, h("bdi", {}, text))]),
  );
}
