/** fsync is off in tests, and only there: they kill processes, not machines, and what a killed process wrote stays in the page cache. */
export const testSettings: readonly string[] = [
  "fsync=off",
  "full_page_writes=off",
  "shared_buffers=64MB",
  "max_connections=300",
];
