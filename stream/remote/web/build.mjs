// Builds dist/ from src/, index.html and public/. The same sources give the same bytes, so that dist/ can be committed.
// `node build.mjs --check` builds beside it and fails if the committed dist/ is another.
import { build } from "esbuild";
import { cp, mkdtemp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { zstdBounds } from "./zstd_bounds.mjs";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const SHIPPED = ["three", "fzstd"];

async function bundle(dist) {
  await rm(dist, { recursive: true, force: true });
  const assets = path.join(dist, "assets");
  await mkdir(assets, { recursive: true });
  await build({
    absWorkingDir: HERE,
    entryPoints: { app: "src/main.ts" },
    outdir: assets,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    legalComments: "inline",
    loader: { ".glsl": "text" },
    plugins: [zstdBounds],
    logLevel: "warning",
  });
  await cp(path.join(HERE, "index.html"), path.join(dist, "index.html"));
  await cp(path.join(HERE, "public"), assets, { recursive: true });
  await writeFile(path.join(assets, "licences.txt"), await licences());
}

async function licences() {
  const texts = ["This page contains the following libraries."];
  for (const name of SHIPPED) {
    const folder = path.join(HERE, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
    texts.push(`${name} ${version} (${license})\n\n${(await readFile(path.join(folder, "LICENSE"), "utf8")).trim()}`);
  }
  return texts.join(`\n\n${"-".repeat(72)}\n\n`) + "\n";
}

async function contents(folder) {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort();
  return Promise.all(names.map(async (name) => [name, (await readFile(path.join(folder, name))).toString("base64")]));
}

const dist = path.join(HERE, "dist");
if (process.argv.includes("--check")) {
  const beside = await mkdtemp(path.join(tmpdir(), "prosopon-web-"));
  try {
    await bundle(beside);
    if (JSON.stringify(await contents(beside)) !== JSON.stringify(await contents(dist))) {
      console.error("dist/ is not what the sources give; run: npm run build");
      process.exitCode = 1;
    }
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
} else {
  await bundle(dist);
}
