/** The page: files in, a volume seen, a mask out. */

import { convert } from './dicom';
import { dropped, isVolume, unpacked, visible } from './files';
import { isolated } from './isolation';
import type { Bundle } from './network';
import { Viewer, colourOf } from './viewer';
import type { Answer, Opened, Request, Segmented } from './worker';

const $ = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const worker = { current: null as Worker | null };
const say = (request: Request) => worker.current!.postMessage(request);

let bundle: Bundle;
let viewer: Viewer;
/** what can be chosen, and the files that came with it */
let choices: { file: File; beside: File[] }[] = [];
let chosen: File | null = null;
/** whether the worker holds the chosen file, and not one before */
let isOpen = false;
let download: { url: string; name: string } | null = null;

async function start(): Promise<void> {
  await isolated();
  if (!viewerStarts()) return;
  worker.current = new Worker('worker.js', { type: 'module' });
  worker.current.onmessage = ({ data }: MessageEvent<Answer>) => void answer(data);
  worker.current.onerror = (event) => fail(`The page cannot compute here: ${event.message}`);
  say({ ask: 'load', gpu: new URLSearchParams(location.search).get('gpu') });
  listen();
}

function viewerStarts(): boolean {
  try {
    viewer = new Viewer($<HTMLCanvasElement>('canvas'), (text) => ($('place').textContent = text));
    return true;
  } catch (error) {
    fail(`This browser shows no volumes: WebGL 2 is needed (${(error as Error).message})`);
    return false;
  }
}

async function answer(data: Answer): Promise<void> {
  if (data.tell === 'doing') progress(data.text, data.done, data.all);
  else if (data.tell === 'loaded') {
    bundle = data.bundle;
    about(data.runtime);
    idle('Ready: drop a volume, or choose one');
  } else if (data.tell === 'opened') await opened(data);
  else if (data.tell === 'segmented') await segmented(data);
  else if (data.tell === 'cancelled') idle('Cancelled');
  else if (data.tell === 'failed') {
    idle('');
    fail(chosen ? `${chosen.name}: ${data.text}` : data.text);
  }
}

// Files

async function take(files: File[]): Promise<void> {
  clear();
  progress('Reading the files');
  try {
    choices = await choicesOf((await unpacked(files)).filter(visible));
  } catch (error) {
    choices = [];
    list();
    idle('');
    return fail((error as Error).message);
  }
  list();
  open(0);
}

/** Volumes, or else the DICOM series. */
async function choicesOf(files: File[]): Promise<typeof choices> {
  if (!files.length) throw new Error('There are no files in what was given');
  const volumes = files.filter(isVolume);
  if (volumes.length) return volumes.map((file) => ({ file, beside: files }));
  progress(`Reading ${files.length} files as DICOM`);
  try {
    return (await convert(files)).map((file) => ({ file, beside: [] }));
  } catch (error) {
    throw new Error(`${files[0].name}${files.length > 1 ? ' and others' : ''}: ${(error as Error).message}`);
  }
}

function list(): void {
  const select = $<HTMLSelectElement>('choices');
  select.replaceChildren(...choices.map(({ file }, n) => new Option(file.name.replace(/\.nii$/i, ''), String(n))));
  $('choosing').hidden = choices.length < 2;
}

function open(number: number): void {
  const { file, beside } = choices[number];
  clear();
  chosen = file;
  $('name').textContent = file.name;
  busy(true);
  say({ ask: 'open', file, beside });
}

async function opened({ nifti, shape, edges, notes }: Opened): Promise<void> {
  const mm = edges.map((edge) => Number(edge.toPrecision(3)));
  $('size').textContent = `${shape.join(' × ')} voxels of ${mm.join(' × ')} mm`;
  warn(notes);
  try {
    await viewer.showVolume(nifti, 'volume');
  } catch (error) {
    warn([...notes, `it cannot be shown here (${(error as Error).message}), but be segmented`]);
  }
  $('empty').hidden = true;
  isOpen = true;
  idle('');
  $('run').focus();
}

// Results

