/** Writes packages/verify/dist/verify.html. */
export declare function buildVerifier(): Promise<{ bytes: number; sha256: string }>;
