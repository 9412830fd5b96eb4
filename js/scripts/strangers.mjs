// The packages as others' programs have them: unpacked from their tarballs, compiled by TypeScript as strictly as it can,
// every entry and every code block of docs/javascript.md and of the READMEs.
//
//     node      Node 20 without a browser's types    client, core, act
//     react-18  React 18's types, nodenext           everything
//     react-19  React 19's types, as bundlers do     everything
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const here = `${root}node_modules/.cache/strangers`;

const NODENEXT = ["--module", "nodenext"];
const BUNDLER = ["--module", "esnext", "--moduleResolution", "bundler"];
const DOM = ["--lib", "es2023,dom,dom.iterable"];

const STRANGERS = {
  node: { has: /client|core/, given: [...NODENEXT, "--lib", "es2023"] },
  "react-18": { has: /./, given: [...NODENEXT, ...DOM], react: `${root}react-18/node_modules/@types/react` },
  "react-19": { has: /./, given: [...BUNDLER, ...DOM], react: `${root}node_modules/@types/react` },
};

const STRICT = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--jsx", "react-jsx", "--types", "node"];
const EXAMPLES = ["--allowJs", "--checkJs", "--noImplicitAny", "false"]; // JavaScript: its parameters need no types

/** `tsc` is called with its arguments, all strangers' at once, and says itself what is wrong. */
export async function checkAsStrangers(tarballs, tsc) {
  rmSync(here, { recursive: true, force: true });
  await Promise.all(Object.entries(STRANGERS).map(([name, stranger]) => tsc(...STRICT, ...EXAMPLES, ...moved(name, stranger, tarballs))));
}

/** A stranger moves in: a folder with the packages, and programs that use them. Returns what its compiler is given. */
function moved(name, { has, given, react }, tarballs) {
  const directory = `${here}/${name}`;
  const packages = tarballs.map((tarball) => unpacked(tarball, directory)).filter((one) => has.test(one.name));
  if (react) linked(react, `${directory}/node_modules/@types/react`);
  const programs = { "entries.mts": packages.flatMap(entriesOf).join("\n"), ...examplesFor(has) };
  writeFileSync(`${directory}/package.json`, '{"type":"module"}');
  for (const [path, text] of Object.entries(programs)) writeFileSync(`${directory}/${path}`, text);
  return [...given, ...Object.keys(programs).map((path) => `${directory}/${path}`)];
}

function unpacked(tarball, directory) {
  const { name, exports } = JSON.parse(execFileSync("tar", ["-xzOf", tarball, "package/package.json"], { encoding: "utf8" }));
  const into = `${directory}/node_modules/${name}`;
  mkdirSync(into, { recursive: true });
  execFileSync("tar", ["-xzf", tarball, "-C", into, "--strip-components=1"]);
  return { name, exports };
}

function linked(target, path) {
  mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  symlinkSync(target, path);
}

function entriesOf({ name, exports }) {
  const entries = Object.keys(exports).filter((entry) => !/\.(css|json)$/.test(entry));
  return entries.map((entry) => `export * as ${(name + entry).replace(/\W/g, "_")} from "${name}${entry.slice(1)}";`);
}

const LANGUAGES = { javascript: "mjs", typescript: "mts", jsx: "jsx", tsx: "tsx" };

/** Code blocks that name no package but those, by the file they are written to. */
function examplesFor(has) {
  const readmes = readdirSync(root, { withFileTypes: true }).map(({ name }) => `${root}${name}/README.md`).filter(existsSync);
  const texts = [`${root}../docs/javascript.md`, ...readmes].map((path) => readFileSync(path, "utf8"));
  const blocks = texts.flatMap((text) => [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)]);
  const isTheirs = (text) => [...text.matchAll(/"(@hms-\w+\/\w+)/g)].every(([, name]) => has.test(name));
  const theirs = blocks.filter(([, language, text]) => LANGUAGES[language] && isTheirs(text));
  return Object.fromEntries(theirs.map(([, language, text], place) => [`example-${place}.${LANGUAGES[language]}`, text]));
}
