/** The Merkle tree against RFC 6962's reference values, transparency-dev's proofs good and bad, and a naive tree. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  consistencyProof,
  edgeOf,
  inclusionProof,
  RightEdge,
  verifyConsistency,
  verifyInclusion,
  type ReadNodes,
} from "../src/merkle.js";
import { nodeHash, sha256Bytes } from "../src/hash.js";

const vectors = fileURLToPath(new URL("vectors/merkle/", import.meta.url));
const bytes = (text: string): Uint8Array => Buffer.from(text, "base64");
const hex = (value: Uint8Array): string => Buffer.from(value).toString("hex");
const leafHash = (leaf: Uint8Array): Uint8Array => sha256Bytes(Buffer.concat([Uint8Array.of(0), leaf]));

/** RFC 6962 §2.1, word for word. */
function naiveRoot(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length <= 1) return leaves[0] ?? sha256Bytes("");
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return nodeHash(naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
}
const reader =
  (leaves: readonly Uint8Array[]): ReadNodes =>
  (nodes) =>
    nodes.map(({ level, index }) => naiveRoot(leaves.slice(index * 2 ** level, (index + 1) * 2 ** level)));
const edgeWith = (leaves: readonly Uint8Array[]): RightEdge => {
  const edge = new RightEdge();
  for (const leaf of leaves) edge.append(leaf);
  return edge;
};
const leavesOf = (count: number): Uint8Array[] => Array.from({ length: count }, (_, n) => sha256Bytes(`leaf ${n}`));

interface Reference {
  readonly leaves_hex: string[];
  readonly root_by_size_hex: string[];
}

it("the reference roots", () => {
  const file = JSON.parse(readFileSync(`${vectors}rfc6962-reference.json`, "utf8")) as Reference;
  const leaves = file.leaves_hex.map((leaf) => leafHash(Buffer.from(leaf, "hex")));
  expect(file.root_by_size_hex.map((_, size) => hex(edgeWith(leaves.slice(0, size)).root()))).toEqual(
    file.root_by_size_hex,
  );
});

const files = (folder: string): string[] =>
  readdirSync(vectors + folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".json"))
    .map((name) => `${folder}/${name}`);
const read = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(vectors + name, "utf8")) as Record<string, unknown>;
const proofOf = (value: unknown): Uint8Array[] => ((value ?? []) as string[]).map(bytes);

describe("transparency-dev", () => {
  const inclusion = files("transparency-dev/inclusion");
  it.each(inclusion)("%s", (name) => {
    const given = read(name);
    const verified = verifyInclusion({
      index: given["leafIdx"] as number,
      size: given["treeSize"] as number,
      leafHash: bytes((given["leafHash"] ?? "") as string),
      proof: proofOf(given["proof"]),
      root: bytes((given["root"] ?? "") as string),
    });
    expect(verified).toBe(given["wantErr"] !== true);
  });
  const consistency = files("transparency-dev/consistency");
  it.each(consistency)("%s", (name) => {
    const given = read(name);
    const verified = verifyConsistency({
      from: given["size1"] as number,
      to: given["size2"] as number,
      fromRoot: bytes((given["root1"] ?? "") as string),
      toRoot: bytes((given["root2"] ?? "") as string),
      proof: proofOf(given["proof"]),
    });
    expect(verified).toBe(given["wantErr"] !== true);
  });
  it("there are good and bad ones of both", () => {
    for (const list of [inclusion, consistency])
      expect(new Set(list.map((name) => read(name)["wantErr"] === true)).size).toBe(2);
  });
});

