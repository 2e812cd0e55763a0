/** Signed notes against the vectors of the reference implementation, checkpoints and tiles against a real log's, receipts, hostile ones. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import {
  appendSignature,
  checkpointBody,
  cosignatureOf,
  decodeEntries,
  encodeEntries,
  formatTlogProof,
  formatVerifierKey,
  generateSigningKeyPair,
  inclusionProof,
  isSignedBy,
  leafHashOf,
  nodesFromTiles,
  openNote,
  originOf,
  parseCheckpoint,
  parseNote,
  parseOrigin,
  parseTilePath,
  parseTlogProof,
  parseVerifierKey,
  RightEdge,
  sha256Bytes,
  signCheckpoint,
  signCosignature,
  signerOf,
  tilePath,
  tilesBetween,
  verifierKey,
  verifyTlogProof,
  type VerifierKey,
} from "../src/index.js";

const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("hex");
const vectors = (name: string): string => fileURLToPath(new URL(`vectors/${name}`, import.meta.url));

interface NoteCase {
  readonly name: string;
  readonly note_b64: string;
  readonly vkeys: string[];
  readonly result: string;
  readonly verified?: string[];
  readonly unverified?: string[];
}
interface NoteVectors {
  readonly vkeys: string[];
  readonly bad_vkeys: string[];
  readonly cases: NoteCase[];
}
const go = JSON.parse(readFileSync(vectors("signed-note/golang-note-vectors.json"), "utf8")) as NoteVectors;
const known = (text: string): VerifierKey => {
  const key = parseVerifierKey(text);
  if (key === undefined) throw new Error(`not a key: ${text}`);
  return key;
};

describe("the reference implementation's notes", () => {
  it.each(go.cases)("$name: $result", ({ note_b64, vkeys, result, verified, unverified }) => {
    const bytes = Buffer.from(note_b64, "base64");
    const opened = openNote(bytes, vkeys.map(known));
    expect(opened.ok).toBe(result === "ok");
    if (result.includes("malformed")) expect(parseNote(bytes).ok).toBe(false);
    if (!opened.ok) return;
    const names = opened.verified.map(({ name }) => name);
    if (verified === undefined) return; // the vector says no more
    expect(names).toEqual(verified);
    const others = opened.note.signatures.map(({ name }) => name).filter((name) => !names.includes(name));
    expect(new Set(others)).toEqual(new Set(unverified));
  });
  it("its keys, written again", () => {
    expect(go.vkeys.map((text) => formatVerifierKey(known(text)))).toEqual(go.vkeys);
  });
  it.each(go.bad_vkeys)("refuses %s", (text) => expect(parseVerifierKey(text)).toBeUndefined());
  it("refuses every part of a key, and every key with another byte", () => {
    const [good = ""] = go.vkeys;
    for (let i = 0; i < good.length; i++) {
      for (let j = i + 1; j <= good.length; j++)
        if (j - i < good.length) expect(parseVerifierKey(good.slice(i, j))).toBeUndefined();
      const other = good.slice(0, i) + String.fromCharCode(good.charCodeAt(i) + 1) + good.slice(i + 1);
      expect(parseVerifierKey(other), other).toBeUndefined();
    }
  });
});

describe("a real log", () => {
  // The key of the reference log, as its repository names it.
  const key = known("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx");
  const read = (name: string): Buffer => readFileSync(vectors(`tlog-tiles/tessera/${name}`));
  const sizes = [1, 2, 3, 4, 5, 6, 7];
  it.each(sizes)("of %i leaves: checkpoint, tile, entries and receipts agree", async (size) => {
    const parsed = parseCheckpoint(read(`checkpoint.${size}`));
    if (!parsed.ok) throw new Error(parsed.problem);
    const { checkpoint } = parsed;
    expect(checkpoint).toMatchObject({ origin: "example.com/log/testdata", size });
    expect(isSignedBy(checkpoint, key.publicKey)).toBe(true);
    const [tile] = tilesBetween(0, size);
    expect(tile && tilePath(tile)).toBe(`tile/0/000.p/${size}`);
    const hashes = read(`tile/0/000.p/${size}`);
    const entries = decodeEntries(read(`tile/entries/000.p/${size}`), size) ?? [];
    expect(hex(encodeEntries(entries))).toBe(hex(read(`tile/entries/000.p/${size}`)));
    const edge = new RightEdge();
    entries.forEach((entry, n) => {
      const leaf = leafHashOf(entry) as Uint8Array;
      expect(hex(leaf)).toBe(hex(hashes.subarray(n * 32, n * 32 + 32)));
      edge.append(leaf);
    });
    expect(hex(edge.root())).toBe(hex(checkpoint.root));
    const nodes = nodesFromTiles(size, () => hashes);
    for (let index = 0; index < size; index++) {
      const proof = await inclusionProof(index, size, nodes);
      const extra = entries[index] as Uint8Array;
      const receipt = parseTlogProof(formatTlogProof({ index, proof, checkpoint: checkpoint.text, extra }));
      if (!receipt.ok) throw new Error(receipt.problem);
      expect(hex(receipt.proof.extra)).toBe(hex(extra));
      expect(verifyTlogProof(receipt.proof, leafHashOf(extra) as Uint8Array)).toBe(true);
      expect(verifyTlogProof(receipt.proof, sha256Bytes("another"))).toBe(false);
    }
  });
  it("of none", () => {
    const parsed = parseCheckpoint(read("checkpoint.0"));
    expect(parsed.ok && hex(parsed.checkpoint.root)).toBe(hex(new RightEdge().root()));
  });
  it("every file was looked at", () => {
    const files = readdirSync(vectors("tlog-tiles/tessera"), { recursive: true, withFileTypes: true });
    expect(files.filter((one) => one.isFile() && one.name !== "SOURCE.txt")).toHaveLength(8 + 2 * 7);
  });
});

describe("tiles", () => {
  interface Counts {
    readonly new_tiles_counts: { height: number; old: number; new: number; tiles: number }[];
  }
  const { new_tiles_counts } = JSON.parse(readFileSync(vectors("merkle/rfc6962-reference.json"), "utf8")) as Counts;
  it.each(new_tiles_counts)("of height $height from $old to $new: $tiles", ({ height, old, new: now, tiles }) => {
    expect(tilesBetween(old, now, 2 ** height)).toHaveLength(tiles);
  });
  const paths: readonly [string, string | number, number, number][] = [
    ["tile/0/000", 0, 0, 256],
    ["tile/0/x001/x234/067", 0, 1_234_067, 256],
    ["tile/1/x001/234.p/17", 1, 1234, 17],
    ["tile/entries/999.p/255", "entries", 999, 255],
  ];
  it.each(paths)("%s", (path, level, index, width) => {
    expect(parseTilePath(path)).toEqual({ level, index, width });
    expect(tilePath({ level: level as number, index, width })).toBe(path);
  });
  const bad = ["tile/0/0", "tile/0/x000/001", "tile/7/000", "tile/0/000.p/256", "tile/0/000.p/0", "tile/0/000.p/07"];
  const worse = ["tile/-1/000", "/tile/0/000", "tile/0/000/", "tile/0/../000", "tile/0/1000", "tile/0/000\n", ""];
  it.each([...bad, ...worse])("no tile: %j", (path) => expect(parseTilePath(path)).toBeUndefined());
  it("a tree of a thousand leaves is read from its tiles, and one that is short is noticed", async () => {
    const leaves = Array.from({ length: 1000 }, (_, n) => sha256Bytes(String(n)));
    const tiles = new Map<string, Buffer>();
    for (const tile of tilesBetween(0, 1000)) {
      const span = 256 ** (tile.level as number);
      const hashes = Array.from({ length: tile.width }, (_, n) => {
        const edge = new RightEdge();
        const first = (tile.index * 256 + n) * span;
        for (const leaf of leaves.slice(first, first + span)) edge.append(leaf);
        return edge.root();
      });
      tiles.set(tilePath(tile), Buffer.concat(hashes));
    }
    const edge = new RightEdge();
    for (const leaf of leaves) edge.append(leaf);
    const nodes = nodesFromTiles(1000, (tile) => tiles.get(tilePath(tile)) ?? Buffer.alloc(0));
    for (const index of [0, 255, 256, 767, 999]) {
      const proof = await inclusionProof(index, 1000, nodes);
      const signed = await signCheckpoint({ origin: "o", size: 1000, root: edge.root() }, signer);
      const receipt = parseTlogProof(formatTlogProof({ index, proof, checkpoint: signed }));
      expect(receipt.ok && verifyTlogProof(receipt.proof, leaves[index] as Uint8Array)).toBe(true);
    }
    const short = nodesFromTiles(1000, (tile) => (tiles.get(tilePath(tile)) ?? Buffer.alloc(0)).subarray(32));
    await expect(inclusionProof(3, 1000, short)).rejects.toThrow(RangeError);
  });
});

const pair = generateSigningKeyPair(Buffer.alloc(32, 1));
const signer = signerOf(pair);
const witnessPair = generateSigningKeyPair(Buffer.alloc(32, 2));
const tenant = "0199c000-0000-7000-8000-00000000000a";
const origin = originOf({ deployment: "d.example/x", tenant, incarnation: 0 });
const head = { origin, size: 7, root: sha256Bytes("root") };

describe("checkpoints", () => {
  const parse = (text: string) => {
    const parsed = parseCheckpoint(text);
    if (!parsed.ok) throw new Error(parsed.problem);
    return parsed.checkpoint;
  };
  it("are read as they were signed, and cosigned with a time", async () => {
    const text = await signCheckpoint(head, signer);
    const witness = { name: "w.example", signer: signerOf(witnessPair), atSeconds: 1_790_000_000 };
    const key = verifierKey({ name: "w.example", type: 4, publicKey: witnessPair.publicKey });
    const cosigned = appendSignature(text, await signCosignature(parse(text), witness));
    const checkpoint = parse(cosigned);
    expect(checkpoint).toMatchObject({ origin, size: 7, extensions: [] });
    expect(checkpoint.text).toBe(cosigned);
    expect(isSignedBy(checkpoint, pair.publicKey)).toBe(true);
    expect(cosignatureOf(checkpoint, key)).toEqual({ atSeconds: 1_790_000_000 });
    expect(cosignatureOf(parse(text), key)).toBeUndefined();
    expect(cosignatureOf(checkpoint, { ...key, name: "v.example" })).toBeUndefined();
    expect(appendSignature(cosigned, cosigned.trimEnd().split("\n").at(-1) ?? "")).toBe(cosigned);
  });
  it("cosigned again, count from the first time", async () => {
    let text = await signCheckpoint(head, signer);
    for (const atSeconds of [2000, 1000, 3000])
      text = appendSignature(
        text,
        await signCosignature(parse(text), { name: "w", signer: signerOf(witnessPair), atSeconds }),
      );
    const key = verifierKey({ name: "w", type: 4, publicKey: witnessPair.publicKey });
    expect(cosignatureOf(parse(text), key)).toEqual({ atSeconds: 1000 });
    // The time is under the signature: one that is moved is none.
    const [line = ""] = text.trimEnd().split("\n").slice(-1);
    const bytes = Buffer.from(line.split(" ")[2] ?? "", "base64");
    bytes[11] = (bytes[11] ?? 0) ^ 1;
    const moved = appendSignature(await signCheckpoint(head, signer), `\u2014 w ${bytes.toString("base64")}`);
    expect(cosignatureOf(parse(moved), key)).toBeUndefined();
  });
  it("with one bit changed anywhere are not read, or not signed", async () => {
    const text = Buffer.from(await signCheckpoint(head, signer));
    for (let at = 0; at < text.length * 8; at++) {
      const changed = Buffer.from(text);
      changed[at >> 3] = (changed[at >> 3] ?? 0) ^ (1 << (at % 8));
      const parsed = parseCheckpoint(changed);
      expect(parsed.ok && isSignedBy(parsed.checkpoint, pair.publicKey), `bit ${at}`).toBe(false);
    }
  });
  const signature = "\u2014 a AAAAAAAAAAAA\n";
  const root = Buffer.alloc(32).toString("base64");
  const hostile: readonly [string, string | Uint8Array][] = [
    ["a size of 2^63", `o\n9223372036854775808\n${root}\n\n${signature}`],
    ["a size of 2^53", `o\n9007199254740992\n${root}\n\n${signature}`],
    ["a leading zero", `o\n07\n${root}\n\n${signature}`],
    ["a negative size", `o\n-1\n${root}\n\n${signature}`],
    ["a root of 31 bytes", `o\n7\n${Buffer.alloc(31).toString("base64")}\n\n${signature}`],
    ["a root with loose bits", `o\n7\n${root.slice(0, -2)}B=\n\n${signature}`],
    ["carriage returns", `o\r\n7\r\n${root}\r\n\n${signature}`],
    ["a NUL", `o\0\n7\n${root}\n\n${signature}`],
    ["no UTF-8", Buffer.from([0xff, 0x0a, 0x37, 0x0a])],
    ["half a surrogate pair", `\ud800\n7\n${root}\n\n${signature}`],
    ["no signature", `o\n7\n${root}\n\n`],
    ["a million signatures", `o\n7\n${root}\n\n${signature.repeat(1_000_000)}`],
    ["a hundred and one", `o\n7\n${root}\n\n${signature.repeat(101)}`],
    ["a name with a plus", `o\n7\n${root}\n\n\u2014 a+b AAAAAAAAAAAA\n`],
    ["a name that turns direction", `o\n7\n${root}\n\n\u2014 a\u202eb AAAAAAAAAAAA\n`],
    ["an origin that turns direction", `o\u202ex\n7\n${root}\n\n${signature}`],
    ["a blank line among the extensions", `o\n7\n${root}\na\n\nb\n\n${signature}`],
    ["no last line feed", `o\n7\n${root}\n\n${signature.trimEnd()}`],
    ["a blank line at the end", `o\n7\n${root}\n\n${signature}\n`],
    ["a signature without padding", `o\n7\n${root}\n\n\u2014 a AAAAAAA\n`],
    ["a signature of a key id alone", `o\n7\n${root}\n\n\u2014 a AAAAAA==\n`],
    ["base64 for addresses", `o\n7\n${root}\n\n\u2014 a AAAAAA-_\n`],
    ["a hyphen for the dash", `o\n7\n${root}\n\n- a AAAAAAAAAAAA\n`],
    ["two spaces", `o\n7\n${root}\n\n\u2014  a AAAAAAAAAAAA\n`],
    ["a name of a megabyte", `o\n7\n${root}\n\n\u2014 ${"a".repeat(1_000_000)} AAAAAAAAAAAA\n`],
    ["spaces of a megabyte", `o\n7\n${root}\n\n\u2014 ${" ".repeat(1_000_000)} AAAAAAAAAAAA\n`],
    ["a line of two megabytes", `${"o".repeat(2_000_000)}\n7\n${root}\n\n${signature}`],
    ["no origin", `\n7\n${root}\n\n${signature}`],
    ["too little", `o\n7\n\n${signature}`],
    ["many lines", `o\n7\n${root}\n${"x\n".repeat(100_000)}\n${signature}`],
    ["nothing", ""],
  ];
  it.each(hostile)("refused: %s", (_, text) => {
    const parsed = parseCheckpoint(text);
    expect(parsed).toMatchObject({ ok: false, problem: expect.stringMatching(/./) as string });
  });
  it("a cosignature of a time that is none", async () => {
    const text = await signCheckpoint(head, signer);
    const key = verifierKey({ name: "w", type: 4, publicKey: witnessPair.publicKey });
    const line = `\u2014 w ${Buffer.concat([Buffer.from(key.keyId, "hex"), Buffer.alloc(72, 0xff)]).toString("base64")}`;
    expect(cosignatureOf(parse(appendSignature(text, line)), key)).toBeUndefined();
  });
  it("a cosignature beyond the year 9999, though it verifies", async () => {
    const text = await signCheckpoint(head, signer);
    const key = verifierKey({ name: "w", type: 4, publicKey: witnessPair.publicKey });
    const at = async (atSeconds: number) => {
      const by = { name: "w", signer: signerOf(witnessPair), atSeconds };
      return cosignatureOf(parse(appendSignature(text, await signCosignature(parse(text), by))), key);
    };
    expect(await at(253_402_300_799)).toEqual({ atSeconds: 253_402_300_799 });
    expect(await at(253_402_300_800)).toBeUndefined();
  });
  it("bodies", () => {
    expect(checkpointBody({ origin: "o", size: 0, root: Buffer.alloc(32) })).toBe(`o\n0\n${root}\n`);
  });
});

describe("origins", () => {
  const good = [
    { deployment: "countersign-0a", tenant, incarnation: 0 },
    { deployment: "ledger.example.org/main", tenant, incarnation: 3 },
  ];
  it.each(good)("%o", (given) => expect(parseOrigin(originOf(given))).toEqual(given));
  const bad = ["", tenant, `/${tenant}`, `d/${tenant}/0`, `d/${tenant}/01`, `d d/${tenant}`, `d+/${tenant}`, "d/x"];
  it.each(bad)("no origin: %j", (text) => expect(parseOrigin(text)).toBeUndefined());
});

describe("receipts", () => {
  const hash = Buffer.alloc(32).toString("base64");
  const bad: readonly [string, (good: string) => string][] = [
    ["another first line", (good) => good.replace("@v1", "@v2")],
    ["no index", (good) => good.replace("index 0", "index")],
    ["a leading zero", (good) => good.replace("index 0", "index 00")],
    ["an index of 2^63", (good) => good.replace("index 0", "index 9223372036854775808")],
    ["64 hashes", (good) => good.replace("index 0\n", `index 0\n${`${hash}\n`.repeat(64)}`)],
    ["a hash of 31 bytes", (good) => good.replace("index 0\n", `index 0\n${Buffer.alloc(31).toString("base64")}\n`)],
    ["extra that is no base64", (good) => good.replace("index 0", "extra !\nindex 0")],
    ["no checkpoint", (good) => good.slice(0, good.indexOf("\n\n") + 1)],
    ["nothing", () => ""],
  ];
  it.each(bad)("refused: %s", async (_, change) => {
    const good = formatTlogProof({ index: 0, proof: [], checkpoint: await signCheckpoint(head, signer) });
    expect(parseTlogProof(good).ok).toBe(true);
    expect(parseTlogProof(change(good)).ok).toBe(false);
  });
});
