import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isRefusal, RefusalError } from "@countersign/contract";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import {
  dataDirectoryPath,
  idSource,
  openDataDirectory,
  openLog,
  openSealing,
  parseConfig,
  sealedOverheadBytes,
  sealingWith,
} from "../../src/platform/index.js";
import { xaesOpen, xaesSeal } from "../../src/platform/sealing.js";

const scratch = mkdtempSync(join(tmpdir(), "cs-platform-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => join(scratch, `${++count}`);

/** The refusal that `work` throws, as `code: message`. */
function refusalOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof RefusalError && isRefusal(error.refusal))
      return `${error.refusal.code}: ${error.refusal.message}`;
    throw error;
  }
  return "no refusal";
}

describe("data directory", () => {
  const home = "/home/ada";
  test.each([
    ["linux", {}, "/home/ada/.local/share/countersign"],
    ["linux", { XDG_DATA_HOME: "/data" }, "/data/countersign"],
    ["linux", { XDG_DATA_HOME: "relative" }, "/home/ada/.local/share/countersign"],
    ["linux", { COUNTERSIGN_DATA: "/srv/cs", XDG_DATA_HOME: "/data" }, "/srv/cs"],
    ["linux", { COUNTERSIGN_DATA: "" }, "/home/ada/.local/share/countersign"],
    ["darwin", {}, "/home/ada/Library/Application Support/countersign"],
    ["win32", { LOCALAPPDATA: "/local" }, "/local/countersign"],
  ] as const)("%s %j is %s", (platform, env, expected) => {
    expect(dataDirectoryPath({ env, platform, home })).toBe(expected);
  });

  test("is made 0700, and one that others may read is closed to them", () => {
    const made = openDataDirectory(join(fresh(), "deep", "data"));
    expect(statSync(made).mode & 0o777).toBe(0o700);
    const open = fresh();
    mkdirSync(open);
    chmodSync(open, 0o755);
    expect(statSync(openDataDirectory(open)).mode & 0o777).toBe(process.getuid?.() === 0 ? 0o711 : 0o700);
  });

  test("one that anybody may write to is refused", () => {
    const open = fresh();
    mkdirSync(open);
    chmodSync(open, 0o777);
    expect(refusalOf(() => openDataDirectory(open))).toMatch(/^data_directory_unusable: anybody may write .*chmod 700/);
  });

  test("one that cannot be made is refused", () => {
    const file = fresh();
    writeFileSync(file, "");
    expect(refusalOf(() => openDataDirectory(join(file, "data")))).toMatch(/^data_directory_unusable: cannot create/);
  });
});

