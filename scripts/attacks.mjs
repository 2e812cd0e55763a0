/**
 * `npm run attacks`: the attack corpus on a real PostgreSQL, as a table of case, verdict and expected verdict. Exits non-zero on any
 * difference. With COUNTERSIGN_TEST_DATABASE_URL (a user who may create roles and databases) on that PostgreSQL, else on the embedded one.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "countersign-attacks-"));
const file = join(folder, "table.json");
try {
  const run = spawnSync(
    process.execPath,
    [join(root, "node_modules/vitest/vitest.mjs"), "run", "packages/server/test/attacks.test.ts", "--reporter=dot"],
    { cwd: root, env: { ...process.env, COUNTERSIGN_ATTACKS_TABLE: file }, encoding: "utf8", maxBuffer: 1 << 26 },
  );
  let lines;
  try {
    lines = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    process.stderr.write(`${run.stdout}\n${run.stderr}\n`);
    process.stderr.write("the attacks could not be tried\n");
    process.exitCode = 3;
  }
  if (lines !== undefined) {
    print(lines);
    if (run.status !== 0 && lines.every((line) => line.as)) process.stderr.write(`${run.stdout}\n${run.stderr}\n`);
    process.exitCode = run.status === 0 && lines.every((line) => line.as) ? 0 : 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function print(lines) {
  const where = (process.env["COUNTERSIGN_TEST_DATABASE_URL"] ?? "") === "" ? "embedded" : "external";
  console.log(`attacks on a ledger in the ${where} PostgreSQL\n`);
  const width = Math.max(...lines.map((line) => line.case.length));
  for (const line of lines) {
    console.log(`${line.as ? "ok  " : "FAIL"}  ${line.case.padEnd(width)}  ${line.verdict}`);
    if (!line.as) console.log(`      ${" ".repeat(width)}  expected: ${line.expected}`);
  }
  const wrong = lines.filter((line) => !line.as).length;
  console.log(`\n${lines.length} cases, ${wrong} with another verdict than expected`);
}
