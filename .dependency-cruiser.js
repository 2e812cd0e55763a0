/** The rules of ARCHITECTURE.md, as far as imports can break them. `npm run deps` checks that it really read the modules. */

/** Folders of packages/server/src, lowest first: each may use only those before it. */
const folders = [
  "platform",
  "witness",
  "storage",
  "ledger",
  "publishing",
  "verification",
  "tenancy",
  "secrets",
  "governance",
  "targets",
  "change-sets",
  "retention",
  "change-requests",
  "work",
  "observability",
  "followers",
  "jobs",
  "audit",
  "ops",
  "dispatch",
  "http",
  "mcp",
  "cli",
];
/** Rooms of change-sets, lowest first; the first is what stands beside them. */
const phases = ["", "proposing", "deciding", "running"];
const src = "^packages/server/src/";

const downward = folders.map((folder, index) => ({
  name: `downward-only-${folder}`,
  severity: "error",
  comment: "A folder uses only those below it in the list.",
  from: { path: `${src}${folder}/` },
  to: { path: `${src}(${folders.slice(index + 1).join("|") || "none"})/` },
}));

export default {
  forbidden: [
    ...downward.filter((rule) => !rule.to.path.includes("(none)")),
    {
      name: "front-door",
      severity: "error",
      comment: "Other modules are reached through their index.ts only.",
      from: { path: `${src}([^/]+)/` },
      to: { path: `${src}[^/]+/`, pathNot: [`${src}$1/`, `${src}[^/]+/index\\.ts$`] },
    },
    ...phases
      .map((phase, index) => ({
        name: `phases-of-a-change-set-${phase || "shared"}`,
        severity: "error",
        comment:
          "What all phases share, then proposing, deciding, running: each uses those before it; index.ts offers them.",
        from: { path: `${src}change-sets/${phase ? `${phase}/` : "[^/]+$"}`, pathNot: `${src}change-sets/index\\.ts$` },
        to: { path: `${src}change-sets/(${phases.slice(index + 1).join("|")})/` },
      }))
      .slice(0, -1),
    {
      name: "target-kinds-stand-alone",
      severity: "error",
      comment: "A target kind knows no other one; what several need stands beside their folders, or in targets/json.",
      from: { path: `${src}targets/(?!json/)([^/]+)/` },
      to: { path: `${src}targets/(?!json/)[^/]+/`, pathNot: `${src}targets/$1/` },
    },
    {
      name: "packages-by-name",
      severity: "error",
      comment: "Another package is imported by its name, never by a path into it.",
      from: { path: "^packages/([^/]+)/src/" },
      to: {
        path: "^packages/[^/]+/src/",
        pathNot: ["^packages/$1/src/", "^packages/[^/]+/src/index\\.ts$", "^packages/proof/src/load\\.ts$"],
      },
    },
    {
      name: "rules-are-pure",
      severity: "error",
      comment: "*.rules.ts decide: values in, value out. No storage, clock, file or network.",
      from: { path: "\\.rules\\.ts$" },
      to: {
        path: [
          `${src}(storage|ledger|publishing|verification|retention|audit|ops|dispatch|http|mcp|cli)/`,
          "/queries\\.ts$",
          "^(fs|fs/promises|net|http|https|http2|dns|tls|child_process|worker_threads|timers|os|crypto|perf_hooks)$",
          "^node_modules/(pg|fastify)/",
        ],
        dependencyTypesNot: ["type-only"],
      },
    },
    {
      name: "contract-stands-alone",
      severity: "error",
      from: { path: "^packages/contract/src/" },
      to: { pathNot: ["^packages/contract/src/", "^node_modules/zod/"] },
    },
    {
      name: "proof-stands-alone",
      severity: "error",
      comment: "Auditors read it whole: Node itself, nothing else.",
      from: { path: "^packages/proof/src/" },
      to: { pathNot: ["^packages/proof/src/"], dependencyTypesNot: ["core"] },
    },
    {
      name: "sdk-needs-the-contract-only",
      severity: "error",
      from: { path: "^packages/sdk/src/" },
      to: { pathNot: ["^packages/sdk/src/", "^packages/contract/src/index\\.ts$"] },
    },
    {
      name: "verify-needs-proof-only",
      severity: "error",
      comment: "What auditors run: the verifier, and Node itself.",
      from: { path: "^packages/verify/src/" },
      to: {
        pathNot: ["^packages/verify/src/", "^packages/proof/(src|dist)/(index|load)\\.(d\\.)?ts$"],
        dependencyTypesNot: ["core"],
      },
    },
    {
      name: "sdk-for-the-cli-only",
      severity: "error",
      from: { path: "^packages/server/src/", pathNot: [`${src}(cli|mcp)/`] },
      to: { path: "^packages/sdk/" },
    },
    {
      name: "driver",
      severity: "error",
      comment: "Our database's driver: storage, ledger, verification, retention, ops.",
      from: { path: "^packages/[^/]+/src/", pathNot: [`${src}(storage|ledger|verification|retention|ops)/`] },
      to: { path: "^node_modules/(pg|@types/pg|pg-[a-z-]+)/" },
    },
    {
      name: "edges-see-dispatch-only",
      severity: "error",
      comment:
        "http, mcp and cli translate, call dispatch, print. The command line also works with the server away: storage, ledger and ops by their front doors.",
      from: { path: `${src}(http|mcp)/` },
      to: { path: src, pathNot: [`${src}(dispatch|platform|http|mcp)/`] },
    },
    {
      name: "cli-by-sdk",
      severity: "error",
      from: { path: `${src}cli/` },
      to: {
        path: src,
        pathNot: [`${src}(cli|platform|witness|storage|ledger|ops)/`, `${src}(server|index|version)\\.ts$`],
      },
    },
    {
      name: "no-cycles",
      severity: "error",
      from: { path: "^packages/" },
      to: { circular: true },
    },
    {
      name: "no-orphans",
      severity: "error",
      from: { orphan: true, path: "^packages/[^/]+/src/" },
      to: {},
    },
    {
      name: "no-test-code-in-product",
      severity: "error",
      from: { path: "^packages/[^/]+/src/" },
      to: {
        path: ["^packages/[^/]+/test/", "^bench/", "^scripts/", "^node_modules/(vitest|fast-check|eslint|prettier)/"],
      },
    },
    {
      name: "resolvable",
      severity: "error",
      from: { path: "^packages/" },
      to: { couldNotResolve: true },
    },
    {
      name: "declared",
      severity: "error",
      comment: "What a package imports stands in its package.json.",
      from: { path: "^packages/[^/]+/src/" },
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown", "npm-dev"], pathNot: ["^node_modules/@types/"] },
    },
  ],
  options: {
    doNotFollow: { path: ["node_modules", "/dist/"] },
    exclude: { path: "/vectors/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.test.json" },
    combinedDependencies: false,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "types", "default"],
      mainFields: ["module", "main", "types"],
    },
  },
};
