/** What a hostile or broken client sends: each is refused with its code, and the server goes on. */
import { connect } from "node:net";
import { once } from "node:events";
import { limits } from "@countersign/contract";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Agent, addAgent, call, type Person, startTestServer, type TestServer } from "../support/server.js";

let server: TestServer;
let ada: Person;
let agent: Agent;
beforeAll(async () => {
  server = await startTestServer();
  ada = await server.firstPerson();
  agent = await addAgent(ada, "agent");
});
afterEach(async () => expect((await fetch(`${server.url}/healthz`)).status).toBe(200));
afterAll(async () => {
  expect((await server.verification.checkTenant(server.tenant)).findings).toEqual([]);
  await server.close();
});

interface Problem {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly problems?: readonly { readonly pointer: string; readonly code: string; readonly message: string }[];
}

/** Sends bytes as they are; everything that came until the connection ended, or a whole answer was there. */
async function raw(text: string | Buffer): Promise<string> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  let answer = "";
  socket.on("data", (chunk: Buffer) => (answer += chunk.toString("utf8")));
  socket.on("error", () => undefined); // a connection that is cut is an answer too
  await once(socket, "connect");
  socket.write(text);
  await once(socket, "close");
  return answer;
}

const head = (line: string, ...headers: string[]): string =>
  [line, "Host: localhost", "Connection: close", ...headers, "", ""].join("\r\n");
const post = (body: string | Buffer, ...headers: string[]): Buffer =>
  Buffer.concat([
    Buffer.from(
      head(
        "POST /api/ledger/kill-switch/engage HTTP/1.1",
        `Authorization: Bearer ${ada.apiKey}`,
        `Content-Length: ${Buffer.byteLength(body)}`,
        ...headers,
      ),
    ),
    Buffer.from(body),
  ]);
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0);
const codeOf = (answer: string): string | undefined => /"code":"(\w+)"/.exec(answer)?.[1];

async function send(body: string | Buffer, type = "application/json"): Promise<Problem> {
  const response = await fetch(`${server.url}/api/ledger/kill-switch/engage`, {
    method: "POST",
    headers: { authorization: `Bearer ${ada.apiKey}`, "content-type": type },
    body,
  });
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  return (await response.json()) as Problem;
}

