// Bundles test/*.test.ts for node and runs them with its test runner.
import { build } from "esbuild";
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { zstdBounds } from "../zstd_bounds.mjs";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const out = await mkdtemp(path.join(tmpdir(), "prosopon-web-test-"));
try {
  const tests = (await readdir(HERE)).filter((name) => name.endsWith(".test.ts")).sort();
  await build({
    absWorkingDir: HERE,
    entryPoints: tests,
    outdir: out,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    sourcemap: "inline",
    loader: { ".glsl": "text" },
    plugins: [zstdBounds],
    define: { VECTORS: JSON.stringify(path.join(HERE, "../../../../tests/data/protocol")) },
    logLevel: "warning",
  });
  const files = tests.map((name) => path.join(out, name.replace(/\.ts$/, ".mjs")));
  const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit" });
  process.exitCode = run.status ?? 1;
} finally {
  await rm(out, { recursive: true, force: true });
}
