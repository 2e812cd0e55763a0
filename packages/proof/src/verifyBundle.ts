/** Verifies a bundle with nothing but its bytes and what the verifier brings: keys and anchors, or none. */
import type { BundleHeader } from "./bundle.js";
import { readBundle } from "./bundleReader.js";
import type { VerifyResult } from "./findings.js";
import { ChainVerifier, MalformedSourceError, type VerifyOptions } from "./verify.js";

export interface BundleResult extends VerifyResult {
  /** Absent if the header could not be read. */
  readonly header?: BundleHeader;
}

export type VerifyBundleOptions = Omit<VerifyOptions, "tenant" | "from" | "to" | "headHash" | "prevHash"> & {
  /** The tenant the bundle must be of. Default: the one its header names. */
  readonly tenant?: string;
};

/** Exit code: `exitCodeOf(result)`. */
export async function verifyBundle(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: VerifyBundleOptions = {},
): Promise<BundleResult> {
  let verifier = new ChainVerifier({ ...options, tenant: options.tenant ?? "" });
  let header: BundleHeader | undefined;
  let unreadable: string | undefined;
  let damage: { expected: string; actual: string } | undefined;
  try {
    for await (const part of readBundle(chunks)) {
      if (part.kind === "entries") for (const entry of part.entries) verifier.add(entry);
      if (part.kind === "end" && !part.intact) damage = part;
      if (part.kind !== "header") continue;
      header = part.header;
      const tenant = options.tenant ?? header.tenant;
      verifier = new ChainVerifier({ ...options, ...demandsOf(header), countBodies: true, tenant });
      if (tenant !== header.tenant)
        verifier.report({ class: "FOREIGN_ENTRY", seq: null, expected: tenant, actual: header.tenant });
    }
  } catch (error) {
    if (error instanceof MalformedSourceError) verifier.malformed(error);
    else unreadable = error instanceof Error ? error.message : String(error);
  }
  const result = verifier.finish(unreadable);
  return { ...withDamage(result, damage), ...(header !== undefined ? { header } : {}) };
}

function demandsOf({ from, to, head }: BundleHeader): Pick<VerifyOptions, "from" | "to" | "headHash"> {
  return { from, to, ...(head !== null && head.seq === to ? { headHash: head.hash } : {}) };
}

/** A wrong digest is reported where nothing else explains it: then something beside the entries was changed. */
function withDamage(result: VerifyResult, damage: { expected: string; actual: string } | undefined): VerifyResult {
  if (damage === undefined || result.integrity !== "ok") return result;
  const { expected, actual } = damage;
  const detail = "the bundle's bytes are not those its last line names";
  const finding = { class: "CONTENT_MISMATCH", seq: null, expected, actual, detail } as const;
  return { ...result, integrity: "tampered", first: finding, findings: [finding], findingsTotal: 1 };
}
