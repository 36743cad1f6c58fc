/** NIfTI-1 and NIfTI-2 files, read by the rules of dckd_ext/data/volumes.py (through nibabel there). */

import { asMm, cornerDistance, voxelEdges } from './grids';
import { determinant3, diagonal, linearPart, multiply, nearestRotation, type Matrix } from './linear';
import { checkShape, FileProblem, gunzip, gzip, numbers, type Numbers, type Volume } from './volume';

/** What the place of a volume is said by; masks keep it as it is. */
export interface NiftiHeader {
  version: 1 | 2;
  pixdim: number[];
  xyztUnits: number;
  qformCode: number;
  sformCode: number;
  /** b, c, d, then the offsets x, y, z */
  qform: number[];
  /** srow_x, srow_y, srow_z */
  sform: number[];
}

type Layout = { size: number; real: 4 | 8; dim: number; type: number; bits: number; pixdim: number; offset: number };
type Places = { slope: number; qcode: number; scode: number; qform: number; sform: number; units: number };

const LAYOUTS: Record<1 | 2, Layout & Places> = {
  1: {
    ...{ size: 348, real: 4, dim: 40, type: 70, bits: 72, pixdim: 76, offset: 108 },
    ...{ slope: 112, qcode: 252, scode: 254, qform: 256, sform: 280, units: 123 },
  },
  2: {
    ...{ size: 540, real: 8, dim: 16, type: 12, bits: 14, pixdim: 104, offset: 168 },
    ...{ slope: 176, qcode: 344, scode: 348, qform: 352, sform: 400, units: 500 },
  },
};
const KINDS: Record<number, Parameters<typeof numbers>[1]> = {
  ...{ 2: 'u1', 4: 'i2', 8: 'i4', 16: 'f4', 64: 'f8', 256: 'i1', 512: 'u2', 768: 'u4', 1024: 'i8', 1280: 'u8' },
};
const UNITS: Record<number, number> = { 0: 1, 1: 1e3, 2: 1, 3: 1e-3 }; // unknown (taken as mm), m, mm, micrometres
const EPSILON = { 1: 2 ** -23, 2: 2 ** -52 };
const HIGHEST_CODE = 5;

