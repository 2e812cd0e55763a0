/**
 * The page: holds what was dropped, starts the verifier, shows the verdict. A verdict belongs to exactly the files listed
 * beside it: whenever one comes or goes, everything is verified again.
 */
import { byId, h } from "./dom.js";
import { runJob } from "./engine.js";
import { anchorsIn, filesIn, type FileAt } from "./folders.js";
import type { AnchorFiles, Answer, Job, Report } from "./messages.js";
import { headBytes, recognise, type FileKind } from "./recognise.js";
import { factsOf, firstParts, restParts } from "./report.js";
import { emptySeal, sealOf } from "./seal.js";
import { counted, formatBytes, formatCount, visible } from "./visible.js";
import { verdictOf } from "./words.js";

interface HeldFile {
  readonly file: File;
  readonly kind: FileKind | "archive";
  /** The folder it stands for. */
  readonly anchor?: AnchorFiles;
}

const kindNames = {
  bundle: "bundle",
  policy: "policy",
  anchor: "checkpoints of an anchor",
  receipt: "receipt",
  keys: "statements of keys",
  archive: "archive",
} as const;
const filesMax = 1000;

export function startPage(script: string): void {
  let held: HeldFile[] = [];
  let stopCurrent: (() => void) | undefined;
  let latest: Report | undefined;

  function take(found: readonly HeldFile[]): void {
    const bundle = found.find(({ kind }) => kind === "bundle");
    const policy = found.find(({ kind }) => kind === "policy");
    const replaced = held.filter(({ kind }) => !((kind === "bundle" && bundle) || (kind === "policy" && policy)));
    const others = found.filter(({ kind }) => kind !== "bundle" && kind !== "policy");
    held = [...replaced, ...(bundle ? [bundle] : []), ...(policy ? [policy] : []), ...others].slice(0, filesMax);
    changed();
  }

  function changed(): void {
    showHeld(held, (gone) => {
      held = held.filter((one) => one !== gone);
      changed();
    });
    stopCurrent?.();
    stopCurrent = undefined;
    latest = undefined;
    if (held.some(({ kind }) => kind === "bundle")) start();
    else showEmpty(held.length > 0);
  }

  function start(): void {
    const job = jobOf(held, byId<HTMLInputElement>("strict").checked);
    showWorking(job);
    const stop = runSomewhere(script, job, (answer) => {
      if (stop !== stopCurrent) return;
      if (answer.kind === "progress") return showProgress(answer);
      stopCurrent = undefined;
      if (answer.kind === "failed") return showFailed(answer.why);
      latest = answer.report;
      showReport(answer.report);
    });
    stopCurrent = stop;
  }

  byId("cancel").addEventListener("click", () => {
    stopCurrent?.();
    stopCurrent = undefined;
    showFailed("it was stopped");
  });
  byId("save").addEventListener("click", () => latest && save(latest));
  byId("print").addEventListener("click", () => print());
  byId("strict").addEventListener("change", () => changed());
  takeFromPickers(take);
  takeFromDrops(take);
  showEmpty(false);
}

// ---- files ----------------------------------------------------------------------------------------------------------

type Take = (found: readonly HeldFile[]) => void;

/** A picker says what its file is; only further evidence is told apart, and there a bundle is an archive. */
function takeFromPickers(take: Take): void {
  const folder = byId<HTMLInputElement>("choose-folder");
  folder.addEventListener("change", () => {
    const files = [...(folder.files ?? [])].map((file) => ({ path: `/${file.webkitRelativePath}`, file }));
    folder.value = "";
    take(heldFolders(files));
  });
  for (const slot of ["bundle", "policy", "evidence"] as const) {
    const input = byId<HTMLInputElement>(`choose-${slot}`);
    input.addEventListener("change", () => {
      const files = [...(input.files ?? [])];
      input.value = "";
      if (slot === "evidence") void sorted(files, "archive").then(take);
      else take(files.slice(0, 1).map((file) => ({ file, kind: slot })));
    });
  }
}

function takeFromDrops(take: Take): void {
  const root = document.documentElement;
  const isFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  addEventListener("dragover", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    root.setAttribute("data-dragging", "");
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) root.removeAttribute("data-dragging");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    root.removeAttribute("data-dragging");
    const target = event.target instanceof Element ? event.target : null;
    const asArchive = target?.closest("#slot-evidence") != null;
    void dropped(event.dataTransfer, asArchive ? "archive" : "bundle").then(take);
  });
}

