/** What is done to a volume before the network, and what brings a mask back: the steps of predict.py. */

import { checkResampling, resampleBack, sameGrid, sample, spacingGrid, voxelEdges, voxels } from './grids';
import { linearPart, multiply, nearestRotation, roundHalfEven, solve, type Matrix } from './linear';
import type { Numbers } from './volume';

export interface Prepared {
  /** x runs fastest, channels slowest */
  voxels: Numbers;
  shape: number[];
  channels: number;
  affine: Matrix;
}

/** Mean and deviation of the intensities before they were normalised. */
export type Intensities = { mean: number; deviation: number };
type Undo = (mask: Uint8Array) => Uint8Array;
type Done = { image: Prepared; undo?: Undo; intensities?: Intensities };

/** A step as the settings of an exported network have it; the other keys are its arguments. */
export interface Step {
  step: string;
  [argument: string]: unknown;
}

export const STEPS: Record<string, (image: Prepared, step: Step) => Done> = {
  orientation: (image, step) => orientation(image, String(step.axcodes)),
  spacing: (image, step) => spacing(image, step.pixdim as number[], step.max_voxels as number | undefined),
  resample: (image, step) => resample(image, step.spacing as number[], step.max_voxels as number | undefined),
  percentiles: (image, step) => percentiles(image, step as unknown as Percentiles),
  normalize,
};

const channelOf = (image: Prepared, channel: number): Numbers => {
  const count = voxels(image.shape);
  return image.voxels.subarray(channel * count, (channel + 1) * count);
};

const ofChannels = (image: Prepared, count: number, make: (channel: Numbers) => Float32Array): Float32Array => {
  const out = new Float32Array(count * image.channels);
  for (let channel = 0; channel < image.channels; channel++)
    out.set(make(channelOf(image, channel)), channel * count);
  return out;
};

// Orientation: for every stored axis, the axis that it becomes and whether it is turned round

type Turn = { axis: number; flip: boolean }[];

function orientation(image: Prepared, codes: string): Done {
  const stored = closestAxes(image.affine);
  const wanted = [...codes].map((code) => {
    const axis = ['LR', 'PA', 'IS'].findIndex((pair) => pair.includes(code));
    return { axis, flip: ['L', 'P', 'I'].includes(code) };
  });
  const there: Turn = stored.map(({ axis, flip }) => {
    const to = wanted.findIndex((want) => want.axis === axis);
    return { axis: to, flip: flip !== wanted[to].flip };
  });
  const shape = [0, 1, 2].map((axis) => image.shape[there.findIndex((turn) => turn.axis === axis)]);
  const from = there.map(({ axis, flip }, n) => {
    const row = [0, 0, 0, flip ? image.shape[n] - 1 : 0];
    row[axis] = flip ? -1 : 1;
    return row;
  });
  const turned = indices(image.shape, shape, there);
  const count = voxels(shape);
  const out = new (image.voxels.constructor as new (length: number) => Numbers)(image.voxels.length);
  for (let channel = 0; channel < image.channels; channel++) {
    const [source, target] = [channelOf(image, channel), out.subarray(channel * count, (channel + 1) * count)];
    for (let n = 0; n < count; n++) target[n] = source[turned[n]];
  }
  const undo: Undo = (mask) => {
    const native = new Uint8Array(count);
    for (let n = 0; n < count; n++) native[turned[n]] = mask[n];
    return native;
  };
  const affine = multiply(image.affine, [...from, [0, 0, 0, 1]]);
  return { image: { ...image, voxels: out, shape, affine }, undo };
}