export async function readNifti(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<Volume> {
  if (!bytes.length) throw new FileProblem('the file is empty');
  const file = /\.gz$/i.test(name) ? await gunzip(bytes) : bytes;
  if (file.length < 348) throw new FileProblem(`cannot be read: ${file.length} bytes hold no NIfTI header`);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const little = [348, 540].includes(view.getInt32(0, true));
  const version = view.getInt32(0, little) === 540 ? 2 : 1;
  const at = LAYOUTS[version];
  const magic = String.fromCharCode(...file.subarray(version === 2 ? 4 : 344, version === 2 ? 7 : 347));
  if (view.getInt32(0, little) !== at.size || !['n+1', 'n+2'].includes(magic) || file.length < at.size)
    throw new FileProblem('cannot be read: it is no NIfTI file in one part');
  const short = (place: number) => view.getInt16(place, little);
  const real = (place: number) => (at.real === 8 ? view.getFloat64(place, little) : view.getFloat32(place, little));
  const whole = (place: number) => (version === 2 ? Number(view.getBigInt64(place, little)) : short(place));
  const code = (place: number) => {
    const found = version === 2 ? view.getInt32(place, little) : short(place);
    return found >= 0 && found <= HIGHEST_CODE ? found : 0; // as nibabel mends it
  };
  const reals = (place: number, count: number) => Array.from({ length: count }, (_, n) => real(place + n * at.real));
  const step = version === 2 ? 8 : 2;
  const axes = whole(at.dim);
  if (axes < 1 || axes > 7) throw new FileProblem(`cannot be read: its header states ${axes} axes`);
  const sizes = Array.from({ length: axes }, (_, n) => whole(at.dim + (n + 1) * step));
  const shape = checkShape(sizes);
  const kind = KINDS[short(at.type)];
  if (!kind) throw new FileProblem(`expected one real number a voxel, found the NIfTI data type ${short(at.type)}`);
  const header: NiftiHeader = {
    version,
    pixdim: [...mendedPixdim(reals(at.pixdim, 4)), 0, 0, 0, 0],
    xyztUnits: version === 2 ? view.getInt32(at.units, little) : view.getUint8(at.units),
    qformCode: code(at.qcode),
    sformCode: code(at.scode),
    qform: reals(at.qform, 6),
    sform: reals(at.sform, 12),
  };
  const start = version === 2 ? Number(view.getBigInt64(at.offset, little)) : real(at.offset);
  const data = file.subarray(Math.max(start, at.size + 4));
  const stored = numbers(data, kind, little, sizes.reduce((product, n) => product * n, 1));
  const voxels = scaled(stored, real(at.slope), real(at.slope + at.real));
  const notes: string[] = [];
  const affine = affineOf(header, shape.slice(0, 3), notes);
  return { voxels, shape: shape.slice(0, 3), channels: shape[3] ?? 1, affine, header, notes };
}

/** As nibabel mends it when it reads: edges are positive, qfac is 1 or -1. */
function mendedPixdim(pixdim: number[]): number[] {
  const mended = [...pixdim];
  for (const axis of [1, 2, 3]) mended[axis] = Math.abs(mended[axis]) || 1;
  if (Math.abs(mended[0]) !== 1) mended[0] = 1;
  return mended;
}

function scaled(stored: Numbers, slope: number, intercept: number): Numbers {
  if (slope === 0 || !Number.isFinite(slope)) return stored;
  if (!Number.isFinite(intercept))
    throw new FileProblem(`cannot be read: its scl_slope is ${slope}, but its scl_inter ${intercept}`);
  if (slope === 1 && intercept === 0) return stored;
  return Float64Array.from(stored, (value) => value * slope + intercept);
}

function affineOf(header: NiftiHeader, shape: number[], notes: string[]): Matrix {
  const sform = header.sformCode ? sformOf(header) : null;
  let qform: Matrix | null = null;
  try {
    qform = header.qformCode ? qformOf(header) : null;
  } catch (error) {
    if (!sform) throw error;
    notes.push(`its qform cannot be understood (${(error as Error).message}), the sform is taken`);
  }
  const unit = header.xyztUnits & 7;
  const scale = UNITS[unit] ?? 1;
  let affine = sform ?? qform;
  if (sform) disagreement(header, sform, qform, shape, scale, notes);
  if (!affine) {
    const [x, y, z] = header.pixdim.slice(1, 4);
    affine = diagonal([-x, -y, z, 1]);
    notes.push(
      'neither sform nor qform is set: taken as ITK does, axes to the left, the back and up, the first voxel at 0',
    );
  }
  if (!(unit in UNITS)) notes.push(`xyzt_units has no unit of length of the number ${unit}, taken as mm`);
  return multiply(diagonal([scale, scale, scale, 1]), affine);
}

const sformOf = ({ sform }: NiftiHeader): Matrix => [...[0, 4, 8].map((n) => sform.slice(n, n + 4)), [0, 0, 0, 1]];

function qformOf({ version, pixdim, qform }: NiftiHeader): Matrix {
  const [b, c, d] = qform;
  const squared = 1 - (b * b + c * c + d * d);
  const small = Math.abs(squared) < 3 * EPSILON[version];
  if (squared < 0 && !small)
    throw new FileProblem(`cannot be read: w2 should be positive, but is ${squared.toExponential(6)}`);
  const a = small ? 0 : Math.sqrt(squared);
  const s = 2 / (a * a + b * b + c * c + d * d);
  const turn = [
    [1 - s * (c * c + d * d), s * (b * c - a * d), s * (b * d + a * c)],
    [s * (b * c + a * d), 1 - s * (b * b + d * d), s * (c * d - a * b)],
    [s * (b * d - a * c), s * (c * d + a * b), 1 - s * (b * b + c * c)],
  ];
  const edges = [pixdim[1], pixdim[2], pixdim[3] * pixdim[0]];
  const rows = turn.map((row, i) => [...row.map((value, j) => value * edges[j]), qform[3 + i]]);
  return [...rows, [0, 0, 0, 1]];
}

/** Say what other readers may take the place for, if that is elsewhere. */
function disagreement(
  header: NiftiHeader,
  sform: Matrix,
  qform: Matrix | null,
  shape: number[],
  scale: number,
  notes: string[],
): void {
  const edges = voxelEdges(sform);
  if (edges.some((edge) => !edge)) return; // refused afterwards
  const ratio = edges.map((edge, axis) => header.pixdim[axis + 1] / edge);
  const other = qform ?? multiply(sform, diagonal([...ratio, 1]));
  const what = qform ? 'qform' : 'pixdim';
  const distance = cornerDistance({ shape, affine: sform }, { shape, affine: other });
  if (distance <= 0.25 * Math.min(...edges)) return;
  notes.push(
    `its sform (code ${header.sformCode}) and its ${what} put a corner ${asMm([distance * scale])} apart: ` +
      `the sform is taken, ITK readers (Slicer, ITK-SNAP) may take the ${what}`,
  );
}

/** A NIfTI file of uint8 classes, or float32 values, in the place that a header says, or an affine. */
export function writeNifti(voxels: Uint8Array | Float32Array, volume: Volume): Uint8Array<ArrayBuffer> {
  const header = volume.header ?? headerOf(volume.affine);
  const at = LAYOUTS[header.version];
  const first = at.size + 4;
  const file = new Uint8Array(first + voxels.byteLength);
  const view = new DataView(file.buffer);
  const real = (place: number, value: number) =>
    at.real === 8 ? view.setFloat64(place, value, true) : view.setFloat32(place, value, true);
  const reals = (place: number, values: number[]) => values.forEach((value, n) => real(place + n * at.real, value));
  const dim = [3, ...volume.shape, 1, 1, 1, 1];
  view.setInt32(0, at.size, true);
  if (header.version === 2) {
    file.set([0x6e, 0x2b, 0x32, 0, 0x0d, 0x0a, 0x1a, 0x0a], 4);
    dim.forEach((n, axis) => view.setBigInt64(at.dim + axis * 8, BigInt(n), true));
    view.setBigInt64(at.offset, BigInt(first), true);
    view.setInt32(at.qcode, header.qformCode, true);
    view.setInt32(at.scode, header.sformCode, true);
    view.setInt32(at.units, header.xyztUnits & 7, true);
  } else {
    file.set([0x6e, 0x2b, 0x31, 0], 344);
    dim.forEach((n, axis) => view.setInt16(at.dim + axis * 2, n, true));
    real(at.offset, first);
    view.setInt16(at.qcode, header.qformCode, true);
    view.setInt16(at.scode, header.sformCode, true);
    view.setUint8(at.units, header.xyztUnits & 7);
  }
  const bytes = voxels.BYTES_PER_ELEMENT;
  view.setInt16(at.type, bytes === 1 ? 2 : 16, true);
  view.setInt16(at.bits, 8 * bytes, true);
  reals(at.pixdim, header.pixdim);
  reals(at.slope, [1, 0]);
  reals(at.qform, header.qform);
  reals(at.sform, header.sform);
  file.set(new Uint8Array(voxels.buffer, voxels.byteOffset, voxels.byteLength), first);
  return file;
}

export const writeMask = async (mask: Uint8Array, volume: Volume): Promise<Uint8Array<ArrayBuffer>> =>
  gzip(writeNifti(mask, volume));

/** A header that says an affine in both forms. */
export function headerOf(affine: Matrix): NiftiHeader {
  const edges = voxelEdges(affine);
  const axes = linearPart(affine).map((row) => row.map((value, axis) => value / edges[axis]));
  const turn = nearestRotation(axes);
  const qfac = determinant3(turn) < 0 ? -1 : 1;
  const quaternion = quaternionOf(turn.map((row) => [row[0], row[1], row[2] * qfac]));
  return {
    version: 1,
    pixdim: [qfac, ...edges, 1, 1, 1, 1],
    xyztUnits: 2,
    qformCode: 1,
    sformCode: 1,
    qform: [...quaternion, ...[0, 1, 2].map((row) => affine[row][3])],
    sform: affine.slice(0, 3).flat(),
  };
}

/** b, c and d of the unit quaternion of a rotation, the real part positive. */
function quaternionOf([[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]]: Matrix): number[] {
  const squares = [1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz]; // 4 a^2, 4 b^2, ...
  const greatest = squares.indexOf(Math.max(...squares));
  const rows = [
    [squares[0], zy - yz, xz - zx, yx - xy],
    [zy - yz, squares[1], xy + yx, xz + zx],
    [xz - zx, xy + yx, squares[2], yz + zy],
    [yx - xy, xz + zx, yz + zy, squares[3]],
  ];
  const found = rows[greatest].map((value) => value / (2 * Math.sqrt(squares[greatest])));
  return found.slice(1).map((value) => (found[0] < 0 ? -value : value));
}
