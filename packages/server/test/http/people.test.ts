/** People over HTTP: a newcomer is let in, adds an agent, takes its key away. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { addAgent, addHuman, call, startTestServer, type TestServer } from "../support/server.js";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

test("the first human enrols with the code of the first start, once", async () => {
  const ada = await server.firstPerson();
  const me = await ada.call("whoAmI", {});
  expect(me.status).toBe(200);
  expect(me.body.tenant).toMatchObject({ name: "default", mode: "solo" });
  expect(me.body.principal).toMatchObject({ name: "ada", kind: "human", roles: ["admin", "on_call"], signingKeys: 1 });
});

test("an agent is created under its human, and its key stops working when it is revoked", async () => {
  const ada = await server.firstPerson();
  const agent = await addAgent(ada, "builder");
  expect((await agent.call("whoAmI", {})).body.principal).toMatchObject({
    name: "builder",
    answerable: { id: ada.id },
  });
  expect((await ada.call("revokeKey", { id: agent.keyId })).status).toBe(200);
  const after = await agent.call("whoAmI", {});
  expect(after.status).toBe(401);
  expect(after.body).toMatchObject({ code: "key_revoked" });
});

test("another human is invited and enrols their own key", async () => {
  const ada = await server.firstPerson();
  const bob = await addHuman(ada, "bob", ["member"], ["reviewers"]);
  expect((await bob.call("whoAmI", {})).body.principal).toMatchObject({ name: "bob", groups: ["reviewers"] });
});

test("the server says that it is alive, ready, and what it offers", async () => {
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  const ready = await fetch(`${server.url}/readyz`);
  expect(await ready.json()).toMatchObject({ status: "ready" });
  expect((await (await fetch(`${server.url}/api/openapi.json`)).json()) as object).toMatchObject({ openapi: "3.1.1" });
});

test("whoever has no key is told so", async () => {
  const answer = await call(server.url, "whoAmI", {});
  expect(answer.status).toBe(401);
  expect(answer.headers.get("www-authenticate")).toContain("Bearer");
  expect(answer.headers.get("content-type")).toContain("application/problem+json");
});

test("the ledger accounts for everything", async () => {
  for (const tenant of await server.tenancy.tenants())
    expect((await server.verification.checkTenant(tenant)).findings).toEqual([]);
});