/** Folders are anchors; files are told apart. What was dropped has to be asked for before anything is awaited. */
async function dropped(given: DataTransfer | null, firstBundle: "bundle" | "archive"): Promise<HeldFile[]> {
  const entries = [...(given?.items ?? [])].map((item) => item.webkitGetAsEntry());
  const folders = entries.filter((entry) => entry?.isDirectory === true);
  const files = [...(given?.files ?? [])].filter((_, i) => entries[i]?.isDirectory !== true);
  const found = await Promise.all(folders.map(async (entry) => (entry === null ? [] : filesIn(entry).catch(() => []))));
  return [...(await sorted(files, firstBundle)), ...found.flatMap(heldFolders)];
}

function heldFolders(files: readonly FileAt[]): HeldFile[] {
  const name = files[0]?.path.split("/")[1] ?? "folder";
  return anchorsIn(name, files).flatMap((anchor) => {
    const [file] = anchor.files;
    return file === undefined ? [] : [{ file, kind: "anchor" as const, anchor }];
  });
}

/** Of several bundles the first is the one to verify, the others are archives. */
async function sorted(files: readonly File[], firstBundle: "bundle" | "archive"): Promise<HeldFile[]> {
  const found: HeldFile[] = [];
  for (const file of files.slice(0, filesMax)) {
    const head = await file
      .slice(0, headBytes)
      .arrayBuffer()
      .catch(() => new ArrayBuffer(0));
    const kind = recognise(file.name, new Uint8Array(head));
    const isArchive = kind === "bundle" && (firstBundle === "archive" || found.some((one) => one.kind === "bundle"));
    found.push({ file, kind: isArchive ? "archive" : kind });
  }
  return found;
}

function jobOf(held: readonly HeldFile[], requireAnchored: boolean): Job {
  const of = (wanted: HeldFile["kind"]): File[] => held.filter(({ kind }) => kind === wanted).map(({ file }) => file);
  const [bundle] = of("bundle");
  if (bundle === undefined) throw new Error("there is no bundle");
  return {
    bundle,
    archives: of("archive"),
    policies: of("policy"),
    anchors: held
      .filter(({ kind }) => kind === "anchor")
      .map(({ file, anchor }) => anchor ?? { name: file.name, origin: "", files: [file], tiles: [] }),
    receipts: of("receipt"),
    keys: of("keys"),
    requireAnchored,
  };
}

// ---- running --------------------------------------------------------------------------------------------------------

/** In a worker; where a browser refuses one for a page from a file, here, piece by piece. Returns how to stop it. */
function runSomewhere(script: string, job: Job, answer: (answer: Answer) => void): () => void {
  let stopped = false;
  const here = (): void => {
    const breathe = (): Promise<void> =>
      new Promise((resolve, reject) => setTimeout(() => (stopped ? reject(new Error("it was stopped")) : resolve())));
    void runJob(job, { breathe, answer: (given) => !stopped && answer(given) });
  };
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  let worker: Worker | undefined;
  const stop = (): void => {
    stopped = true;
    worker?.terminate();
    URL.revokeObjectURL(address);
  };
  // The caller knows how to stop before the first answer comes.
  setTimeout(() => {
    if (stopped) return;
    let heard = false;
    try {
      worker = new Worker(address);
    } catch {
      // Not allowed here: said by throwing in some browsers, by an error event in others.
      return here();
    }
    worker.onmessage = (event: MessageEvent<Answer>) => {
      heard = true;
      if (event.data.kind !== "progress") {
        worker?.terminate();
        URL.revokeObjectURL(address);
      }
      if (!stopped) answer(event.data);
    };
    worker.onerror = (event) => {
      worker?.terminate();
      if (stopped) return;
      if (heard) answer({ kind: "failed", why: event.message || "the verifier ended unexpectedly" });
      else here();
    };
    worker.postMessage(job);
  });
  return stop;
}

// ---- showing --------------------------------------------------------------------------------------------------------

function state(name: "empty" | "working" | "done", tone: string): void {
  document.documentElement.dataset["state"] = name;
  document.documentElement.dataset["tone"] = tone;
  byId("meter").hidden = name !== "working";
  byId("cancel").hidden = name !== "working";
  byId("save").hidden = true;
  byId("print").hidden = true;
  byId("facts").replaceChildren();
  byId("first").replaceChildren();
  byId("rest").replaceChildren();
}

function pronounce(word: string, headline: string, sentence: string): void {
  byId("word").textContent = word;
  byId("headline").textContent = headline;
  byId("sentence").textContent = sentence;
}

