import { describe, expect, it } from "vitest";
import { checkPath, foldPath, keyPaths, pathFlags } from "../../src/targets/file/paths.rules.js";
import { checkRoot } from "../../src/targets/file/workspaces.js";

const paths: readonly [path: string, code: "path_refused" | "path_denied" | undefined][] = [
  ["a", undefined],
  ["config/app.json", undefined],
  ["src/[...slug]/page (copy).tsx", undefined],
  ["Grüße/世界/файл.txt", undefined],
  ["a b/c..d/.hidden", undefined],
  ["..foo/...bar/.x", undefined],
  ["", "path_refused"],
  ["/etc/passwd", "path_refused"],
  ["//server/share", "path_refused"],
  ["..", "path_refused"],
  ["../x", "path_refused"],
  ["a/../../x", "path_refused"],
  ["a/..", "path_refused"],
  ["./a", "path_refused"],
  ["a/./b", "path_refused"],
  ["a//b", "path_refused"],
  ["a/", "path_refused"],
  ["a\\b", "path_refused"],
  ["..\\x", "path_refused"],
  ["C:\\x", "path_refused"],
  ["C:/x", "path_refused"],
  ["C:x", "path_refused"],
  ["file.txt:stream", "path_refused"],
  ["\\\\?\\C:\\x", "path_refused"],
  ["con", "path_refused"],
  ["a/NUL", "path_refused"],
  ["aux.json", "path_refused"],
  ["Com1.tar.gz", "path_refused"],
  ["lpt9", "path_refused"],
  ["com¹", "path_refused"],
  ["CONIN$", "path_refused"],
  ["console/auxiliary", undefined],
  ["com10", undefined],
  ["a.", "path_refused"],
  ["a /b", "path_refused"],
  ["a. /b", "path_refused"],
  ["a\u0000b", "path_refused"],
  ["a\nb", "path_refused"],
  ["a\u001b[2Jb", "path_refused"],
  ["a\u0085b", "path_refused"],
  ["a\ud800b", "path_refused"],
  ["x".repeat(1025), "path_refused"],
  ["x".repeat(255), undefined],
  ["x".repeat(256), "path_refused"],
  ["ä".repeat(128), "path_refused"],
  [".git/config", "path_denied"],
  [".git", "path_denied"],
  ["sub/.git/hooks/pre-commit", "path_denied"],
  [".GIT/config", "path_denied"],
  [".Git/HEAD", "path_denied"],
  [".g\u200cit/config", "path_denied"],
  [".gi\ufefft/config", "path_denied"],
  ["．git/config", "path_denied"],
  ["git~1/config", "path_denied"],
  [".git /config", "path_refused"],
  [".git./config", "path_refused"],
  [".gitignore", undefined],
  [".github/x.md", undefined],
  ["git/x", undefined],
  [".ssh/authorized_keys", "path_denied"],
  ["deploy/id_ed25519", "path_denied"],
  ["deploy/id_ed25519.pub", undefined],
  [".netrc", "path_denied"],
  [".gnupg/x", "path_denied"],
  [".git-credentials", "path_denied"],
  [".countersign/key", "path_denied"],
  ["a/.countersign-tmp-00ff", "path_denied"],
  [".config/countersign/credentials.json", "path_denied"],
  ["ada/.Config/Countersign", "path_denied"],
  [".local/share/countersign/sealing-key", "path_denied"],
  [".aws/credentials", "path_denied"],
  [".aws/readme", undefined],
  ["src/config/countersign.ts", undefined],
];

describe("paths", () => {
  it.each(paths)("%j is %s", (path, code) => expect(checkPath(path, "/p")?.code).toBe(code));
});

const same: readonly [string, string, boolean][] = [
  ["README.md", "readme.MD", true],
  ["stra\u00dfe", "STRASSE", true],
  ["caf\u00e9", "cafe\u0301", true],
  ["\u212b", "\u00e5", true],
  ["\u03c3", "\u03c2", true],
  ["\u017f", "s", true],
  ["a\u200bb", "ab", true],
  ["a", "b", false],
  ["a_b", "a-b", false],
  ["\u0430", "a", false],
];

