/** Digests of states stand in plans and approvals for ever: these values may change with a version tag only. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { FORMAT_VERSION, fileStateHash, resourceStateHash } from "../src/index.js";

const sha256 = (...parts: readonly (string | Uint8Array)[]): string => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};

describe("digests of states", () => {
  it("of a resource: tag, NUL, canonical JSON", () => {
    expect(resourceStateHash({ b: 1, a: [1.0, "é"] })).toBe(
      sha256(`countersign.resource.v${FORMAT_VERSION}\u0000`, '{"a":[1,"é"],"b":1}'),
    );
    expect(resourceStateHash({ a: 1, b: 2 })).toBe(resourceStateHash({ b: 2, a: 1 }));
    expect(resourceStateHash([1, 2])).not.toBe(resourceStateHash([2, 1]));
  });

  it("of a file: tag, NUL, four octal digits, NUL, bytes", () => {
    const bytes = Buffer.from([0, 1, 255]);
    expect(fileStateHash(bytes, 0o644)).toBe(sha256(`countersign.file.v${FORMAT_VERSION}\u00000644\u0000`, bytes));
    expect(fileStateHash(bytes, 0o4755)).toBe(sha256(`countersign.file.v${FORMAT_VERSION}\u00004755\u0000`, bytes));
    expect(fileStateHash(bytes, 0o644)).not.toBe(fileStateHash(bytes, 0o600));
    expect(() => fileStateHash(bytes, 0o10000)).toThrow();
    expect(() => fileStateHash(bytes, -1)).toThrow();
  });
});
