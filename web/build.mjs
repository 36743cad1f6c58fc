// Writes the page, but for the network, into the folder that is named: `make web`.

import { build } from 'esbuild';
import { cp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2];
if (!out) throw new Error('usage: node build.mjs FOLDER');

// Nothing from elsewhere, nothing to elsewhere. WASM needs its own word; NiiVue's textures are data and blob URLs.
const policy = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "connect-src 'self' data: blob:",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

const modules = join(here, 'node_modules');
const options = {
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  legalComments: 'none', // all licences are in licences.txt
  define: { CONTENT_SECURITY_POLICY: JSON.stringify(policy) },
};

await rm(out, { recursive: true, force: true });
await mkdir(join(out, 'ort'), { recursive: true });
for (const name of ['page', 'worker', 'service-worker'])
  await build({ ...options, entryPoints: [join(here, `src/${name}.ts`)], outfile: join(out, `${name}.js`) });
for (const name of ['index.html', 'style.css', 'icon.svg']) {
  const text = await readFile(join(here, 'public', name), 'utf8');
  await writeFile(join(out, name), text.replace('CONTENT_SECURITY_POLICY', policy));
}
for (const name of [
  'ort.wasm.bundle.min.mjs',
  'ort-wasm-simd-threaded.wasm',
  'ort.webgpu.bundle.min.mjs',
  'ort-wasm-simd-threaded.asyncify.wasm',
])
  await cp(join(modules, 'onnxruntime-web/dist', name), join(out, 'ort', name));
for (const name of ['worker.jpeg.js', 'dcm2niix.jpeg.js', 'dcm2niix.jpeg.wasm'])
  await cp(join(modules, '@niivue/dcm2niix/dist', name), join(out, name));
await writeFile(join(out, 'licences.txt'), await licences());

/** Name, version, licence and its text of every package that is in the page. */
async function licences() {
  const lock = JSON.parse(await readFile(join(here, 'package-lock.json'), 'utf8'));
  const texts = [];
  for (const [path, { version, license, dev }] of Object.entries(lock.packages)) {
    if (!path || dev) continue;
    const files = await readdir(join(here, path)).catch(() => []); // optional ones may be absent
    const own = join(here, 'licences', `${path.split('/').pop()}.txt`); // packages that come without their text
    const found = files.filter((name) => /^(licen[cs]e|notice|third)/i.test(name)).map((name) => join(here, path, name));
    const parts = await Promise.all([own, ...found].map((name) => readFile(name, 'utf8').catch(() => '')));
    if (files.length) texts.push([`${path.replace(/^.*node_modules\//, '')} ${version}: ${license}`, ...parts].filter(Boolean).join('\n\n'));
  }
  const rule = `\n\n${'-'.repeat(80)}\n\n`;
  return `This page: Apache-2.0, the DCKD bundles developers.${rule}${texts.join(rule)}\n`;
}