describe("configuration", () => {
  test("is complete without any variable", () => {
    expect(parseConfig({})).toEqual({
      ...{
        host: "127.0.0.1",
        port: 7117,
        logLevel: "info",
        anchorsRequired: 0,
        selfCheckMinutes: 15,
        unknownVariables: [],
      },
    });
  });

  test("takes every variable, and names those that look like ours", () => {
    const key = "ab".repeat(32);
    const env = {
      DATABASE_URL: "postgres://u:p@/db?host=/run/pg",
      COUNTERSIGN_APP_DATABASE_URL: "postgresql://a@h:5433/db",
      ...{
        COUNTERSIGN_HOST: "::1",
        COUNTERSIGN_PORT: "0",
        COUNTERSIGN_LOG: "silent",
        COUNTERSIGN_WORKSPACE_ROOTS: "/srv/a:/srv/b",
        COUNTERSIGN_ANCHORS: "disk file:/a, repo git:/b every=60,",
        COUNTERSIGN_ANCHORS_REQUIRED: "2",
        COUNTERSIGN_SEALING_KEY: `${key},${Buffer.alloc(32, 7).toString("base64")}`,
      },
      ...{ COUNTERSIGN_DATA: "/x", COUNTERSIGN_PROT: "1", PATH: "/bin" },
    };
    expect(parseConfig(env)).toEqual({
      databaseUrl: env.DATABASE_URL,
      applicationDatabaseUrl: env.COUNTERSIGN_APP_DATABASE_URL,
      ...{
        host: "::1",
        port: 0,
        logLevel: "silent",
        workspaceRoots: ["/srv/a", "/srv/b"],
        anchors: ["disk file:/a", "repo git:/b every=60"],
        anchorsRequired: 2,
        selfCheckMinutes: 15,
        sealingKeys: [Buffer.from(key, "hex"), Buffer.alloc(32, 7)],
        unknownVariables: ["COUNTERSIGN_PROT"],
      },
    });
  });

  test.each([
    [{ DATABASE_URL: "mysql://h/db" }, "`DATABASE_URL` is not a PostgreSQL"],
    [{ DATABASE_URL: "postgres://h" }, "`DATABASE_URL` is not a PostgreSQL"],
    [{ COUNTERSIGN_APP_DATABASE_URL: "postgres://h/db" }, "needs `DATABASE_URL`"],
    [{ COUNTERSIGN_WORKSPACE_ROOTS: "relative" }, "`COUNTERSIGN_WORKSPACE_ROOTS` is no list of absolute paths"],
    [{ COUNTERSIGN_ANCHORS_REQUIRED: "many" }, "`COUNTERSIGN_ANCHORS_REQUIRED` is no number of anchors"],
    [{ COUNTERSIGN_ANCHORS_REQUIRED: "17" }, "`COUNTERSIGN_ANCHORS_REQUIRED` is no number of anchors"],
    [{ COUNTERSIGN_PORT: "65536" }, "`COUNTERSIGN_PORT` is no port"],
    [{ COUNTERSIGN_PORT: "80 " }, "`COUNTERSIGN_PORT` is no port"],
    [{ COUNTERSIGN_HOST: "a b" }, "`COUNTERSIGN_HOST` is no address"],
    [{ COUNTERSIGN_LOG: "loud" }, "`COUNTERSIGN_LOG` is no level"],
    [{ COUNTERSIGN_SEALING_KEY: "s3cret" }, "`COUNTERSIGN_SEALING_KEY` is not 32 bytes"],
  ])("%j is refused", (env, expected) => {
    const refusal = refusalOf(() => parseConfig(env));
    expect(refusal).toContain(`configuration_invalid: `);
    expect(refusal).toContain(expected);
    expect(refusal).not.toContain("s3cret");
  });

  test("all problems come at once", () => {
    expect(
      refusalOf(() => parseConfig({ COUNTERSIGN_PORT: "x", COUNTERSIGN_LOG: "y", DATABASE_URL: "z" })).match(
        /`[A-Z_]+` is/g,
      ),
    ).toHaveLength(3);
  });
});

describe("ids", () => {
  const random = (seed: number) => (size: number) => new Uint8Array(size).fill(seed);

  test("have RFC 9562's form and time", () => {
    expect(idSource({ nowMs: () => 0x017f22e279b0 }, random(0xff))()).toBe("017f22e2-79b0-77ff-bfff-ffffffffffff");
    expect(idSource({ nowMs: () => 0x017f22e279b0 }, random(0))()).toBe("017f22e2-79b0-7000-8000-000000000000");
  });

  test("increase strictly, whatever the clock does", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 50 }),
        fc.nat({ max: 255 }),
        (times, seed) => {
          const clock = times.map((time) => 1_700_000_000_000 + time);
          let at = 0;
          const next = idSource({ nowMs: () => clock[at++ % clock.length] ?? 0 }, random(seed));
          const ids = Array.from({ length: 6000 }, next);
          ids.forEach((id, index) => {
            expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
            if (index > 0) expect(id > (ids[index - 1] ?? "")).toBe(true);
          });
        },
      ),
      { numRuns: 10 },
    );
  });
});

describe("log", () => {
  function written(work: (log: ReturnType<typeof openLog>) => void): string {
    const lines: string[] = [];
    work(openLog({ level: "info", destination: { write: (line: string) => void lines.push(line) } }));
    return lines.join("");
  }

  test.each([
    ["a header", { headers: { authorization: "Bearer s3cret" } }],
    ["a header two levels down", { request: { headers: { "set-cookie": "s3cret" } } }],
    ["a member", { password: "s3cret" }],
    ["a key", { body: { apiKey: "s3cret", key: "s3cret" } }],
    ["a connection string", { url: "postgres://ada:s3cret@db.example/cs" }],
    ["a socket connection string", { url: "postgres://ada:s3cret@/cs?host=/run&password=s3cret" }],
    ["an error", { err: new Error("cannot reach postgres://ada:s3cret@db/cs", { cause: new Error("Bearer s3cret") }) }],
  ])("masks the secret in %s", (_what, value) => {
    const line = written((log) => log.info(value, "something"));
    expect(line).toContain("something");
    expect(line).not.toContain("s3cret");
  });

  test("masks the message itself, and keeps the rest", () => {
    const line = written((log) => log.warn({ tenant: "t1" }, "tried postgres://ada:s3cret@db/cs"));
    expect(line).toContain('"tenant":"t1"');
    expect(line).toContain("postgres://ada:[secret]@db/cs");
    expect(line).toContain('"level":"warn"');
  });
});