describe("names that are one on some filesystem", () => {
  it.each(same)("%j and %j: %s", (a, b, expected) => expect(foldPath(a) === foldPath(b)).toBe(expected));
});

const code = ["protected_path", "code_bearing"];
const flags: readonly [path: string, flags: string[]][] = [
  ["src/app.ts", []],
  ["config/app.json", []],
  ["docs/README.md", []],
  ["package.json", code],
  ["packages/a/package.json", code],
  ["PACKAGE.JSON", code],
  [".github/workflows/ci.yml", code],
  [".github/ISSUE_TEMPLATE/bug.md", []],
  [".gitlab-ci.yml", code],
  [".gitattributes", code],
  [".gitmodules", code],
  [".githooks/pre-commit", code],
  [".husky/pre-push", code],
  ["Makefile", code],
  ["build/rules.mk", code],
  ["Dockerfile", code],
  ["deploy/Dockerfile.prod", code],
  ["docker-compose.override.yml", code],
  ["scripts/deploy.sh", code],
  ["run.PS1", code],
  ["Jenkinsfile", code],
  [".circleci/config.yml", code],
  [".ci/run", code],
  ["CLAUDE.md", code],
  ["sub/AGENTS.md", code],
  [".cursor/rules/x.mdc", code],
  [".cursorrules", code],
  [".mcp.json", code],
  [".claude/settings.json", code],
  [".vscode/tasks.json", code],
  [".devcontainer/devcontainer.json", code],
  ["setup.py", code],
  ["pyproject.toml", code],
  ["build.gradle.kts", code],
  [".envrc", code],
  [".env", ["protected_path"]],
  ["apps/web/.env.local", ["protected_path"]],
  ["tls/server.key", ["protected_path"]],
  ["secrets/db.json", ["protected_path"]],
  ["CODEOWNERS", ["protected_path"]],
  ["makefiles-explained.md", []],
];

describe("what a path says about its file", () => {
  it.each(flags)("%s: %j", (path, expected) => expect(pathFlags(path)).toEqual(expected));
});

const roots: readonly [what: string, root: string, refused: boolean, confirmHome?: boolean][] = [
  ["a project", "/home/ada/shop", false],
  ["the filesystem", "/", true],
  ["the home", "/home/ada", true],
  ["the home, confirmed, but it holds the data", "/home/ada", true, true],
  ["above the home", "/home", true],
  ["the data directory", "/home/ada/.local/share/countersign", true],
  ["inside the data directory", "/home/ada/.local/share/countersign/x", true],
  ["above the data directory", "/home/ada/.local", true],
  ["beside the data directory", "/home/ada/.local/share/countersign-notes", false],
  ["an active workspace", "/home/ada/active", true],
  ["inside an active workspace", "/home/ada/active/sub", true],
  ["above an active workspace", "/home/ada/work", true],
  ["beside an active workspace", "/home/ada/active2", false],
  ["inside .git", "/home/ada/shop/.git/modules", true],
];

describe("roots", () => {
  const facts = {
    data: "/home/ada/.local/share/countersign",
    home: "/home/ada",
    active: [
      { name: "one", root: "/home/ada/active" },
      { name: "two", root: "/home/ada/work/inner" },
    ],
  };
  it.each(roots)("%s", (_what, root, refused, confirmHome = false) => {
    expect(checkRoot(root, { ...facts, confirmHome }).length > 0).toBe(refused);
  });
  it("a home without the data in it is a root when confirmed", () => {
    expect(
      checkRoot("/home/ada", { active: [], data: "/var/lib/countersign", home: "/home/ada", confirmHome: true }),
    ).toEqual([]);
  });
});

it("the keys of the person the server runs as are known by their places", () => {
  const paths = keyPaths({
    home: "/home/ada",
    env: { COUNTERSIGN_CONFIG: "/etc/cs", XDG_CONFIG_HOME: "/home/ada/.cfg" },
  });
  expect(paths).toEqual(
    expect.arrayContaining([
      "/home/ada/.ssh",
      "/home/ada/.config/countersign",
      "/etc/cs",
      "/home/ada/.cfg/countersign",
    ]),
  );
});
