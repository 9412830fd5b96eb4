// Scripts in Node processes of their own, with the packages as they are built (node scripts/packages.mjs).
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const EXAMPLES = fileURLToPath(new URL("../../examples/", import.meta.url));

export interface Script {
  readonly ended: Promise<number | null>;
  /** What it has written so far. */
  written(): string;
  kill(): void;
}

/** `text` as a module beside the founding document's scripts. */
export function script(text: string, environment: Readonly<Record<string, string>>): Script {
  const given = ["--input-type=module", "--eval", text];
  const child = spawn(process.execPath, given, { cwd: EXAMPLES, env: { PATH: process.env.PATH, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
  let written = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (piece) => (written += piece));
  return {
    ended: new Promise((done) => child.on("close", done)),
    written: () => written,
    kill: () => child.kill("SIGKILL"),
  };
}