describe("bodies", () => {
  const deep = `${'{"a":'.repeat(65)}1${"}".repeat(65)}`;
  test.each<[string, string | Buffer, number, string]>([
    ["not JSON", "{", 400, "malformed_json"],
    ["a comment", '{"reason":"x"} // hello', 400, "malformed_json"],
    ["single quotes", "{'reason':'x'}", 400, "malformed_json"],
    ["NaN", '{"reason":NaN}', 400, "malformed_json"],
    ["a byte order mark", "\ufeff{}", 400, "malformed_json"],
    ["two documents", "{}{}", 400, "malformed_json"],
    ["invalid UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]), 400, "malformed_json"],
    [
      "overlong UTF-8",
      Buffer.concat([Buffer.from('{"reason":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')]),
      400,
      "malformed_json",
    ],
    ["a member twice", '{"reason":"x","reason":"y"}', 422, "json_duplicate_key"],
    ["a member twice, once escaped", '{"reason":"x","r\\u0065ason":"y"}', 422, "json_duplicate_key"],
    ["U+0000", '{"reason":"a\\u0000b"}', 422, "text_unstorable"],
    ["a lone surrogate", '{"reason":"\\ud800"}', 422, "text_unstorable"],
    ["too deep", `{"reason":${deep}}`, 422, "json_too_deep"],
    ["an integer that cannot be kept", '{"reason":12345678901234567890}', 422, "json_number_unsafe"],
    ["an array", "[]", 422, "invalid_request"],
    ["null", "null", 422, "invalid_request"],
    ["a text", '"hello"', 422, "invalid_request"],
    ["nothing that is asked for", "{}", 422, "invalid_request"],
    ["__proto__", '{"reason":"x","__proto__":{"admin":true}}', 422, "invalid_request"],
    ["constructor", '{"reason":"x","constructor":{"prototype":{"admin":true}}}', 422, "invalid_request"],
    ["too long a text", JSON.stringify({ reason: "x".repeat(limits.reasonLengthMax + 1) }), 422, "limit_exceeded"],
  ])("%s", async (_, body, status, code) => {
    expect(await send(body)).toMatchObject({ status, code });
    expect(({} as Record<string, unknown>)["admin"]).toBeUndefined();
  });

  test("larger than the limit is refused before it is read", async () => {
    const big = await raw(
      head(
        "POST /api/ledger/kill-switch/engage HTTP/1.1",
        `Authorization: Bearer ${ada.apiKey}`,
        "Content-Type: application/json",
        `Content-Length: ${limits.requestBytesMax + 1}`,
      ),
    );
    expect([statusOf(big), codeOf(big)]).toEqual([413, "body_too_large"]);
  });

  test("a million small values are too many", async () => {
    expect(await send(`{"reason":[${"0,".repeat(400_000)}0]}`)).toMatchObject({ status: 422, code: "json_too_large" });
  });

  test.each([
    "text/plain",
    "application/xml",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
    "application/x-www-form-urlencoded",
    "application/jsonp",
  ])("as %s is not taken", async (type) => {
    expect(await send('{"reason":"x"}', type)).toMatchObject({ status: 415, code: "unsupported_media_type" });
  });

  test("compressed is not taken: a small body cannot become a large one", async () => {
    const answer = await raw(post('{"reason":"x"}', "Content-Type: application/json", "Content-Encoding: gzip"));
    expect([statusOf(answer), codeOf(answer)]).toEqual([415, "unsupported_media_type"]);
  });

  test("a content type with line feeds, nulls or nonsense is refused", async () => {
    for (const type of ["application/json\u0001", ";;;", "a".repeat(5_000)])
      expect([400, 415]).toContain(statusOf(await raw(post("{}", `Content-Type: ${type}`))));
  });

  test("all problems at once, with pointers", async () => {
    const answer = await ada.call(
      "createAgent",
      { name: "", kind: "robot", keyDays: 0, admin: true, scopes: ["change_sets.read", "everything"] } as never,
      { proof: null },
    );
    const { problems } = answer.body as unknown as Problem;
    expect(problems?.map((problem) => problem.pointer).sort()).toEqual([
      "/admin",
      "/keyDays",
      "/kind",
      "/name",
      "/scopes/1",
    ]);
  });
});

describe("who is asking", () => {
  test.each([
    ["an actor in the body", { actor: "ada" }],
    ["a principal in the body", { principal: { id: "00000000-0000-7000-8000-000000000001" } }],
    ["a tenant in the body", { tenant: "00000000-0000-7000-8000-000000000000" }],
    ["humans in the body", { humans: [] }],
    ["an id in the body", { id: "00000000-0000-7000-8000-000000000001" }],
  ])("%s is refused", async (_, forged) => {
    const answer = await agent.call("engageKillSwitch", { reason: "x", ...forged } as never);
    expect((answer.body as unknown as Problem).problems?.[0]?.pointer).toBe(`/${Object.keys(forged)[0]}`);
    expect(answer.status).toBe(422);
  });

  test("a path parameter that stands in the body too is refused", async () => {
    const response = await fetch(`${server.url}/api/ledger/keys/${agent.keyId}/revoke`, {
      method: "POST",
      headers: { authorization: `Bearer ${ada.apiKey}`, "content-type": "application/json" },
      body: JSON.stringify({ id: ada.id }),
    });
    expect(await response.json()).toMatchObject({ status: 422, problems: [{ pointer: "/id" }] });
  });

  test("headers that claim who one is change nothing", async () => {
    const headers = {
      "x-forwarded-user": "ada",
      "x-tenant": server.tenant,
      "x-principal": ada.id,
      "x-http-method-override": "DELETE",
      cookie: `key=${ada.apiKey}`,
    };
    expect((await call(server.url, "whoAmI", {}, { headers })).status).toBe(401);
    expect((await agent.call("whoAmI", {}, { headers })).body.principal.name).toBe("agent");
  });

  test.each([
    ["another scheme", "Basic YTpi", "unauthenticated"],
    ["no scheme", "csk_x", "unauthenticated"],
    ["two keys", "Bearer a b", "unauthenticated"],
    ["a very long key", `Bearer csk_${"a".repeat(8_000)}`, "key_malformed"],
  ])("%s is no credential", async (_, authorization, code) => {
    expect(
      (await (await fetch(`${server.url}/api/ledger/whoami`, { headers: { authorization } })).json()) as Problem,
    ).toMatchObject({ status: 401, code });
  });

  test("an answer to nobody tells nothing about what is there", async () => {
    const known = await (await fetch(`${server.url}/api/ledger/changesets/CS-2026-1120-001`)).text();
    const unknown = await (await fetch(`${server.url}/api/ledger/changesets/CS-2026-1120-999`)).text();
    const strip = (text: string): string => text.replace(/urn:uuid:[0-9a-f-]+/, "");
    expect(strip(known)).toBe(strip(unknown));
  });
});

describe("paths and queries", () => {
  test.each([
    ["/api/ledger/../../etc/passwd", 404],
    ["/api/ledger/%2e%2e/%2e%2e/etc/passwd", 404],
    ["/api/ledger/changesets/..%2f..%2fetc%2fpasswd", 422],
    ["/api/ledger/changesets/%00", 422],
    ["/api/ledger/changesets/%ff", 404],
    ["/api/ledger/changesets/%", 404],
    ["/api/ledger/changesets/%zz", 404],
    ["/api/ledger/changesets/'%20or%20'1'='1", 422],
    [`/api/ledger/changesets/${"a".repeat(5_000)}`, 404],
    ["/api/ledger/changesets/", 422],
    ["//api/ledger/whoami", 404],
    ["/API/LEDGER/WHOAMI", 404],
    ["/api/ledger/changesets?limit=0", 422],
    ["/api/ledger/changesets?limit=1e9", 422],
    ["/api/ledger/changesets?limit=1&limit=2", 422],
    ["/api/ledger/changesets?unknown=1", 422],
    ["/api/ledger/changesets?__proto__=1", 422],
    ["/api/ledger/changesets?search=%00", 422],
    ["/api/ledger/changesets?search=%ff", 422],
    ["/api/ledger/changesets?search=%ed%a0%80", 422],
    ["/api/ledger/changesets?cursor=nonsense", 422],
    ["/api/ledger/changesets?search=%25%27%22%3B--", 200],
    ["/api/ledger/changesets?status=DRAFT,APPLIED", 200],
    ["/api/ledger/changesets?status=DRAFT&status=APPLIED", 200],
  ])("%s: %i", async (target, status) => {
    const answer = await raw(head(`GET ${target} HTTP/1.1`, `Authorization: Bearer ${ada.apiKey}`));
    expect(statusOf(answer)).toBe(status);
    if (status !== 200) expect(answer).toContain("application/problem+json");
  });
});

describe("methods", () => {
  test("HEAD answers as GET without a body", async () => {
    const answer = await fetch(`${server.url}/api/ledger/whoami`, {
      method: "HEAD",
      headers: { authorization: `Bearer ${ada.apiKey}` },
    });
    expect([answer.status, await answer.text()]).toEqual([200, ""]);
    expect(
      (
        await fetch(`${server.url}/api/ledger/audit/export`, {
          method: "HEAD",
          headers: { authorization: `Bearer ${ada.apiKey}` },
        })
      ).status,
    ).toBe(200);
  });

  test("a method a path does not take is 405 with those it takes; TRACE and others are refused", async () => {
    const answer = await fetch(`${server.url}/api/ledger/changesets`, { method: "DELETE" });
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET, HEAD, POST"]);
    expect((await answer.json()) as Problem).toMatchObject({ code: "method_not_allowed" });
    expect((await fetch(`${server.url}/api/ledger/whoami`, { method: "PATCH" })).status).toBe(405);
    expect([400, 404, 405]).toContain(statusOf(await raw(head("TRACE /api/ledger/whoami HTTP/1.1"))));
  });

  test("other origins are given nothing", async () => {
    const headers = {
      origin: "https://evil.example",
      "access-control-request-method": "GET",
      authorization: `Bearer ${ada.apiKey}`,
    };
    for (const method of ["OPTIONS", "GET"]) {
      const answer = await fetch(`${server.url}/api/ledger/whoami`, { method, headers });
      expect([...answer.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
    }
    const answer = await fetch(`${server.url}/api/ledger/whoami`, { headers });
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
      "x-frame-options": "DENY",
    });
    expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe("connections", () => {
  test.each<[string, string, number]>([
    ["no HTTP", "hello\r\n\r\n", 400],
    ["headers larger than 16 KiB", head("GET /healthz HTTP/1.1", `X-Big: ${"a".repeat(20_000)}`), 431],
    ["a header with a null", head("GET /healthz HTTP/1.1", "X-Null: a\u0000b"), 400],
    ["a header without a colon", head("GET /healthz HTTP/1.1", "Nonsense"), 400],
    ["two lengths", head("POST /api/ledger/enrol HTTP/1.1", "Content-Length: 1", "Content-Length: 2"), 400],
    [
      "a length and chunks: two readings of one request",
      head("POST /api/ledger/enrol HTTP/1.1", "Content-Length: 1", "Transfer-Encoding: chunked"),
      400,
    ],
    ["a negative length", head("POST /api/ledger/enrol HTTP/1.1", "Content-Length: -1"), 400],
    ["no host", "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", 400],
  ])("%s", async (_, text, status) => {
    expect(statusOf(await raw(text))).toBe(status);
  });

  test("requests in one piece are answered each, in their order", async () => {
    const one = `GET /api/ledger/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ada.apiKey}\r\n\r\n`;
    const bad = "GET /api/ledger/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const answer = await raw(one + bad + head("GET /healthz HTTP/1.1"));
    expect([...answer.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1])).toEqual(["200", "401", "200"]);
  });

  test("garbage after a request does not reach the request", async () => {
    const answer = await raw(`GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n\u0000\u0001garbage\r\n\r\n`);
    expect([...answer.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1])).toEqual(["200", "400"]);
  });

  test("who sends a header a little at a time is cut off", async () => {
    const slow = await startTestServer({
      timeouts: { headers: 300, request: 400, keepAlive: 1_000, stalledReader: 1_000 },
    });
    const { hostname, port } = new URL(slow.url);
    const socket = connect(Number(port), hostname);
    socket.on("error", () => undefined);
    let answer = "";
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString()));
    await once(socket, "connect");
    socket.write("GET /healthz HTTP/1.1\r\nHost: loc");
    await once(socket, "close");
    expect(statusOf(answer)).toBe(408);
    await slow.close();
  });

  test("who asks for much and reads nothing of it does not hold up the stop", { timeout: 15_000 }, async () => {
    const server = await startTestServer({ timeouts: { stalledReader: 300 } });
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    socket.on("error", () => undefined); // the server cuts it off
    const begun = new Promise<void>((resolve) => socket.once("data", () => resolve(void socket.pause())));
    const requests = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20_000); // answered, 12 MB
    socket.write(requests);
    await begun;
    await server.close();
    socket.destroy();
  });

  test("500 requests at once are all answered", async () => {
    const answers = await Promise.all(Array.from({ length: 500 }, () => agent.call("whoAmI", {})));
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([200]));
  });
});