function showEmpty(hasOthers: boolean): void {
  state("empty", "none");
  byId("seal").replaceChildren(emptySeal());
  document.title = "Verify a ledger · Countersign";
  pronounce(
    hasOthers ? "No bundle yet" : "No file yet",
    "Find out for yourself.",
    "Drop a ledger’s bundle anywhere on this page. You will see whether it is what was written, who agreed to what, and what nobody outside confirms.",
  );
}

let saidTenths = -1;

function showWorking(job: Job): void {
  state("working", "none");
  saidTenths = -1;
  byId("seal").replaceChildren(emptySeal(0));
  pronounce("Reading", "Following the chain …", visible(job.bundle.name));
  showProgress({ readBytes: 0, totalBytes: job.bundle.size, entries: 0 });
}

function showProgress({
  readBytes,
  totalBytes,
  entries,
}: {
  readBytes: number;
  totalBytes: number;
  entries: number;
}): void {
  const share = totalBytes === 0 ? 1 : readBytes / totalBytes;
  byId("seal").replaceChildren(emptySeal(share));
  byId("bar").style.width = `${(share * 100).toFixed(1)}%`;
  byId("meter").setAttribute("aria-valuenow", String(Math.round(share * 100)));
  const counting = entries > 0 ? [fact(formatCount(entries), "entries so far")] : [];
  byId("facts").replaceChildren(fact(formatBytes(readBytes), `of ${formatBytes(totalBytes)}`), ...counting);
  const tenths = Math.floor(share * 10);
  if (tenths === saidTenths) return;
  saidTenths = tenths;
  byId("said").textContent = `${tenths * 10} percent read`;
}

function showFailed(why: string): void {
  state("done", "unread");
  byId("seal").replaceChildren(sealOf(undefined, "unread"));
  pronounce(
    "Undecided",
    "There is no verdict.",
    `The verification did not come to its end: ${visible(why)}. Nothing is said about the file, neither good nor bad.`,
  );
  byId("said").textContent = "There is no verdict.";
}

function showReport(report: Report): void {
  const { tone, word, headline, sentence } = verdictOf(report);
  state("done", tone);
  byId("seal").replaceChildren(sealOf(report.result.head?.hash, tone));
  pronounce(word, visible(headline), visible(sentence, 1000));
  byId("facts").replaceChildren(...factsOf(report).map(([number, what]) => fact(number, what)));
  byId("first").replaceChildren(...firstParts(report));
  byId("rest").replaceChildren(...restParts(report));
  byId("save").hidden = false;
  byId("print").hidden = false;
  document.title = `${word} · ${visible(report.file.name, 80)} · Countersign`;
  byId("said").textContent = `${word}. ${visible(headline)}`;
  byId("headline").focus({ preventScroll: true });
  scrollTo({ top: 0 });
}

function fact(number: string, what: string): HTMLElement {
  return h("li", {}, h("b", {}, number), ` ${what}`);
}

function showHeld(held: readonly HeldFile[], remove: (gone: HeldFile) => void): void {
  for (const slot of ["bundle", "policy", "evidence"]) {
    const mine = held.filter(({ kind }) => (kind === "bundle" || kind === "policy" ? kind : "evidence") === slot);
    const rows = mine.slice(0, 50).map((one) => {
      const button = h("button", { type: "button", "aria-label": `Remove ${visible(one.file.name, 80)}` }, "Remove");
      button.addEventListener("click", () => remove(one));
      return h(
        "li",
        {},
        h(
          "span",
          {},
          h("bdi", {}, visible(one.anchor?.name ?? one.file.name, 120)),
          h("span", { class: "size" }, heldAs(one)),
        ),
        button,
      );
    });
    const more =
      mine.length > rows.length ? [h("li", {}, `and ${counted(mine.length - rows.length, "more file")}`)] : [];
    if (slot !== "evidence") byId(`label-${slot}`).textContent = `Choose ${mine.length > 0 ? "another" : "a"} ${slot}`;
    byId(`held-${slot}`).replaceChildren(...rows, ...more);
  }
}

function heldAs({ kind, file, anchor }: HeldFile): string {
  if (anchor === undefined) return `${kindNames[kind]}, ${formatBytes(file.size)}`;
  return `folder of an anchor, ${counted(anchor.tiles.length, "tile")}: ${visible(anchor.origin, 120)}`;
}

function save(report: Report): void {
  const text = `${JSON.stringify(report, undefined, 2)}\n`;
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  h("a", { href: address, download: "verification.json" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
