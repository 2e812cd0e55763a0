/** The OpenAPI document: valid OpenAPI 3.1, complete, and made of the same table as the routes. */
import { errorCodes, openApiDocument, operationIds, operationRow } from "@countersign/contract";
import { Validator } from "@seriousme/openapi-schema-validator";
import { expect, test } from "vitest";

interface Document {
  readonly paths: Record<
    string,
    Record<
      string,
      { operationId: string; parameters?: { name: string; in: string }[]; responses: Record<string, unknown> }
    >
  >;
  readonly components: { readonly schemas: Record<string, unknown> };
}
const document = openApiDocument({ version: "1.2.3" }) as unknown as Document;

test("it is valid OpenAPI 3.1, and what is referred to is there", async () => {
  const validator = new Validator();
  const result = await validator.validate(structuredClone(document) as never);
  expect(result.errors).toBeUndefined();
  expect(result.valid).toBe(true);
  expect(validator.version).toBe("3.1");
  // Every reference leads somewhere.
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(
    (match) => match[1] as string,
  );
  expect(references.length).toBeGreaterThan(50);
  expect(references.filter((name) => document.components.schemas[name] === undefined)).toEqual([]);
});

test("a document that is broken is found to be", async () => {
  const broken = structuredClone(document) as unknown as { info: Record<string, unknown> };
  delete broken.info["title"];
  expect((await new Validator().validate(broken as never)).valid).toBe(false);
});

test("every operation is in it, once, with its parameters, its success and its problems", () => {
  const found = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, row]) => ({ path, method, row })),
  );
  expect(found.map(({ row }) => row.operationId).sort()).toEqual([...operationIds].sort());
  for (const { path, method, row } of found) {
    const contract = operationRow(row.operationId as (typeof operationIds)[number]);
    expect([path, method]).toEqual([contract.path, contract.method.toLowerCase()]);
    expect(Object.keys(row.responses)).toContain(String(contract.status));
    expect(Object.keys(row.responses)).toEqual(expect.arrayContaining(["422", "500", "503"]));
    const inPath = (row.parameters ?? [])
      .filter((parameter) => parameter.in === "path")
      .map((parameter) => parameter.name);
    expect(inPath.map((name) => `{${name}}`).every((name) => path.includes(name))).toBe(true);
    const names = (row.parameters ?? []).map((parameter) => parameter.name);
    expect(names.includes("Idempotency-Key")).toBe(contract.idempotent === true);
    expect(names.includes("If-Match")).toBe(contract.ifMatch !== undefined);
  }
});

test("equal tables give equal documents, and codes are those of the catalogue", () => {
  expect(openApiDocument({ version: "1.2.3" })).toEqual(document);
  const problem = document.components.schemas["Problem"] as { properties: { code: { enum: string[] } } };
  expect(problem.properties.code.enum).toEqual(errorCodes);
});
