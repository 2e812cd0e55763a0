/**
 * A headless Chromium without a network, driven through its own pipe (Chrome DevTools Protocol), so that tests need no driver.
 * On a machine without one, tests that need it are left out, with the reason; where CI says that it is one, they fail.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";

const names = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/** Path of a browser, or undefined. In CI a missing one is an error, because then nothing would be tested. */
export function findChromium(): string | undefined {
  const named = process.env["CHROMIUM"];
  const found = (named === undefined ? names : [named]).find((name) => spawnSync(name, ["--version"]).status === 0);
  if (found !== undefined) return found;
  const reason = "no Chromium on this machine (install the package `chromium`, or name one in CHROMIUM)";
  if (process.env["CI"] === "true") throw new Error(reason);
  console.warn(`tests of verify.html left out: ${reason}`);
  return undefined;
}

type Params = Record<string, unknown>;
interface Message {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: Params;
  readonly result?: Params;
  readonly error?: { readonly message: string };
}

export class Chromium {
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<number, (message: Message) => void>();
  readonly #listeners = new Map<string, (message: Message) => void>();
  #lastId = 0;
  #ended = "";

  static async start(path: string): Promise<Chromium> {
    const profile = await mkdtemp(join(tmpdir(), "countersign-chromium-"));
    const child = spawn(
      path,
      [
        "--headless=new",
        "--no-sandbox", // CI runs as root; everything that is opened here was made here
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--proxy-server=127.0.0.1:9",
        "--remote-debugging-pipe",
        `--user-data-dir=${profile}`,
        "about:blank",
      ],
      { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] },
    );
    return new Chromium(child, profile);
  }

  private constructor(child: ChildProcess, profile: string) {
    this.#process = child;
    this.#profile = profile;
    let rest = "";
    (child.stdio[4] as Readable).setEncoding("utf8").on("data", (text: string) => {
      const parts = (rest + text).split("\0");
      rest = parts.pop() ?? "";
      for (const part of parts) this.#take(JSON.parse(part) as Message);
    });
    child.on("exit", (code) => {
      this.#ended = `Chromium ended (${code})`;
      for (const answer of this.#waiting.values()) answer({ error: { message: this.#ended } });
    });
  }

  #take(message: Message): void {
    if (message.id !== undefined) return this.#waiting.get(message.id)?.(message);
    this.#listeners.get(message.sessionId ?? "")?.(message);
  }

  async send(method: string, params: Params = {}, sessionId?: string): Promise<Params> {
    const id = ++this.#lastId;
    const answer = await new Promise<Message>((resolve) => {
      this.#waiting.set(id, resolve);
      if (this.#ended !== "") return resolve({ error: { message: this.#ended } });
      const text = JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) });
      (this.#process.stdio[3] as Writable).write(`${text}\0`);
    });
    this.#waiting.delete(id);
    if (answer.error !== undefined) throw new Error(`${method}: ${answer.error.message}`);
    return answer.result ?? {};
  }

  /** Opens a file in a tab of its own, offline. `before`: a script that runs first. */
  async open(
    file: string,
    { width = 1280, height = 900, dark = false, mobile = false, before = "" } = {},
  ): Promise<Page> {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId as string, targetId as string);
    this.#listeners.set(page.session, (message) => page.take(message));
    for (const domain of ["Page", "Runtime", "Network", "Log", "DOM"]) await page.send(`${domain}.enable`);
    await page.send("Network.emulateNetworkConditions", {
      offline: true,
      latency: 0,
      downloadThroughput: 0,
      uploadThroughput: 0,
    });
    await page.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile });
    await page.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }],
    });
    await page.send("Page.addScriptToEvaluateOnNewDocument", { source: before });
    await page.navigate(pathToFileURL(file).href);
    return page;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    if (this.#ended === "") {
      this.#process.kill("SIGKILL");
      await ended;
    }
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

export class Page {
  /** Everything that went wrong in the page: exceptions, refusals of the content security policy, console errors. */
  readonly problems: string[] = [];
  /** Addresses that were asked for, but the page itself. */
  readonly requests: string[] = [];
  readonly #browser: Chromium;
  readonly #target: string;
  readonly session: string;
  #loaded: (() => void) | undefined;

  constructor(browser: Chromium, session: string, target: string) {
    this.#browser = browser;
    this.session = session;
    this.#target = target;
  }

  take({ method, params = {} }: Message): void {
    if (method === "Page.loadEventFired") this.#loaded?.();
    if (method === "Runtime.exceptionThrown")
      this.problems.push(JSON.stringify(params["exceptionDetails"]).slice(0, 500));
    if (method === "Log.entryAdded") this.problems.push(String((params["entry"] as { text?: unknown }).text));
    if (method === "Network.requestWillBeSent") {
      const { url } = params["request"] as { url: string };
      if (!url.startsWith("file:") && !url.startsWith("blob:")) this.requests.push(url);
    }
  }

  send(method: string, params: Params = {}): Promise<Params> {
    return this.#browser.send(method, params, this.session);
  }

  async navigate(url: string): Promise<void> {
    const loaded = new Promise<void>((resolve) => (this.#loaded = resolve));
    await this.send("Page.navigate", { url });
    await loaded;
  }

  /** The value of an expression; promises are awaited. */
  async evaluate<T>(expression: string): Promise<T> {
    const answer = await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (answer["exceptionDetails"] !== undefined)
      throw new Error(`${expression.slice(0, 200)}: ${JSON.stringify(answer["exceptionDetails"]).slice(0, 500)}`);
    return (answer["result"] as { value: T }).value;
  }

  /** Waits until an expression about the document is true. */
  async until(expression: string): Promise<void> {
    await this.evaluate(`new Promise((resolve) => {
      const look = () => { if (${expression}) { observer.disconnect(); resolve(true); } };
      const observer = new MutationObserver(look);
      observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
      look();
    })`);
  }

  /** Chooses files as a person does. */
  async choose(selector: string, files: readonly string[]): Promise<void> {
    const answer = await this.send("Runtime.evaluate", {
      expression: `document.querySelector(${JSON.stringify(selector)})`,
    });
    const { objectId } = answer["result"] as { objectId: string };
    await this.send("DOM.setFileInputFiles", { files: [...files], objectId });
  }

  async screenshot(file: string, { wholePage = false } = {}): Promise<void> {
    const { data } = await this.send("Page.captureScreenshot", {
      format: "png",
      captureBeyondViewport: wholePage,
      ...(wholePage ? { clip: await this.#extent() } : {}),
    });
    await writeFile(file, Buffer.from(data as string, "base64"));
  }

  async #extent(): Promise<Params> {
    const { cssContentSize } = (await this.send("Page.getLayoutMetrics")) as {
      cssContentSize: { width: number; height: number };
    };
    return { x: 0, y: 0, width: cssContentSize.width, height: cssContentSize.height, scale: 1 };
  }

  async close(): Promise<void> {
    await this.#browser.send("Target.closeTarget", { targetId: this.#target });
  }
}