/** For every voxel of the turned volume, where it was stored. */
function indices(stored: number[], turned: number[], there: Turn): Uint32Array {
  const steps = [1, stored[0], stored[0] * stored[1]];
  const [step, start] = [[0, 0, 0], [0, 0, 0]];
  there.forEach(({ axis, flip }, n) => {
    step[axis] = flip ? -steps[n] : steps[n];
    start[axis] = flip ? steps[n] * (stored[n] - 1) : 0;
  });
  const found = new Uint32Array(voxels(turned));
  let n = 0;
  for (let z = 0; z < turned[2]; z++)
    for (let y = 0; y < turned[1]; y++)
      for (let x = 0; x < turned[0]; x++)
        found[n++] = start[0] + step[0] * x + start[1] + step[1] * y + start[2] + step[2] * z;
  return found;
}

/** The axis of the world that each stored axis is nearest to, by the rotation in the affine (nibabel's io_orientation). */
function closestAxes(affine: Matrix): Turn {
  const edges = voxelEdges(affine);
  const turn = nearestRotation(linearPart(affine).map((row) => row.map((value, axis) => value / edges[axis])));
  const strength = [0, 1, 2].map((column) => Math.max(...turn.map((row) => row[column] ** 2)));
  const free = new Set([0, 1, 2]);
  const found: Turn = [];
  for (const column of [0, 1, 2].sort((a, b) => strength[b] - strength[a])) {
    const axis = [...free].reduce((a, b) => (Math.abs(turn[b][column]) > Math.abs(turn[a][column]) ? b : a));
    free.delete(axis);
    found[column] = { axis, flip: turn[axis][column] < 0 };
  }
  return found;
}

// Resampling

function spacing(image: Prepared, pixdim: number[], maxVoxels?: number): Done {
  const native = { shape: image.shape, affine: image.affine };
  const old = voxelEdges(image.affine);
  const edges = old.map((edge, axis) => (Math.abs(edge - pixdim[axis]) <= 1e-3 ? edge : pixdim[axis]));
  const target = spacingGrid(native, edges);
  if (sameGrid(native, target)) return { image: { ...image, voxels: Float32Array.from(image.voxels) } };
  checkResampling(native.shape, old, target.shape, edges, maxVoxels);
  const matrix = solve(image.affine, target.affine);
  const moved = { shape: target.shape, affine: multiply(image.affine, matrix) };
  const resampled = ofChannels(image, voxels(moved.shape), (channel) =>
    sample(channel, image.shape, matrix, moved.shape),
  );
  return { image: { ...image, ...moved, voxels: resampled }, undo: (mask) => resampleBack(mask, moved, native) };
}

function resample(image: Prepared, edges: number[], maxVoxels?: number): Done {
  const { shape } = image;
  const old = voxelEdges(image.affine);
  const size = shape.map((n, axis) => Math.max(1, roundHalfEven((n * old[axis]) / edges[axis])));
  checkResampling(shape, old, size, edges, maxVoxels);
  const ratio = shape.map((n, axis) => n / size[axis]);
  const between = [0, 1, 2].map((row) => {
    const line = [0, 0, 0, (ratio[row] - 1) / 2];
    line[row] = ratio[row];
    return line;
  });
  let now = image;
  for (const axis of [0, 1, 2].sort((a, b) => ratio[b] - ratio[a])) // what shrinks most first
    if (shape[axis] !== size[axis]) now = multiplied(now, smoothLinear(shape[axis], size[axis]), axis);
  const back = shape.map((n, axis) =>
    Array.from({ length: n }, (_, index) => Math.floor(((2 * index + 1) * size[axis]) / (2 * n))),
  );
  const undo: Undo = (mask) => {
    const out = new Uint8Array(voxels(shape));
    let n = 0;
    for (const z of back[2])
      for (const y of back[1]) for (const x of back[0]) out[n++] = mask[x + size[0] * (y + size[1] * z)];
    return out;
  };
  const affine = multiply(image.affine, [...between, [0, 0, 0, 1]]);
  return { image: { ...now, voxels: Float32Array.from(now.voxels), affine }, undo };
}

/** A line of a sparse matrix: weights of neighbouring voxels from `first` on. */
type Line = { first: number; weights: Float32Array };

