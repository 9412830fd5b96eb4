// How large an entry is for whoever uses it: bundled and minified, gzipped; what it depends on is not counted.
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

/** Bytes of the entry, gzipped. `external`: names of packages (and their parts) that stay outside. */
export async function gzippedSize(entry, external = []) {
  const bundle = await rolldown({
    input: entry,
    platform: entry.includes("browser") ? "browser" : "node",
    external: (id) => id.startsWith("node:") || external.some((name) => id === name || id.startsWith(`${name}/`)),
    resolve: { extensionAlias: { ".js": [".ts", ".js"] } },
    logLevel: "warn",
  });
  const { output } = await bundle.generate({ format: "esm", minify: true });
  await bundle.close();
  return gzipSync(output.map((chunk) => ("code" in chunk ? chunk.code : "")).join("\n"), { level: 9 }).length;
}
