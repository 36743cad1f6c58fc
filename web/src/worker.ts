/** Reads, prepares and segments volumes beside the page, so that the page stays alive. */

import { voxelEdges } from './grids';
import { load, type Loaded } from './network';
import { writeMask, writeNifti } from './nifti';
import { read, segment, type Found } from './segment';
import type { Volume } from './volume';

export type Request =
  | { ask: 'load'; gpu: string | null }
  | { ask: 'open'; file: File; beside: File[] }
  | { ask: 'segment' }
  | { ask: 'cancel' };

/** The volume as the viewer takes it, a NIfTI file without scaling. */
export type Opened = { nifti: ArrayBuffer; shape: number[]; edges: number[]; notes: string[] };
/** The mask for the viewer, and as it is downloaded. */
export type Segmented = { nifti: ArrayBuffer; gz: ArrayBuffer; seconds: number } & Omit<Found, 'mask'>;

export type Answer =
  | { tell: 'loaded'; bundle: Loaded['bundle']; runtime: string }
  | ({ tell: 'opened' } & Opened)
  | ({ tell: 'segmented' } & Segmented)
  | { tell: 'doing'; text: string; done?: number; all?: number }
  | { tell: 'cancelled' }
  | { tell: 'failed'; text: string };

class Cancelled extends Error {}

let loaded: Loaded;
let volume: Volume;
let cancelled = false;

const tell = (answer: Answer, transfer: Transferable[] = []) => self.postMessage(answer, { transfer });
const doing = (text: string, done?: number, all?: number) => tell({ tell: 'doing', text, done, all });

/** Let messages in, `cancel` among them. */
const breathe = () =>
  new Promise<void>((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => resolve();
    port2.postMessage(null);
  });

async function between(done: number, all: number): Promise<void> {
  doing(done < all ? `Window ${done + 1} of ${all}` : 'Bringing the mask back', done, all);
  await breathe();
  if (cancelled) throw new Cancelled();
}

async function open(file: File, beside: File[]): Promise<void> {
  doing('Reading');
  volume = await read(file, beside, loaded);
  const first = volume.voxels.subarray(0, volume.voxels.length / volume.channels);
  const nifti = writeNifti(first instanceof Float32Array ? first : Float32Array.from(first), volume).buffer;
  const { shape, notes, affine } = volume;
  tell({ tell: 'opened', nifti, shape, edges: voxelEdges(affine), notes }, [nifti]);
}

async function run(): Promise<void> {
  cancelled = false;
  const start = performance.now();
  doing('Preparing the volume', 0, 1);
  await breathe();
  const { mask, ...found } = await segment(volume, loaded, between);
  const gz = (await writeMask(mask, volume)).buffer;
  const nifti = writeNifti(mask, volume).buffer;
  tell({ tell: 'segmented', nifti, gz, seconds: (performance.now() - start) / 1000, ...found }, [nifti, gz]);
}

self.onmessage = async ({ data }: MessageEvent<Request>) => {
  try {
    if (data.ask === 'load') {
      loaded = await load(doing, data.gpu);
      tell({ tell: 'loaded', bundle: loaded.bundle, runtime: loaded.runtime });
    } else if (data.ask === 'open') await open(data.file, data.beside);
    else if (data.ask === 'segment') await run();
    else cancelled = true;
  } catch (error) {
    if (error instanceof Cancelled) return tell({ tell: 'cancelled' });
    const text = error instanceof RangeError ? `the memory of this page is not enough (${error.message})` : String((error as Error).message);
    tell({ tell: 'failed', text });
  }
};
