/** Rows of a copy are put together from whatever pieces they arrive in, and the connection is good afterwards. */
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { copyOut } from "../../src/ledger/copyOut.js";
import { lineTo, type Line } from "../support/line.js";
import { createDatabase } from "../support/postgres.js";

let line: Line;
let client: pg.Client;
beforeAll(async () => {
  line = await lineTo((await createDatabase()).app);
  line.crumbles = true;
  client = new pg.Client(line.login);
  await client.connect();
});
afterAll(async () => {
  await client.end();
  line.close();
});

async function numbers(statement: string): Promise<number[]> {
  const found: number[] = [];
  for await (const rows of copyOut(client, statement)) while (rows.next()) found.push(rows.integer());
  return found;
}

const first = (count: number): number[] => Array.from({ length: count }, (_, n) => n + 1);

it.each([0, 1, 3, 500])("%i rows, byte by byte", async (count) => {
  expect(await numbers(`select n::int8 from generate_series(1, ${count}) as n`)).toEqual(first(count));
  expect((await client.query<{ n: number }>("select 1 as n")).rows).toEqual([{ n: 1 }]);
});

it("a copy that fails on its way says why, and its connection is not used again", async () => {
  client.on("error", () => undefined);
  await expect(numbers("select (6 / (4 - n))::int8 from generate_series(1, 9) as n")).rejects.toThrow(
    "division by zero",
  );
  await expect(client.query("select 2 as n")).rejects.toThrow(/connection/i);
});
