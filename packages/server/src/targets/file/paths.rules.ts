/**
 * Which paths a file target may name, and what a path says about the file. The same on every platform, so that a plan made
 * on Linux means the same on macOS and Windows.
 *
 * INVARIANT: an accepted path has no empty, `.` or `..` component, does not begin at a root or drive, and holds no separator
 * but `/`; joined to a folder it can only name something below it. Links are the concern of `tree.ts`.
 */
import { limits, type EffectFlag, type Problem } from "@countersign/contract";

/** Bytes of one name that every common filesystem takes. */
const nameBytesMax = 255;

// Device names of Windows, with any extension: opening `aux.json` opens the device.
const reservedName = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$/i;
// Filesystems that ignore some characters (HFS+) read `.g<U+200C>it` as `.git`.
const ignorable = /\p{Default_Ignorable_Code_Point}/gu;

/** Why the path is not allowed; undefined if it is. */
export function checkPath(path: string, pointer: string): Problem | undefined {
  const refuse = (reason: string): Problem => ({ code: "path_refused", message: `the path ${reason}`, pointer });
  if (path === "" || path.length > limits.pathLengthMax)
    return refuse(`has \`${path.length}\` characters; allowed are 1 to ${limits.pathLengthMax}`);
  if (/\p{Cc}/u.test(path)) return refuse("holds a control character; use printable names");
  if (/\p{Surrogate}/u.test(path)) return refuse("holds a lone surrogate; it is not a file name");
  if (path.includes("\\")) return refuse("holds a `\\`; separate with `/`");
  if (path.startsWith("/")) return refuse("is absolute; give it below the workspace's root");
  for (const name of path.split("/")) {
    const reason = checkName(name);
    if (reason !== undefined) return refuse(reason);
    if (isDeniedName(name))
      return {
        code: "path_denied",
        message: `\`${name}\` is denied to every file target; choose another path`,
        pointer,
      };
  }
  if (deniedFolder.test(foldPath(path)))
    return {
      code: "path_denied",
      message: "the folder holds keys or tokens and is denied to every file target; choose another path",
      pointer,
    };
  return undefined;
}

function checkName(name: string): string | undefined {
  if (name === "") return "has an empty component; write single `/` and none at the end";
  if (name === "." || name === "..") return `has the component \`${name}\`; write it without`;
  if (name.includes(":")) return "holds a `:`; it would name a drive or stream on Windows";
  if (/[ .]$/.test(name)) return `has the component \`${name}\`, which ends with a dot or space; Windows drops them`;
  if (reservedName.test(name)) return `has the component \`${name}\`, a device on Windows`;
  if (Buffer.byteLength(name) > nameBytesMax) return `has a component of more than ${nameBytesMax} bytes`;
  return undefined;
}

/**
 * Names that no filesystem of ours tells apart are one: normalised, case folded, ignorable characters dropped. Upper case
 * first, so that `ß` and `SS`, `ſ` and `s`, final and medial sigma fold together.
 */
export function foldPath(path: string): string {
  return path.normalize("NFKC").replace(ignorable, "").toUpperCase().toLowerCase().normalize("NFC");
}

// Git's own folder and its short name on Windows; keys and tokens of the person, and of Countersign.
const deniedName =
  /^(\.git|git~\d+|\.ssh|\.gnupg|\.netrc|_netrc|\.git-credentials|\.countersign|id_(rsa|dsa|ecdsa|ed25519)(_sk)?)$/;

// Countersign's own keys, tokens and data in anybody's home, and the tokens of clouds and clusters.
const deniedFolder =
  /(^|\/)(\.config\/(countersign|gh|gcloud)|\.local\/share\/countersign|\.aws\/credentials|\.kube\/config|\.docker\/config\.json)(\/|$)/;

/** Keys and tokens of the person the server runs as: denied by identity, so also under other names and through links. */
export function keyPaths({
  home,
  env,
}: {
  readonly home: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}): string[] {
  const below = [
    ".ssh",
    ".gnupg",
    ".netrc",
    ".git-credentials",
    ".npmrc",
    ".aws/credentials",
    ".kube/config",
    ".docker/config.json",
    ".config/countersign",
    ".config/gh",
    ".config/gcloud",
  ];
  const chosen = [
    env["COUNTERSIGN_CONFIG"],
    env["XDG_CONFIG_HOME"] === undefined ? undefined : `${env["XDG_CONFIG_HOME"]}/countersign`,
  ];
  return [
    ...below.map((path) => `${home}/${path}`),
    ...chosen.filter((path) => path !== undefined && path !== ""),
  ] as string[];
}

function isDeniedName(name: string): boolean {
  return deniedName.test(foldPath(name)) || isTemporaryName(name);
}

/** Temporary files of `tree.ts`. */
export function isTemporaryName(name: string): boolean {
  return name.startsWith(temporaryPrefix);
}
export const temporaryPrefix = ".countersign-tmp-";

