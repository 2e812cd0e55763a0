/** A whole server with one anchor of each kind: what it publishes arrives there, and what is wrong there is seen. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RefusalError } from "@countersign/contract";
import { cosignatureOf, formatVerifierKey, parseVerifierKey, verifierKey } from "@countersign/proof";
import { describe, expect, it } from "vitest";
import { startServer } from "../../src/server.js";
import { deadlineIn, poll } from "../../src/storage/waiting.js";
import { addLog, initWitness, openWitness, runWitness } from "../../src/witness/index.js";
import { sizeOfNote } from "../support/anchors.js";
import { Machine } from "../support/cli.js";
import { temporaryDirectory } from "../support/postgres.js";
import { quietLog, startTestServer } from "../support/server.js";

interface Listed {
  readonly tenant: string;
  readonly anchor: string;
  readonly standing: string;
  readonly size: number;
  readonly lastError: string | null;
}

describe("a server with a file, a git and a witness anchor", () => {
  it("has each ledger confirmed by all of them, and shows which one is not", async () => {
    const folder = temporaryDirectory();
    const directory = join(folder, "witness");
    const { vkey } = await initWitness({ directory, name: "w.example/1" });
    const witness = await openWitness({ directory, clock: { nowMs: Date.now } });
    const served = await runWitness({ witness, host: "127.0.0.1", port: 0, report: () => undefined });
    const anchors = [`disk file:${folder}/disk`, `repo git:${folder}/repo`, `w1 witness:${served.url} ${vkey}`];
    const server = await startTestServer({ anchors, anchorsRequired: 3 });
    const { publishing, tenant } = server;
    const machine = new Machine({
      DATABASE_URL: server.database.ownerUrl,
      COUNTERSIGN_APP_DATABASE_URL: server.database.appUrl,
      COUNTERSIGN_ANCHORS: anchors.join(),
    });
    const list = async (): Promise<{ code: number | null; anchors: Listed[] }> => {
      const { code, stdout } = await machine.run(["anchors", "list", "--json"]);
      return {
        code,
        anchors: (JSON.parse(stdout) as { anchors: Listed[] }).anchors.filter((row) => row.tenant === tenant),
      };
    };
    const ready = async (): Promise<{ name: string; ok: boolean }[]> =>
      ((await (await fetch(`${server.url}/readyz`)).json()) as { checks: { name: string; ok: boolean }[] }).checks;
    const standing = (name: string): string =>
      publishing.status().anchors.find((state) => state.anchor === name && state.tenant === tenant)?.standing ?? "";
    const until = (name: string, wanted: string): Promise<unknown> =>
      poll(deadlineIn(45_000), () => (standing(name) === wanted ? true : undefined));

    await server.firstPerson();
    await until("w1", "failing");
    expect((await ready()).find(({ name }) => name === "anchors")).toMatchObject({ ok: false });
    expect((await list()).anchors.find(({ anchor }) => anchor === "w1")?.lastError).toContain("does not know the log");

    const key = publishing.status().key?.publicKey ?? "";
    const deployment = await publishing.deployment();
    await addLog(directory, formatVerifierKey(verifierKey({ name: deployment, type: 1, publicKey: key })));
    for (const name of ["disk", "repo", "w1"]) await until(name, "ok");
    const latest = await publishing.latest(tenant);
    const witnessKey = parseVerifierKey(vkey);
    if (latest === undefined || witnessKey === undefined) throw new Error("nothing was published");
    const { checkpoint } = latest;
    expect(cosignatureOf(checkpoint, witnessKey)).toBeDefined();
    expect(sizeOfNote((await witness.newest(checkpoint.origin)) ?? "")).toBe(checkpoint.size);
    const kept = join(folder, "disk", encodeURIComponent(checkpoint.origin), "checkpoint");
    expect(sizeOfNote(readFileSync(kept, "utf8"))).toBe(checkpoint.size);
    const listed = await list();
    expect(listed.code).toBe(0);

    // The database keeps what the witness signed, so whoever demands it needs nothing else.
    const policy = join(folder, "policy");
    const log = formatVerifierKey(verifierKey({ name: deployment, type: 1, publicKey: key }));
    writeFileSync(policy, `log ${log}\nwitness w1 ${vkey}\nquorum w1\n`);
    const verify = (...more: string[]) => machine.run(["audit", "verify", "--policy", policy, ...more]);
    expect(await verify("--tenant", tenant)).toMatchObject({ code: 0, stdout: expect.stringContaining("witness w1") });

    // A checkpoint is of one ledger, and nothing is said of the others; a number alone accuses nobody.
    writeFileSync(join(folder, "checkpoint"), checkpoint.text);
    const asOf = await verify("--as-of", join(folder, "checkpoint"), "--json");
    expect(asOf.code).toBe(0);
    expect((JSON.parse(asOf.stdout) as { reports: { tenant: string }[] }).reports.map((one) => one.tenant)).toEqual([
      tenant,
    ]);
    expect(await machine.run(["audit", "verify", "--as-of", "2", "--json"])).toMatchObject({ code: 0 });
    expect(await machine.run(["audit", "verify", "--as-of", "100000"])).toMatchObject({
      code: 4,
      stderr: expect.stringContaining("the longest has"),
    });
    expect(listed.anchors.map((row) => [row.anchor, row.standing, row.size])).toEqual(
      ["disk", "repo", "w1"].map((name) => [name, "ok", checkpoint.size]),
    );

    // The disk is exchanged for an empty one: at the next entry it is an alarm, and the others go on.
    for (const name of readdirSync(join(folder, "disk"))) rmSync(join(folder, "disk", name), { recursive: true });
    const { id } = await server.firstPerson();
    server.ledger.recordRefusal(tenant, {
      code: "policy_denied",
      actor: { type: "human", id, humans: [] },
      subject: { type: "principal", id },
    });
    await until("disk", "contradicts");
    const alarmed = await list();
    expect([alarmed.code, alarmed.anchors.map((row) => row.standing)]).toEqual([1, ["contradicts", "ok", "ok"]]);
    await server.close();
    await served.close();
  });
});

describe("a mistake in the configuration of anchors", () => {
  // A database that cannot be reached: whoever asks it first says so.
  const databaseUrl = "postgres://nobody:x@127.0.0.1:9/none";
  const check = async (dataDirectory: string, lines?: readonly string[]): Promise<string[]> => {
    const anchors = lines === undefined ? {} : { anchors: lines };
    const code = await startServer({ dataDirectory, databaseUrl, port: 0, log: quietLog, ...anchors }).then(
      () => "started",
      (error: unknown) => (error instanceof RefusalError ? error.refusal.code : String(error)),
    );
    return [code, ...(existsSync(dataDirectory) ? readdirSync(dataDirectory) : ["nothing made"])];
  };
  const written = (text: string): string => {
    const dataDirectory = temporaryDirectory();
    writeFileSync(join(dataDirectory, "anchors"), text);
    return dataDirectory;
  };

  it("is said before anything is made or changed", async () => {
    const invalid = "configuration_invalid";
    expect(await check(written("disk s3:bucket\n"))).toEqual([invalid, "anchors"]);
    expect(await check(join(temporaryDirectory(), "data"), ["disk file:relative"])).toEqual([invalid, "nothing made"]);
    const folder = temporaryDirectory();
    mkdirSync(join(folder, "anchors"));
    expect(await check(folder)).toEqual([invalid, "anchors"]);
    expect((await check(written("# none\n")))[0]).toBe("database_unavailable");
  });
});
