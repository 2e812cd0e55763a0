/** What is published over HTTP: to whom, in which form, and the server and command line around it. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { isSignedBy, parseCheckpoint, readKeyHistory, signMessage, voteSigningBytes } from "@countersign/proof";
import { afterAll, beforeAll, expect, test } from "vitest";
import { deploymentTenant } from "../../src/tenancy/index.js";
import { addAgent, startTestServer, type Person, type TestServer } from "../support/server.js";
import { temporaryDirectory } from "../support/postgres.js";

let server: TestServer;
let ada: Person;
beforeAll(async () => {
  server = await startTestServer();
  ada = await server.firstPerson();
  await server.publishing.publish(server.tenant);
});
afterAll(() => server.close());

const get = (path: string, apiKey?: string): Promise<Response> =>
  fetch(`${server.url}/ledger/${path}`, apiKey === undefined ? {} : { headers: { authorization: `Bearer ${apiKey}` } });

test("checkpoint and keys fit together", async () => {
  const { body, status } = await ada.call("getCheckpoint", {});
  expect([status, body.state, body.incarnation]).toEqual([200, "published", 0]);
  const keys = (await ada.call("listLogKeys", {})).body;
  const pinned = [keys.rows[0]?.publicKey ?? ""];
  expect(readKeyHistory(keys.statements, { deployment: keys.deployment, pinned }).problems).toEqual([]);
  const parsed = parseCheckpoint(body.note);
  expect(parsed.ok && isSignedBy(parsed.checkpoint, pinned[0] ?? "")).toBe(true);
  expect(body.origin).toBe(`${keys.deployment}/${server.tenant}`);
});

test("the tree is for whoever may read the ledger", async () => {
  const tenant = server.tenant;
  const served = await get(`${tenant}/checkpoint`, ada.apiKey);
  expect([served.status, served.headers.get("content-type"), served.headers.get("cache-control")]).toEqual([
    200,
    "text/plain; charset=utf-8",
    "private, no-cache",
  ]);
  const parsed = parseCheckpoint(await served.text());
  const size = parsed.ok ? parsed.checkpoint.size : 0;
  expect(size).toBeGreaterThan(0);
  const tile = await get(`${tenant}/tile/0/000.p/${size}`, ada.apiKey);
  expect([tile.status, tile.headers.get("content-type"), (await tile.arrayBuffer()).byteLength]).toEqual([
    200,
    "application/octet-stream",
    32 * size,
  ]);
  expect((await get(`${tenant}/tile/entries/000.p/${size}`, ada.apiKey)).status).toBe(200);
  for (const [path, status] of [
    [`${tenant}/tile/0/000.p/255`, 404],
    [`${tenant}/tile/0/000`, 404],
    [`${tenant}/tile/0/0`, 404],
    [`${tenant}/tile/0/x001/x002/x003/x004/x005/x006/x007/x008/x009/010.p/1`, 404],
    [`${tenant}/tile/63/000.p/1`, 404],
    [`${tenant}/tile/-1/000.p/1`, 404],
    [`${tenant}/tile/0/..%2f..%2f000`, 404],
    [`${tenant}/`, 404],
    [`${tenant}/checkpoint/`, 404],
    [`${deploymentTenant}/checkpoint`, 404],
    ["00000000-0000-7000-8000-00000000dead/checkpoint", 404],
    ["x/checkpoint", 404],
    [`${"%00".repeat(10)}/checkpoint`, 404],
  ] as const) {
    const answer = await get(path, ada.apiKey);
    expect([path, answer.status]).toEqual([path, status]);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
  }
  for (const path of [
    `${tenant}/checkpoint`,
    `${tenant}/tile/0/000.p/1`,
    "00000000-0000-7000-8000-00000000dead/checkpoint",
  ])
    expect([(await get(path)).status, (await get(path, "csk_nonsense")).status]).toEqual([401, 401]);
  const agent = await addAgent(ada, "bot");
  expect((await get(`${tenant}/checkpoint`, agent.apiKey)).status).toBe(403);
  const posted = await fetch(`${server.url}/ledger/${tenant}/checkpoint`, { method: "POST" });
  expect([posted.status, posted.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
});

/** Proposed, submitted, approved and applied by the one person there is. */
async function publicLedger(shown: boolean): Promise<void> {
  const target = {
    kind: "resource",
    environment: "system",
    type: "SYSTEM_CONFIG",
    id: "system.config/ledger",
  } as const;
  const items = [{ operation: shown ? "CREATE" : "UPDATE", target, after: { public: shown } }];
  const { id } = (await ada.call("createChangeSet", { title: "ledger", items: items as never })).body.changeSet;
  const digest = (await ada.call("submitChangeSet", { id })).body.changeSet.approvalDigest ?? "";
  const atMs = Date.now();
  const decision = "APPROVED" as const;
  const signed = { tenant: ada.tenant, changeSetId: id, approvalDigest: digest, decision, voterId: ada.id, atMs };
  const signature = signMessage(ada.privateKey, voteSigningBytes(signed));
  expect((await ada.call("approveChangeSet", { id, digest, decision, keyId: ada.keyId, atMs, signature })).status).toBe(
    200,
  );
  expect((await ada.call("applyChangeSet", { id })).body.changeSet.status).toBe("APPLIED");
}

test("and for anybody where the tenant says so, until it says no", async () => {
  await publicLedger(true);
  const served = await get(`${server.tenant}/checkpoint`);
  expect([served.status, served.headers.get("cache-control")]).toEqual([200, "public, no-cache"]);
  expect((await get(`${server.tenant}/tile/0/000.p/1`)).headers.get("cache-control")).toBe("public, max-age=3600");
  expect((await get(`${deploymentTenant}/checkpoint`)).status).toBe(401);
  await publicLedger(false);
  expect((await get(`${server.tenant}/checkpoint`)).status).toBe(401);
  expect((await server.verification.checkTenant(server.tenant)).findings).toEqual([]);
  expect((await server.verification.checkTenant(deploymentTenant)).findings).toEqual([]);
});

test("a server without its keys works, and says that nothing is signed", async () => {
  const dataDirectory = temporaryDirectory();
  const first = await startTestServer({ dataDirectory });
  await first.publishing.publish(deploymentTenant);
  const { database } = first;
  await first.close();
  rmSync(join(dataDirectory, "log-keys"), { recursive: true });
  const again = await startTestServer({ dataDirectory, database });
  const person = await again.firstPerson();
  expect((await person.call("whoAmI", {})).status).toBe(200);
  for (;;) {
    const ready = await fetch(`${again.url}/readyz`);
    const { checks } = (await ready.json()) as { checks: { name: string; ok: boolean; degraded?: boolean }[] };
    expect(ready.status).toBe(200);
    const publishing = checks.find(({ name }) => name === "publishing");
    if (publishing?.ok === true) continue;
    expect(publishing).toMatchObject({ ok: false, degraded: true });
    break;
  }
  await again.close();
});
