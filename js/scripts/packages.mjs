// Builds the packages into their dist/, packs them into packed/, and looks at what would be published: publint, what is in
// the tarballs, types as strangers' compilers see them (strangers.mjs), sizes. `node scripts/packages.mjs [NAME…]`; exits
// with 1 when anything is wrong.
import { execFile, execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { gzippedSize } from "./sizes.mjs";
import { checkAsStrangers } from "./strangers.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const at = (path) => `${root}${path}`;
const manifestOf = (name) => JSON.parse(readFileSync(at(`${name}/package.json`), "utf8"));

/** In the order in which they need each other. */
const ALL = ["client", "core", "act", "react", "bricks"];
/** Bytes, gzipped, that an entry may have. */
const SIZE_MAX = { "client/dist/node.js": 5000, "client/dist/browser.js": 5000, "react/dist/index.js": 12_000 };

let wrong = 0;

function problem(text) {
  wrong++;
  console.error(`  ✗ ${text}`);
}

async function tsc(...given) {
  const ended = promisify(execFile)(process.execPath, [at("node_modules/typescript/bin/tsc"), ...given], { cwd: root });
  await ended.catch((error) => problem(`tsc ${given.join(" ")}\n${error.stdout}${error.stderr}`));
}

async function build(name) {
  rmSync(at(`${name}/dist`), { recursive: true, force: true });
  await tsc("-p", `${name}/tsconfig.build.json`);
  const own = manifestOf(name).scripts?.build; // what tsc does not do: style sheets
  if (own) execFileSync("npm", ["run", "--silent", "build"], { cwd: at(name), stdio: "inherit" });
  copyFileSync(at("../LICENSE"), at(`${name}/LICENSE`));
}

async function lint(name) {
  const { messages } = await publint({ pkgDir: at(name), strict: true });
  for (const message of messages) problem(`publint: ${formatMessage(message, manifestOf(name))}`);
}

/** The tarballs as `npm publish` would send them, each with what belongs into it and nothing else. Returns their paths. */
function pack(names) {
  rmSync(at("packed"), { recursive: true, force: true });
  mkdirSync(at("packed"));
  const given = ["pack", "--json", "--pack-destination", "packed", "--no-update-notifier", ...names.flatMap((name) => ["-w", name])];
  const packed = JSON.parse(execFileSync("npm", given, { cwd: root, stdio: ["ignore", "pipe", "ignore"] }));
  packed.forEach(({ files }, place) => checkFiles(names[place], files.map(({ path }) => path)));
  return packed.map(({ filename }) => at(`packed/${filename}`));
}

function checkFiles(name, files) {
  for (const path of files) if (!PACKED.test(path)) problem(`${name}: ${path} is no file to publish`);
  const wanted = ["README.md", "LICENSE", ...targetsOf(manifestOf(name).exports)];
  for (const path of wanted) if (!files.includes(path.replace("./", ""))) problem(`${name}: ${path} is not in the tarball`);
}

const PACKED = /^(README\.md|LICENSE|package\.json|dist\/[\w/-]+(\.js|\.d\.ts|\.css))$/;

const targetsOf = (value) => (typeof value === "string" ? [value] : Object.values(value).flatMap(targetsOf));

function entriesOf(name) {
  const files = targetsOf(manifestOf(name).exports).filter((path) => path.endsWith(".js"));
  return [...new Set(files)].map((path) => `${name}/${path.replace("./", "")}`);
}

async function measure(name) {
  const { dependencies = {}, peerDependencies = {} } = manifestOf(name);
  for (const entry of entriesOf(name)) {
    if (!existsSync(at(entry))) {
      problem(`${entry} is not there`);
      continue;
    }
    const bytes = await gzippedSize(at(entry), [...Object.keys(dependencies), ...Object.keys(peerDependencies)]);
    console.log(`  ${entry}: ${bytes} bytes gzipped`);
    if (bytes > (SIZE_MAX[entry] ?? Infinity)) problem(`${entry} has ${bytes} bytes gzipped, at most ${SIZE_MAX[entry]}`);
  }
}

const asked = process.argv.slice(2);
const names = ALL.filter((name) => (asked.length ? asked.includes(name) : existsSync(at(`${name}/tsconfig.build.json`))));
for (const name of names) {
  console.log(manifestOf(name).name);
  await build(name);
  await lint(name);
  await measure(name);
}
const tarballs = pack(names);
if (names.length === ALL.length) await checkAsStrangers(tarballs, tsc);
console.log(wrong ? `${wrong} wrong` : "all well");
process.exitCode = wrong ? 1 : 0;
