/** A file to a mask: what predict.py does, in its order. */

import { voxelEdges } from './grids';
import { farNotes } from './known';
import { determinant3, linearPart } from './linear';
import type { Loaded } from './network';
import { readNifti } from './nifti';
import { readNrrd } from './nrrd';
import { STEPS, type Intensities, type Prepared } from './steps';
import { checkVolume, FileProblem, type Volume } from './volume';
import { slidingWindow } from './window';

export const ENDINGS = /\.(nii|nii\.gz|nrrd|nhdr)$/i;

export interface Found {
  /** classes in the volume's own grid, x fastest */
  mask: Uint8Array;
  /** of every class but the background, ml */
  volumes: { name: string; voxels: number; ml: number }[];
  warnings: string[];
}

export async function read(file: File, beside: File[], { bundle }: Pick<Loaded, 'bundle'>): Promise<Volume> {
  const { channels, read } = bundle.settings;
  const bytes = await bytesOf(file);
  const near = async (name: string) => {
    const found = beside.find((other) => other.name === name);
    return found ? bytesOf(found) : null;
  };
  const volume = /\.(nrrd|nhdr)$/i.test(file.name)
    ? await readNrrd(bytes, read.nrrd_spacing, near)
    : await readNifti(file.name, bytes);
  if (read.dtype !== null) {
    if (read.dtype !== 'float32') throw new Error(`this page does not read volumes as ${read.dtype}`);
    volume.voxels = Float32Array.from(volume.voxels);
  }
  checkVolume(volume, read.max_extent, channels);
  return volume;
}

async function bytesOf(file: File): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    throw new FileProblem(`cannot be read from the disk (${(error as Error).message})`);
  }
}

export async function segment(
  volume: Volume,
  { bundle, network }: Pick<Loaded, 'bundle' | 'network'>,
  between: (done: number, all: number) => Promise<void>,
): Promise<Found> {
  const { classes, steps, window, known } = bundle.settings;
  const undo: ((mask: Uint8Array) => Uint8Array)[] = [];
  let intensities: Partial<Intensities> = {};
  let image: Prepared = { ...volume };
  for (const step of steps) {
    const done = STEPS[step.step](image, step);
    image = done.image;
    if (done.undo) undo.unshift(done.undo);
    intensities = done.intensities ?? intensities;
  }
  const extent = voxelEdges(image.affine).map((edge, axis) => edge * image.shape[axis]);
  const warnings = known ? farNotes(known, extent, intensities) : [];
  let mask = await slidingWindow(image, network, window, between);
  for (const back of undo) mask = back(mask);
  return { mask, volumes: volumesOf(mask, volume, classes), warnings };
}

function volumesOf(mask: Uint8Array, volume: Volume, classes: string[]): Found['volumes'] {
  const counts = new Array<number>(classes.length).fill(0);
  for (let n = 0; n < mask.length; n++) counts[mask[n]]++;
  const ml = Math.abs(determinant3(linearPart(volume.affine))) / 1000; // of a voxel, sheared ones included
  return classes.slice(1).map((name, n) => ({ name, voxels: counts[n + 1], ml: counts[n + 1] * ml }));
}