describe("sealing", () => {
  const key = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);

  // c2sp.org/XAES-256-GCM, "Test vectors".
  test.each([
    [1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"],
    [3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"],
  ])("vector with key %i, associated data `%s`", (byte, aad, expected) => {
    const input = { key: key(byte), nonce: Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWX"), associated: Buffer.from(aad) };
    expect(xaesSeal(input, Buffer.from("XAES-256-GCM")).toString("hex")).toBe(expected);
    expect(xaesOpen(input, Buffer.from(expected, "hex")).toString()).toBe("XAES-256-GCM");
  });

  test("what was sealed opens with its binding, and never twice alike", () => {
    const sealing = sealingWith([key(1)]);
    const [first, second] = [sealing.seal(Buffer.from("text"), "body 1"), sealing.seal(Buffer.from("text"), "body 1")];
    expect(first.equals(second)).toBe(false);
    expect(first.length).toBe(4 + sealedOverheadBytes);
    expect(sealing.open(first, "body 1").toString()).toBe("text");
    expect(sealing.open(sealing.seal(new Uint8Array(0), ""), "")).toHaveLength(0);
  });

  test("every changed byte, every shorter value and another binding is refused", () => {
    const sealing = sealingWith([key(1)]);
    const sealed = sealing.seal(Buffer.from("text"), "body 1");
    for (let index = 0; index < sealed.length; index += 1) {
      const changed = Buffer.from(sealed);
      changed.writeUInt8(changed.readUInt8(index) ^ 1, index);
      expect(refusalOf(() => sealing.open(changed, "body 1"))).toMatch(/^sealed_unreadable/);
      expect(refusalOf(() => sealing.open(sealed.subarray(0, index), "body 1"))).toMatch(/^sealed_unreadable/);
    }
    expect(refusalOf(() => sealing.open(sealed, "body 2"))).toMatch(/^sealed_unreadable: .*for something else/);
  });

  test("an old key opens and no longer seals; an unknown one is named", () => {
    const old = sealingWith([key(1)]);
    const both = sealingWith([key(2), key(1)]);
    const sealed = old.seal(Buffer.from("text"), "b");
    expect(both.open(sealed, "b").toString()).toBe("text");
    expect(both.keyId).toBe(sealingWith([key(2)]).keyId);
    expect(refusalOf(() => sealingWith([key(2)]).open(sealed, "b"))).toContain(old.keyId);
  });

  test("the key file is made once, 0600, and used again", () => {
    const dataDirectory = openDataDirectory(fresh());
    const sealed = openSealing({ dataDirectory }).seal(Buffer.from("text"), "b");
    expect(statSync(join(dataDirectory, "sealing-key")).mode & 0o777).toBe(0o600);
    expect(openSealing({ dataDirectory }).open(sealed, "b").toString()).toBe("text");
    // A key from the environment takes over; the file's still opens what it sealed.
    const moved = openSealing({ dataDirectory, keys: [key(9)] });
    expect(moved.keyId).toBe(sealingWith([key(9)]).keyId);
    expect(moved.open(sealed, "b").toString()).toBe("text");
  });

  test("a key from the environment makes no file", () => {
    const dataDirectory = openDataDirectory(fresh());
    openSealing({ dataDirectory, keys: [key(9)] });
    expect(existsSync(join(dataDirectory, "sealing-key"))).toBe(false);
  });

  test.each([
    ["others may read it", "aa".repeat(32), 0o644, "others may read"],
    ["it is not a key", "short", 0o600, "is not 32 bytes"],
    ["it is empty", "# nothing\n", 0o600, "holds no key"],
  ])("a key file is refused when %s", (_why, text, mode, expected) => {
    const dataDirectory = openDataDirectory(fresh());
    writeFileSync(join(dataDirectory, "sealing-key"), text, { mode });
    chmodSync(join(dataDirectory, "sealing-key"), mode);
    const refusal = refusalOf(() => openSealing({ dataDirectory }));
    expect(refusal).toContain("sealing_key_invalid: ");
    expect(refusal).toContain(expected);
    expect(refusal).not.toContain(readFileSync(join(dataDirectory, "sealing-key"), "utf8").trim());
  });
});
