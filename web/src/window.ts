/** Gaussian windows over a volume, placed and blended as predict.py does it. */

import { voxels } from './grids';
import type { Prepared } from './steps';

/** From windows, float32, `1CXYZ`, to the logits of their classes, `1KXYZ`: z runs fastest in both. */
export type Network = (window: Float32Array, shape: number[]) => Promise<Float32Array>;

export interface Window {
  roi_size: number[];
  overlap: number;
}

/** Classes of a volume; `between` is told of every window, and may throw to stop. */
export async function slidingWindow(
  image: Prepared,
  network: Network,
  { roi_size, overlap }: Window,
  between: (done: number, all: number) => Promise<void>,
): Promise<Uint8Array> {
  const { shape, channels } = image;
  const padded = shape.map((n, axis) => Math.max(n, roi_size[axis]));
  const before = shape.map((n, axis) => Math.floor((padded[axis] - n) / 2));
  const weight = windowWeight(roi_size);
  const [xs, ys, zs] = padded.map((n, axis) => starts(n, roi_size[axis], overlap));
  const corners = xs.flatMap((x) => ys.flatMap((y) => zs.map((z) => [x, y, z])));
  const size = voxels(padded);
  let logits: Float32Array | null = null;
  let done = 0;
  for (const corner of corners) {
    await between(done++, corners.length);
    const found = await network(cut(image, corner, roi_size, before), [1, channels, ...roi_size]);
    const classes = found.length / weight.length;
    logits ??= new Float32Array(classes * size);
    let n = 0;
    for (let k = 0; k < classes; k++) {
      let w = 0;
      for (let x = corner[0]; x < corner[0] + roi_size[0]; x++)
        for (let y = corner[1]; y < corner[1] + roi_size[1]; y++) {
          let place = k * size + (x * padded[1] + y) * padded[2] + corner[2];
          for (let z = 0; z < roi_size[2]; z++) logits[place++] += Math.fround(found[n++] * weight[w++]);
        }
    }
  }
  await between(done, corners.length);
  return argmax(logits!, padded, before, shape);
}

/** One window of the volume with its edges repeated. */
function cut(image: Prepared, corner: number[], roi: number[], before: number[]): Float32Array {
  const { shape, channels } = image;
  const [xs, ys, zs] = roi.map((edge, axis) =>
    Array.from({ length: edge }, (_, n) => Math.min(Math.max(corner[axis] + n - before[axis], 0), shape[axis] - 1)),
  );
  const out = new Float32Array(channels * voxels(roi));
  let n = 0;
  for (let channel = 0; channel < channels; channel++)
    for (const x of xs)
      for (const y of ys) {
        const line = channel * voxels(shape) + x + shape[0] * y;
        for (const z of zs) out[n++] = image.voxels[line + shape[0] * shape[1] * z];
      }
  return out;
}

/** Where windows start along an axis; the last one ends with it. */
export function starts(length: number, roi: number, overlap: number): number[] {
  const step = Math.max(1, Math.trunc(roi * (1 - overlap)));
  const found = [];
  for (let start = 0; start < length - roi; start += step) found.push(start);
  return [...found, length - roi];
}

/** A Gaussian of 1/8 of the edges, z fastest. */
function windowWeight(roi: number[]): Float32Array {
  const [x, y, z] = roi.map((edge) =>
    Array.from({ length: edge }, (_, n) => Math.exp(-0.5 * ((n - (edge - 1) / 2) / (edge / 8)) ** 2)),
  );
  const exact = x.flatMap((a) => y.flatMap((b) => z.map((c) => a * b * c)));
  const least = Math.max(exact.reduce((a, b) => Math.min(a, b)), 1e-3);
  return Float32Array.from(exact, (value) => Math.max(value, least));
}

/** The class of the greatest logit, the first of equal ones, of the voxels that are the volume's own; x fastest. */
function argmax(logits: Float32Array, padded: number[], before: number[], shape: number[]): Uint8Array {
  const size = voxels(padded);
  const classes = logits.length / size;
  const out = new Uint8Array(voxels(shape));
  let n = 0;
  for (let z = 0; z < shape[2]; z++)
    for (let y = 0; y < shape[1]; y++)
      for (let x = 0; x < shape[0]; x++) {
        const place = ((x + before[0]) * padded[1] + y + before[1]) * padded[2] + z + before[2];
        let best = 0;
        for (let k = 1; k < classes; k++) if (logits[place + k * size] > logits[place + best * size]) best = k;
        out[n++] = best;
      }
  return out;
}
