/** Lint: what the compiler cannot say. The rules between folders are dependency-cruiser's, in `.dependency-cruiser.js`. */
import { readFileSync } from "node:fs";
import tseslint from "typescript-eslint";

const hashing = ["createHash", "createHmac", "createSign", "createVerify", "hash", "sign", "verify"];
const hashingOnlyInProof = {
  name: "node:crypto",
  importNames: hashing,
  message: "hashes and signatures are computed in @countersign/proof, only there",
};
const wholeCrypto = { name: "crypto", message: "import named functions from node:crypto" };
const driver = {
  name: "pg",
  message: "the database's driver belongs to storage, ledger, verification, retention and ops",
  allowTypeImports: false,
};

/** Node's crypto as a whole object would hide which function is used. */
const noWholeCrypto = {
  selector:
    "ImportDeclaration[source.value='node:crypto'] > :matches(ImportDefaultSpecifier, ImportNamespaceSpecifier)",
  message: "import named functions from node:crypto",
};

/** Only a kind's own folder knows which kind a target is of: elsewhere the answer would be wrong for the next kind, and nothing would say so. */
const targetKinds = [
  ...readFileSync(new URL("packages/contract/src/targets/kinds.ts", import.meta.url), "utf8").matchAll(
    /(\w+): \w+Descriptor/g,
  ),
].map(([, name]) => name);
if (targetKinds.length < 2) throw new Error("the target kinds could not be read");
const targetKindNames = `/^(${targetKinds.join("|")})$/`;
const noAskingForKinds = [
  `BinaryExpression[operator=/^[!=]==?$/][right.value=${targetKindNames}]:matches([left.property.name=/kind$/i], [left.name=/kind$/i])`,
  `BinaryExpression[operator=/^[!=]==?$/][left.value=${targetKindNames}]:matches([right.property.name=/kind$/i], [right.name=/kind$/i])`,
  `SwitchStatement:matches([discriminant.property.name=/kind$/i], [discriminant.name=/kind$/i]) > SwitchCase[test.value=${targetKindNames}]`,
].map((selector) => ({
  selector,
  message: "ask the kind (targetKind, targetRules, targets.kind), not which kind it is",
}));

export default tseslint.config(
  { ignores: ["**/dist/**", "**/node_modules/**", "**/vectors/**", "coverage/**"] },
  {
    files: [
      "packages/*/src/**/*.ts",
      "packages/*/browser/**/*.ts",
      "packages/*/test/**/*.ts",
      "bench/**/*.ts",
      "vitest.config.ts",
    ],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: {
      parserOptions: {
        project: ["./tsconfig.test.json", "./packages/verify/browser/tsconfig.json"],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    linterOptions: { reportUnusedDisableDirectives: "error", noInlineConfig: true },
    rules: {
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/ban-ts-comment": [
        "error",
        { "ts-ignore": true, "ts-expect-error": true, "ts-nocheck": true, "ts-check": false },
      ],
      "@typescript-eslint/only-throw-error": "error",
      "@typescript-eslint/return-await": ["error", "in-try-catch"],
      // The compiler's noUnusedLocals and noUnusedParameters say the same.
      "@typescript-eslint/no-unused-vars": "off",
      // An async function that awaits nothing keeps the shape of its interface.
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      // Interfaces are written with methods and made of closures; and casts that changed nothing today narrow an edit tomorrow.
      "@typescript-eslint/unbound-method": "off",
      "@typescript-eslint/no-unnecessary-type-assertion": "off",
      eqeqeq: ["error", "smart"],
      "no-console": "error",
      "no-empty": "error",
      "no-var": "error",
      "prefer-const": "error",
      "no-restricted-syntax": ["error", noWholeCrypto],
    },
  },
  {
    files: ["packages/{contract,sdk,server}/src/**/*.ts"],
    rules: {
      "@typescript-eslint/no-restricted-imports": ["error", { paths: [hashingOnlyInProof, wholeCrypto, driver] }],
    },
  },
  {
    files: ["packages/{contract,sdk,server}/src/**/*.ts"],
    ignores: [
      ...targetKinds.flatMap((name) => [
        `packages/contract/src/targets/${name}.ts`,
        `packages/server/src/targets/${name}/**`,
      ]),
      // The demo looks at the files and documents it made itself.
      "packages/server/src/cli/demo/**",
      // Anchors have kinds of their own, and one is called `file` too.
      "packages/server/src/**/anchors/**",
    ],
    rules: { "no-restricted-syntax": ["error", noWholeCrypto, ...noAskingForKinds] },
  },
  {
    files: ["packages/server/src/{storage,ledger,verification,retention,ops}/**/*.ts"],
    rules: { "@typescript-eslint/no-restricted-imports": ["error", { paths: [hashingOnlyInProof, wholeCrypto] }] },
  },
  {
    // Programs that people run speak on the console.
    files: ["bench/**/*.ts", "scripts/**/*.ts", "packages/*/test/**/*.ts"],
    rules: { "no-console": "off" },
  },
  {
    // Tests look at answers as they come, and show that what must not compile does not.
    files: ["packages/*/test/**/*.ts", "bench/**/*.ts"],
    rules: {
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-return": "off",
      "@typescript-eslint/ban-ts-comment": [
        "error",
        { "ts-ignore": true, "ts-expect-error": "allow-with-description", "ts-nocheck": true, "ts-check": false },
      ],
    },
  },
);