async function segmented({ nifti, gz, volumes, warnings, seconds }: Segmented): Promise<void> {
  await viewer.showMask(nifti, bundle.settings.classes, opacity());
  warn(warnings, true);
  $('rows').replaceChildren(...volumes.map(({ name, voxels, ml }, n) => row(n + 1, name, ml, voxels)));
  const name = chosen!.name.replace(/\.(nii|nii\.gz|nrrd|nhdr)$/i, '');
  if (download) URL.revokeObjectURL(download.url);
  download = { url: URL.createObjectURL(new Blob([gz], { type: 'application/gzip' })), name: `${name}_seg.nii.gz` };
  const link = $<HTMLAnchorElement>('download');
  link.href = download.url;
  link.download = download.name;
  $('results').hidden = false;
  idle(`Done in ${seconds.toFixed(1)} s`);
}

function row(number: number, name: string, ml: number, voxels: number): HTMLTableRowElement {
  const line = document.createElement('tr');
  const swatch = document.createElement('span');
  swatch.className = 'swatch';
  swatch.style.background = `rgb(${colourOf(number).join(' ')})`;
  const head = document.createElement('th');
  head.scope = 'row';
  head.append(swatch, name);
  const cells = [ml.toFixed(ml < 10 ? 3 : 1), voxels.toLocaleString('en')].map((text) => {
    const cell = document.createElement('td');
    cell.textContent = text;
    return cell;
  });
  line.append(head, ...cells);
  return line;
}

// What is said

function progress(text: string, done?: number, all?: number): void {
  busy(true);
  $('state').textContent = text;
  const bar = $<HTMLProgressElement>('progress');
  if (done === undefined || all === undefined) bar.removeAttribute('value');
  else {
    bar.max = all;
    bar.value = done;
  }
}

function busy(is: boolean): void {
  $('progress').hidden = !is;
  $<HTMLButtonElement>('cancel').hidden = !is || !$('state').textContent?.startsWith('Window');
  for (const id of ['run', 'files', 'folder', 'choices']) $<HTMLButtonElement>(id).disabled = is || !bundle || (id === 'run' && !isOpen);
}

function idle(text: string): void {
  busy(false);
  $('state').textContent = text;
  $('cancel').hidden = true;
}

function fail(text: string): void {
  $('error').textContent = text;
  $('error').hidden = false;
  $('progress').hidden = true;
}

function warn(notes: string[], more = false): void {
  const found = notes.map((note) => {
    const item = document.createElement('li');
    item.textContent = `${chosen?.name ?? ''}: ${note}`;
    return item;
  });
  if (more) $('warnings').append(...found);
  else $('warnings').replaceChildren(...found);
  $('warning').hidden = !$('warnings').children.length;
}

function clear(): void {
  chosen = null;
  isOpen = false;
  $('empty').hidden = false;
  for (const id of ['error', 'warning', 'results']) $(id).hidden = true;
  $('warnings').replaceChildren();
  $('size').textContent = '';
  $('name').textContent = '';
}

function about(runtime: string): void {
  document.title = bundle.name;
  $('title').textContent = bundle.name;
  $('task').textContent = bundle.task;
  $('use').textContent = bundle.intended_use;
  $('runtime').textContent = runtime;
  $('version').textContent = bundle.version;
  $('source').textContent = bundle.data_source;
}

const opacity = () => Number($<HTMLInputElement>('opacity').value) / 100;

function listen(): void {
  for (const id of ['files', 'folder']) {
    const input = $<HTMLInputElement>(`${id}-input`);
    $(id).addEventListener('click', () => input.click());
    input.addEventListener('change', () => {
      void take([...(input.files ?? [])]);
      input.value = '';
    });
  }
  $('choices').addEventListener('change', () => open(Number($<HTMLSelectElement>('choices').value)));
  $('run').addEventListener('click', () => {
    $('results').hidden = true;
    $('error').hidden = true;
    say({ ask: 'segment' });
  });
  $('cancel').addEventListener('click', () => say({ ask: 'cancel' }));
  $('opacity').addEventListener('input', () => viewer.setOpacity(opacity()));
  $('side').addEventListener('change', () => viewer.setRadiological($<HTMLSelectElement>('side').value === 'radiological'));
  for (const input of document.querySelectorAll<HTMLInputElement>('input[name=view]'))
    input.addEventListener('change', () => viewer.setView(input.value));
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('dragging');
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) document.body.classList.remove('dragging');
  });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    document.body.classList.remove('dragging');
    if (event.dataTransfer && !$<HTMLButtonElement>('files').disabled)
      void dropped(event.dataTransfer).then(take, (error: Error) => fail(`What was dropped cannot be read: ${error.message}`));
  });
}

void start();
