/** Grids of voxels in the world, as dckd_ext/data/grids.py has them. */

import { cholesky, identity, inverse, linearPart, multiply, roundHalfEven, solve, transpose, type Matrix } from './linear';
import type { Numbers } from './volume';

export interface Grid {
  shape: number[];
  affine: Matrix;
}

/** Of a resampled volume: its logits, float32 for every class, have to fit into the memory of a page. */
export const MAX_VOXELS = 2 ** 27;
const SAME = 1e-3; // MONAI's AFFINE_TOL
const TIES = 2 ** 20; // places are whole multiples of a 2**20th of a voxel

export const voxels = (shape: number[]): number => shape.reduce((product, n) => product * n, 1);

/** Length of a voxel's three edges, mm. */
export const voxelEdges = (affine: Matrix): number[] =>
  [0, 1, 2].map((axis) => Math.sqrt([0, 1, 2].reduce((sum, row) => sum + affine[row][axis] ** 2, 0)));

export const asMm = (edges: number[]): string =>
  `${edges.map((edge) => Number(edge.toPrecision(4))).join(' x ')} mm`;

export function extentProblem(shape: number[], spacing: number[], most: number[]): string | null {
  const extent = shape.map((n, axis) => n * spacing[axis]);
  if (extent.every((found, axis) => found <= most[axis])) return null;
  return (
    `${shape.join(' x ')} voxels of ${asMm(spacing)} extend over ${asMm(extent)}, expected at most ` +
    `${asMm(most)} along the stored axes: a wrong spacing, or exchanged axes?`
  );
}

/** Refuse, before anything is allocated, a resampling that cannot be meant. */
export function checkResampling(shape: number[], spacing: number[], size: number[], target: number[], max?: number) {
  const most = Math.min(max ?? MAX_VOXELS, MAX_VOXELS);
  const count = voxels(size);
  if (count <= most && !(count === 1 && voxels(shape) > 1)) return;
  throw new Error(
    `${shape.join(' x ')} voxels of ${asMm(spacing)} would become ${size.join(' x ')} of ${asMm(target)}, ` +
      `${count.toPrecision(4)} in all, expected ${count > most ? `at most ${most}` : 'more than one'}. ` +
      'Does the header state the true spacing and its unit?',
  );
}

/** Greatest distance of the centres of the eight corner voxels, mm. */
export function cornerDistance(one: Grid, other: Grid): number {
  const [a, b] = [one, other].map(({ shape, affine }) => corners(shape).map((corner) => at(affine, corner)));
  return Math.max(...a.map((place, n) => Math.hypot(...place.map((value, axis) => value - b[n][axis]))));
}

/** The eight corners, the last axis fastest. */
export const corners = (shape: number[]): number[][] =>
  [0, 1, 2, 3, 4, 5, 6, 7].map((n) => [4, 2, 1].map((bit, axis) => (n & bit ? shape[axis] - 1 : 0)));

export const at = (affine: Matrix, index: number[]): number[] =>
  affine.slice(0, 3).map((row) => row[0] * index[0] + row[1] * index[1] + row[2] * index[2] + row[3]);

export function sameGrid(one: Grid, other: Grid): boolean {
  const between = solve(one.affine, other.affine);
  const alike = allClose(one.affine, other.affine, SAME) || allClose(between, identity(4), SAME);
  return alike && one.shape.every((n, axis) => n === other.shape[axis]);
}

/** numpy's allclose with a relative tolerance of 1e-5. */
export const allClose = (a: Matrix, b: Matrix, absolute: number): boolean =>
  a.every((row, i) => row.every((value, j) => Math.abs(value - b[i][j]) <= absolute + 1e-5 * Math.abs(b[i][j])));

export function resampleBack(mask: Uint8Array, from: Grid, native: Grid): Uint8Array {
  if (sameGrid(from, native)) return mask;
  return nearest(mask, from.shape, solve(from.affine, native.affine), native.shape);
}

