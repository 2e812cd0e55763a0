/** A process that does nothing until it is killed. */
process.send?.({ kind: "ready" });
setInterval(() => undefined, 1_000_000);
export {};