/** Gaussian smoothing of (factor - 1) / 2 voxels, then linear interpolation, along one axis. */
function smoothLinear(before: number, after: number): Line[] {
  const sigma = (before / after - 1) / 2;
  const reach = sigma > 0 ? Math.trunc(4 * sigma + 0.5) : 0;
  const gaussian = Array.from({ length: 2 * reach + 1 }, (_, n) => (sigma > 0 ? Math.exp(-0.5 * ((n - reach) / sigma) ** 2) : 1));
  const total = gaussian.reduce((sum, weight) => sum + weight, 0);
  const inside = (n: number) => Math.min(Math.max(n, 0), before - 1);
  return Array.from({ length: after }, (_, row) => {
    const place = Math.min(Math.max(((row + 0.5) * before) / after - 0.5, 0), before - 1);
    const low = Math.floor(place);
    const first = inside(low - reach);
    const weights = new Float64Array(inside(low + 1 + reach) - first + 1);
    for (const [from, share] of [
      [low, 1 - (place - low)],
      [inside(low + 1), place - low],
    ])
      gaussian.forEach((weight, n) => (weights[inside(from + n - reach) - first] += (share * weight) / total));
    return { first, weights: Float32Array.from(weights) };
  });
}

function multiplied(image: Prepared, lines: Line[], axis: number): Prepared {
  const shape = [...image.shape];
  shape[axis] = lines.length;
  const inner = voxels(image.shape.slice(0, axis));
  const outer = voxels(image.shape.slice(axis + 1)) * image.channels;
  const before = image.shape[axis];
  const out = new Float32Array(inner * lines.length * outer);
  let n = 0;
  for (let block = 0; block < outer; block++)
    for (const { first, weights } of lines)
      for (let place = 0; place < inner; place++) {
        let sum = 0;
        let from = place + inner * (first + before * block);
        for (let k = 0; k < weights.length; k++, from += inner) sum += weights[k] * image.voxels[from];
        out[n++] = sum;
      }
  return { ...image, voxels: out, shape };
}

// Intensities: float32 after every operation, as numpy has it

interface Percentiles {
  lower: number;
  upper: number;
  b_min: number;
  b_max: number;
  clip: boolean;
}

function percentiles(image: Prepared, { lower, upper, b_min, b_max, clip }: Percentiles): Done {
  const sorted = Float32Array.from(image.voxels).sort();
  const [low, high] = [lower, upper].map((percent) => Math.fround(quantile(sorted, percent / 100)));
  const [{ fround }, range, least] = [Math, Math.fround(b_max - b_min), Math.fround(b_min)];
  const out = new Float32Array(image.voxels.length);
  for (let n = 0; n < out.length; n++) {
    const above = fround(image.voxels[n] - low);
    out[n] = low === high ? above + least : fround(fround(above / fround(high - low)) * range) + least;
    if (clip && low !== high) out[n] = Math.min(Math.max(out[n], b_min), b_max);
  }
  return { image: { ...image, voxels: out } };
}

/** numpy's, of sorted float32 values. */
function quantile(sorted: Float32Array, share: number): number {
  const place = (sorted.length - 1) * share;
  const under = Math.floor(place);
  const [a, b] = [sorted[under], sorted[Math.min(under + 1, sorted.length - 1)]];
  const [step, t] = [Math.fround(b - a), place - under];
  return t >= 0.5 ? b - step * (1 - t) : a + step * t;
}

function normalize(image: Prepared): Done {
  const count = image.voxels.length;
  let sum = 0;
  for (let n = 0; n < count; n++) sum += image.voxels[n];
  const exact = sum / count;
  let squares = 0;
  for (let n = 0; n < count; n++) squares += (image.voxels[n] - exact) ** 2;
  const [mean, deviation] = [Math.fround(exact), Math.fround(Math.sqrt(squares / count))];
  const out = new Float32Array(count);
  for (let n = 0; n < count; n++) out[n] = Math.fround(image.voxels[n] - mean) / (deviation || 1);
  return { image: { ...image, voxels: out }, intensities: { mean, deviation } };
}