/** The voxels nearest to `matrix` times the indices of a grid; a half, give or take a millionth, goes to the even one. */
export function nearest(volume: Uint8Array, shape: number[], matrix: Matrix, size: number[]): Uint8Array {
  const out = new Uint8Array(voxels(size));
  const step = [1, shape[0], shape[0] * shape[1]];
  let n = 0;
  eachPlace(matrix, size, (place) => {
    let index = 0;
    for (let axis = 0; axis < 3; axis++) {
      const near = roundHalfEven(roundHalfEven(place[axis] * TIES) / TIES);
      index += step[axis] * Math.min(Math.max(near, 0), shape[axis] - 1);
    }
    out[n++] = volume[index];
  });
  return out;
}

/** Interpolate linearly at `matrix` times the indices of a grid, edges repeated. */
export function sample(volume: Numbers, shape: number[], matrix: Matrix, size: number[]): Float32Array {
  const out = new Float32Array(voxels(size));
  const step = [1, shape[0], shape[0] * shape[1]];
  const [low, high, share] = [new Int32Array(3), new Int32Array(3), new Float64Array(3)];
  let n = 0;
  eachPlace(matrix, size, (place) => {
    for (let axis = 0; axis < 3; axis++) {
      const inside = Math.min(Math.max(place[axis], 0), shape[axis] - 1);
      const under = Math.floor(inside);
      share[axis] = inside - under;
      low[axis] = under * step[axis];
      high[axis] = Math.min(under + 1, shape[axis] - 1) * step[axis];
    }
    let total = 0;
    for (let upper = 0; upper < 8; upper++) {
      const [x, y, z] = [upper & 4, upper & 2, upper & 1];
      const weight = (x ? share[0] : 1 - share[0]) * (y ? share[1] : 1 - share[1]) * (z ? share[2] : 1 - share[2]);
      total += weight * volume[(x ? high : low)[0] + (y ? high : low)[1] + (z ? high : low)[2]];
    }
    out[n++] = total;
  });
  return out;
}

function eachPlace(matrix: Matrix, size: number[], visit: (place: Float64Array) => void): void {
  const place = new Float64Array(3);
  for (let z = 0; z < size[2]; z++)
    for (let y = 0; y < size[1]; y++)
      for (let x = 0; x < size[0]; x++) {
        for (let axis = 0; axis < 3; axis++) {
          const row = matrix[axis];
          place[axis] = row[0] * x + row[1] * y + row[2] * z + row[3];
        }
        visit(place);
      }
}

/** MONAI's new grid (its zoom_affine and compute_shape_offset), as predict.py makes it. */
export function spacingGrid(native: Grid, spacing: number[]): Grid {
  const { shape, affine } = native;
  const turn = linearPart(affine);
  const target = rotationOf(turn).map((row) => [...row.map((value, axis) => value * spacing[axis]), 0]);
  target.push([0, 0, 0, 1]);
  const toTarget = solve(target, affine);
  const found = corners(shape).map((corner) => at(toTarget, corner));
  const lowest = [0, 1, 2].map((axis) => Math.min(...found.map((place) => place[axis])));
  const highest = [0, 1, 2].map((axis) => Math.max(...found.map((place) => place[axis])));
  const size = lowest.map((low, axis) => roundHalfEven(highest[axis] - low + 1));
  // a corner that is the lowest along all axes; rounding in the file's affine can leave none
  const first = found.findIndex((place) => place.every((value, axis) => Math.abs(lowest[axis] - value) <= 1e-8));
  const origin =
    first >= 0
      ? at(affine, corners(shape)[first])
      : [0, 1, 2].map((row) => {
          const half = (n: number, axis: number) => turn[row][axis] * (n / 2);
          const centre = half(shape[0], 0) + half(shape[1], 1) + half(shape[2], 2) + affine[row][3];
          return centre - [0, 1, 2].reduce((sum, axis) => sum + target[row][axis] * (size[axis] / 2), 0);
        });
  origin.forEach((value, row) => (target[row][3] = value));
  return { shape: size, affine: target };
}

/** The turn of turn * zoom * shear. */
function rotationOf(turnZoomShear: Matrix): Matrix {
  const zoomShear = transpose(cholesky(multiply(transpose(turnZoomShear), turnZoomShear)));
  return multiply(turnZoomShear, inverse(zoomShear));
}