describe("a tree of any size", () => {
  it("has the root of the naive one", () => {
    const leaves = leavesOf(300);
    const edge = new RightEdge();
    for (let size = 0; size <= 300; size++) {
      expect(hex(edge.root())).toBe(hex(naiveRoot(leaves.slice(0, size))));
      if (size < 300) edge.append(leaves[size] as Uint8Array);
    }
  });

  it("goes on from its edge", async () => {
    const leaves = leavesOf(70);
    for (let size = 0; size <= 70; size++) {
      const edge = await edgeOf(size, reader(leaves));
      const again = new RightEdge(size, edge.hashes());
      for (const leaf of leaves.slice(size)) again.append(leaf);
      expect(hex(again.root())).toBe(hex(naiveRoot(leaves)));
      expect(hex(edge.root())).toBe(hex(naiveRoot(leaves.slice(0, size))));
    }
  });

  it("proves every leaf, and nothing else", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 200 }), fc.nat(), fc.nat(), async (size, at, which) => {
        const leaves = leavesOf(size);
        const index = at % size;
        const proof = await inclusionProof(index, size, reader(leaves));
        const good = { index, size, leafHash: leaves[index] as Uint8Array, proof, root: naiveRoot(leaves) };
        expect(verifyInclusion(good)).toBe(true);
        expect(verifyInclusion({ ...good, leafHash: flipped(good.leafHash, which) })).toBe(false);
        expect(verifyInclusion({ ...good, root: flipped(good.root, which) })).toBe(false);
        expect(verifyInclusion({ ...good, proof: [...proof, good.root] })).toBe(false);
        expect(verifyInclusion({ ...good, index: size })).toBe(false);
        if (proof.length > 0) {
          const changed = proof.map((hash, n) => (n === which % proof.length ? flipped(hash, which) : hash));
          expect(verifyInclusion({ ...good, proof: changed })).toBe(false);
          expect(verifyInclusion({ ...good, proof: proof.slice(1) })).toBe(false);
        }
      }),
    );
  });

  it("proves every smaller one that it begins with, and no other", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 200 }), fc.nat(), fc.nat(), async (to, some, which) => {
        const leaves = leavesOf(to);
        const from = some % (to + 1);
        const proof = await consistencyProof(from, to, reader(leaves));
        const [fromRoot, toRoot] = [naiveRoot(leaves.slice(0, from)), naiveRoot(leaves)];
        const good = { from, to, fromRoot, toRoot, proof };
        expect(verifyConsistency(good)).toBe(true);
        expect(verifyConsistency({ ...good, fromRoot: flipped(fromRoot, which) })).toBe(false);
        if (from > 0) expect(verifyConsistency({ ...good, toRoot: flipped(toRoot, which) })).toBe(false);
        expect(verifyConsistency({ ...good, proof: [...proof, toRoot] })).toBe(false);
        if (proof.length > 0) {
          const changed = proof.map((hash, n) => (n === which % proof.length ? flipped(hash, which) : hash));
          expect(verifyConsistency({ ...good, proof: changed })).toBe(false);
          expect(verifyConsistency({ ...good, proof: proof.slice(1) })).toBe(false);
        }
      }),
    );
  });
});

describe("what is no size, no hash, no edge", () => {
  const hash = sha256Bytes("x");
  const sizes = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 2 ** 63];
  it.each(sizes)("%d", async (size) => {
    expect(verifyInclusion({ index: 0, size, leafHash: hash, proof: [], root: hash })).toBe(false);
    expect(verifyInclusion({ index: size, size: 2, leafHash: hash, proof: [hash], root: hash })).toBe(false);
    expect(verifyConsistency({ from: size, to: 2, fromRoot: hash, toRoot: hash, proof: [hash] })).toBe(false);
    expect(verifyConsistency({ from: 1, to: size, fromRoot: hash, toRoot: hash, proof: [hash] })).toBe(false);
    expect(() => new RightEdge(size)).toThrow(RangeError);
    await expect(inclusionProof(0, size, () => [])).rejects.toThrow(RangeError);
    await expect(consistencyProof(1, size, () => [])).rejects.toThrow(RangeError);
  });
  it("an edge of another number of hashes, or of short ones", () => {
    expect(() => new RightEdge(3, [hash])).toThrow("2 hashes, not 1");
    expect(() => new RightEdge(1, [hash.subarray(1)])).toThrow(RangeError);
  });
  it("a size of 52 bits takes as many steps", () => {
    const size = Number.MAX_SAFE_INTEGER;
    expect(
      verifyInclusion({ index: 1, size, leafHash: hash, proof: Array<Uint8Array>(60).fill(hash), root: hash }),
    ).toBe(false);
    expect(new RightEdge(size, Array<Uint8Array>(53).fill(hash)).size).toBe(size);
  });
});

function flipped(hash: Uint8Array, at: number): Uint8Array {
  const changed = Uint8Array.from(hash);
  const index = (at >> 3) % changed.length;
  changed[index] = (changed[index] ?? 0) ^ (1 << (at % 8));
  return changed;
}
