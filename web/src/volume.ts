/** A volume as it was read from a file, and what is checked of every one: the rules of dckd_ext/data/volumes.py. */

import { Gunzip } from 'fflate';
import { asMm, extentProblem, voxelEdges } from './grids';
import { determinant3, linearPart, type Matrix } from './linear';
import type { NiftiHeader } from './nifti';

export type Numbers =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array;

export interface Volume {
  /** x runs fastest, channels slowest */
  voxels: Numbers;
  shape: number[];
  channels: number;
  /** from indices to mm: right, anterior, superior */
  affine: Matrix;
  /** of a NIfTI file; masks take their place from it */
  header?: NiftiHeader;
  /** what is doubtful about it, for a warning */
  notes: string[];
}

/** What is wrong with a file, in words for who dropped it. */
export class FileProblem extends Error {}

/** Shape without trailing axes of one, which many programs add. */
export function checkShape(sizes: number[]): number[] {
  const kept = [...sizes];
  while (kept.length > 3 && kept[kept.length - 1] === 1) kept.pop();
  if (![3, 4].includes(kept.length) || kept.some((n) => n < 1))
    throw new FileProblem(`expected a 3D volume, found the shape (${sizes.join(', ')})`);
  return kept;
}

export function checkVolume(volume: Volume, maxExtent: number[] | null, channels: number): void {
  const { affine, shape } = volume;
  const usable = affine.flat().every(Number.isFinite) && Math.abs(determinant3(linearPart(affine))) > 0;
  if (!usable) throw new FileProblem(`expected an affine that can be inverted, found ${JSON.stringify(affine)}`);
  const edges = voxelEdges(affine);
  const problem = maxExtent && extentProblem(shape, edges, maxExtent);
  if (problem) throw new FileProblem(problem);
  const extent = shape.map((n, axis) => n * edges[axis]);
  const longest = Math.max(...extent);
  if (!(longest >= 1 && longest <= 5000))
    volume.notes.push(`it extends over ${asMm(extent)}: does the header state the true spacing and its unit?`);
  if (volume.channels !== channels) {
    const found = volume.channels === 1 ? shape : [...shape, volume.channels];
    throw new FileProblem(`expected a 3D volume with ${channels} channel(s), found the shape (${found.join(', ')})`);
  }
  const bad = countNotFinite(volume.voxels);
  if (bad) throw new FileProblem(`${bad} voxels are NaN or infinite, expected finite intensities`);
  const first = volume.voxels[0];
  if (volume.voxels.every((value) => value === first))
    volume.notes.push(`all voxels are ${first}: what is found in it means nothing`);
}

function countNotFinite(voxels: Numbers): number {
  if (!(voxels instanceof Float32Array || voxels instanceof Float64Array)) return 0;
  const largest = 3.4028234663852886e38;
  let bad = 0;
  for (let i = 0; i < voxels.length; i++) if (!(Math.abs(voxels[i]) <= largest)) bad++;
  return bad;
}

/** Decompress to the end, check sums included. */
export async function gunzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await gunzipMember(bytes);
  } catch {
    // browsers refuse a file of several members, as bgzip writes it
    const parts = await Promise.all(members(bytes).map(gunzipMember)).catch((error: Error) => {
      throw new FileProblem(`cannot be read: its gzip stream is damaged or cut off (${error.message})`);
    });
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  }
}

async function gunzipMember(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The members of a gzip file; all in one where they cannot be told apart. */
function members(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  const starts = [0];
  const reader = new Gunzip(() => {});
  reader.onmember = (start) => starts.push(start);
  try {
    reader.push(bytes, true);
  } catch {
    return [bytes];
  }
  const found = [...new Set(starts)].sort((a, b) => a - b);
  return found.map((start, n) => bytes.subarray(start, found[n + 1]));
}

export async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

type Kind = 'i1' | 'u1' | 'i2' | 'u2' | 'i4' | 'u4' | 'i8' | 'u8' | 'f4' | 'f8';

/** Voxels of a kind from bytes; integers of 64 bits become float64. */
export function numbers(bytes: Uint8Array<ArrayBuffer>, kind: Kind, little: boolean, count: number): Numbers {
  const size = Number(kind[1]);
  if (bytes.byteLength < count * size)
    throw new FileProblem(`cannot be read: expected ${count * size} bytes of voxels, found ${bytes.byteLength}`);
  const own = bytes.slice(0, count * size); // aligned
  if (!little) swap(own, size);
  const { buffer } = own;
  switch (kind) {
    case 'i1':
      return new Int8Array(buffer);
    case 'u1':
      return own;
    case 'i2':
      return new Int16Array(buffer);
    case 'u2':
      return new Uint16Array(buffer);
    case 'i4':
      return new Int32Array(buffer);
    case 'u4':
      return new Uint32Array(buffer);
    case 'f4':
      return new Float32Array(buffer);
    case 'f8':
      return new Float64Array(buffer);
    case 'i8':
      return Float64Array.from(new BigInt64Array(buffer), Number);
    case 'u8':
      return Float64Array.from(new BigUint64Array(buffer), Number);
  }
}

function swap(bytes: Uint8Array, size: number): void {
  for (let start = 0; size > 1 && start < bytes.length; start += size) bytes.subarray(start, start + size).reverse();
}
