// Builds the packages into their dist/, and looks at what would be published: publint, types as a stranger's compiler
// sees them, sizes. `node scripts/packages.mjs [NAME…]`; exits with 1 when anything is wrong.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { gzippedSize } from "./sizes.mjs";

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

function tsc(...given) {
  try {
    execFileSync(process.execPath, [at("node_modules/typescript/bin/tsc"), ...given], { cwd: root, stdio: "pipe" });
  } catch (error) {
    problem(`tsc ${given.join(" ")}\n${error.stdout}${error.stderr}`);
  }
}

function build(name) {
  rmSync(at(`${name}/dist`), { recursive: true, force: true });
  tsc("-p", `${name}/tsconfig.build.json`);
  const own = manifestOf(name).scripts?.build; // what tsc does not do: style sheets
  if (own) execFileSync("npm", ["run", "--silent", "build"], { cwd: at(name), stdio: "inherit" });
}

async function lint(name) {
  const { messages } = await publint({ pkgDir: at(name), strict: true });
  for (const message of messages) problem(`publint: ${formatMessage(message, manifestOf(name))}`);
}

/** Every entry, imported by a program of somebody else's, with the strictest resolution there is. */
function checkTypes(names) {
  const directory = at("node_modules/.cache/consumer");
  mkdirSync(directory, { recursive: true });
  const imports = names.flatMap((name) => {
    const { name: called, exports } = manifestOf(name);
    const entries = Object.keys(exports).filter((entry) => !/\.(css|json)$/.test(entry));
    return entries.map((entry) => `export * as ${name}${entry.replace(/\W/g, "_")} from "${called}${entry.slice(1)}";`);
  });
  writeFileSync(`${directory}/all.mts`, `${imports.join("\n")}\n`);
  tsc(
    "--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--module", "nodenext", "--jsx", "react-jsx",
    "--lib", "es2023,dom,dom.iterable", "--types", "node", `${directory}/all.mts`,
  );
}

function entriesOf(name) {
  const targets = (value) => (typeof value === "string" ? [value] : Object.values(value).flatMap(targets));
  const files = Object.values(manifestOf(name).exports).flatMap(targets).filter((path) => path.endsWith(".js"));
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
  build(name);
  await lint(name);
  await measure(name);
}
checkTypes(names);
console.log(wrong ? `${wrong} wrong` : "all well");
process.exitCode = wrong ? 1 : 0;