/** A pattern of folded paths: `**` any folders, `*` any characters of a name. */
function pattern(text: string): RegExp {
  const source = text
    .split(/(\*\*\/|\*)/)
    .map((part) => (part === "**/" ? "(?:.*/)?" : part === "*" ? "[^/]*" : part.replace(/[.+?^${}()|[\]\\]/g, "\\$&")))
    .join("");
  return new RegExp(`^${source}(?:/.*)?$`, "u");
}

// What tools run or obey without being asked, by purpose. A folder stands for everything below it.
const codeBearing = [
  // git: hooks kept in the tree, filters, submodules
  "**/.githooks",
  "**/.husky",
  "**/.gitattributes",
  "**/.gitmodules",
  "**/.gitconfig",
  "**/.lefthook*",
  "**/lefthook.y*ml",
  "**/.pre-commit-config.y*ml",
  // continuous integration
  "**/.github/workflows",
  "**/.github/actions",
  "**/.github/dependabot.y*ml",
  "**/.gitlab-ci.y*ml",
  "**/.gitlab/ci",
  "**/.circleci",
  "**/.travis.yml",
  "**/azure-pipelines*",
  "**/.azure-pipelines",
  "**/jenkinsfile*",
  "**/bitbucket-pipelines.yml",
  "**/.drone.yml",
  "**/.buildkite",
  "**/.woodpecker*",
  "**/.forgejo",
  "**/.gitea",
  "**/.ci",
  "**/appveyor.yml",
  "**/cloudbuild.y*ml",
  // package scripts and where packages come from
  "**/package.json",
  "**/.npmrc",
  "**/.yarnrc*",
  "**/.yarn/plugins",
  "**/.yarn/releases",
  "**/.pnpmfile.*js",
  "**/pnpm-workspace.yaml",
  "**/bunfig.toml",
  "**/deno.json*",
  "**/setup.py",
  "**/setup.cfg",
  "**/pyproject.toml",
  "**/tox.ini",
  "**/noxfile.py",
  "**/conftest.py",
  "**/sitecustomize.py",
  "**/build.rs",
  "**/.cargo/config*",
  "**/gemfile",
  "**/rakefile",
  "**/*.gemspec",
  "**/composer.json",
  "**/pom.xml",
  "**/build.gradle*",
  "**/settings.gradle*",
  "**/gradlew*",
  "**/mvnw*",
  // build files and containers
  "**/makefile",
  "**/makefile.*",
  "**/gnumakefile",
  "**/*.mk",
  "**/cmakelists.txt",
  "**/justfile",
  "**/.justfile",
  "**/taskfile*.y*ml",
  "**/dockerfile*",
  "**/*.dockerfile",
  "**/containerfile*",
  "**/docker-compose*.y*ml",
  "**/compose*.y*ml",
  "**/.devcontainer*",
  "**/vagrantfile",
  "**/procfile",
  // shells and scripts
  "**/*.sh",
  "**/*.bash",
  "**/*.zsh",
  "**/*.fish",
  "**/*.ps1",
  "**/*.psm1",
  "**/*.bat",
  "**/*.cmd",
  "**/*.command",
  "**/.envrc",
  "**/.bashrc",
  "**/.bash_profile",
  "**/.profile",
  "**/.zshrc",
  "**/.zshenv",
  // editors and agents: what they run, and what they are told
  "**/.vscode",
  "**/.idea",
  "**/.vimrc",
  "**/.exrc",
  "**/claude.md",
  "**/claude.local.md",
  "**/agents.md",
  "**/gemini.md",
  "**/.claude*",
  "**/.cursor*",
  "**/.windsurf*",
  "**/.clinerules*",
  "**/.roo*",
  "**/.aider*",
  "**/.continue",
  "**/.codex",
  "**/.gemini",
  "**/.mcp.json",
  "**/mcp.json",
  "**/.github/copilot*",
  "**/.github/instructions",
  "**/.github/prompts",
  "**/.github/agents",
  "**/skill.md",
].map(pattern);

// Secrets, and what decides who may change what.
const protectedPaths = [
  "**/.env*",
  "**/*.pem",
  "**/*.key",
  "**/*.p12",
  "**/*.pfx",
  "**/*.jks",
  "**/*.keystore",
  "**/.aws",
  "**/.kube",
  "**/.docker/config.json",
  "**/secrets",
  "**/.secrets",
  "**/codeowners",
  "**/.pypirc",
].map(pattern);

/** What the path alone says: `code_bearing` what tools run or obey by themselves, `protected_path` that and secrets. */
export function pathFlags(path: string): EffectFlag[] {
  const folded = foldPath(path);
  if (codeBearing.some((expression) => expression.test(folded))) return ["protected_path", "code_bearing"];
  return protectedPaths.some((expression) => expression.test(folded)) ? ["protected_path"] : [];
}

/** The folder a path is in, "" for the root. */
export function parentPath(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}
