/** NRRD files, read by the rules of dckd_ext/data/volumes.py. */

import { allClose } from './grids';
import { diagonal, type Matrix } from './linear';
import { FileProblem, gunzip, numbers, type Volume } from './volume';

const KINDS: [RegExp, Parameters<typeof numbers>[1]][] = [
  [/^(signed char|int8|int8_t)$/, 'i1'],
  [/^(uchar|unsigned char|uint8|uint8_t)$/, 'u1'],
  [/^(short|short int|signed short|signed short int|int16|int16_t)$/, 'i2'],
  [/^(ushort|unsigned short|unsigned short int|uint16|uint16_t)$/, 'u2'],
  [/^(int|signed int|int32|int32_t)$/, 'i4'],
  [/^(uint|unsigned int|uint32|uint32_t)$/, 'u4'],
  [/^(longlong|long long|long long int|signed long long|signed long long int|int64|int64_t)$/, 'i8'],
  [/^(ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t)$/, 'u8'],
  [/^float$/, 'f4'],
  [/^double$/, 'f8'],
];
const UNITS: Record<string, number> = { mm: 1, millimeter: 1, m: 1e3, meter: 1e3, cm: 10, um: 1e-3, micron: 1e-3 };
const AXES = [
  ['right', 'left'],
  ['anterior', 'posterior'],
  ['superior', 'inferior'],
];

/**
 * Read a NRRD file.
 *
 * @param placeholder mm, one number a stored axis: the order of the array is then what counts, and files whose header
 *   states no spacing, or ones, have this one.
 * @param beside gives a file that lies beside a detached header.
 */
export async function readNrrd(
  bytes: Uint8Array<ArrayBuffer>,
  placeholder: number[] | null,
  beside: (name: string) => Promise<Uint8Array<ArrayBuffer> | null>,
): Promise<Volume> {
  if (!bytes.length) throw new FileProblem('the file is empty');
  const { fields, end } = header(bytes);
  const field = (...names: string[]) => names.map((name) => fields.get(name)).find((value) => value !== undefined);
  const needed = (name: string) => {
    const value = field(name);
    if (value === undefined) throw new FileProblem(`cannot be read: its NRRD header has no field "${name}"`);
    return value;
  };
  const shape = needed('sizes').split(/\s+/).map(Number);
  if (shape.length !== 3)
    throw new FileProblem(
      'expected a volume with three axes and one value a voxel, found the sizes ' +
        `(${shape.join(', ')}) (a colour image or a series of volumes?)`,
    );
  const kind = KINDS.find(([names]) => names.test(needed('type').toLowerCase()))?.[1];
  if (!kind) throw new FileProblem(`expected one real number a voxel, found the NRRD type ${needed('type')}`);
  let data = bytes.subarray(end);
  const name = field('data file', 'datafile');
  if (name !== undefined) {
    if (/[\\/]/.test(name) || ['', 'LIST', '..'].includes(name))
      throw new FileProblem(`expected a data file in the header's own folder, found ${name}`);
    const found = await beside(name);
    if (!found) throw new FileProblem(`its data file ${name} is not beside it: choose both files together`);
    data = found;
  }
  for (let lines = Number(field('line skip', 'lineskip') ?? 0); lines > 0; lines--)
    data = data.subarray(data.indexOf(10) + 1);
  const encoding = needed('encoding').toLowerCase();
  if (['gzip', 'gz'].includes(encoding)) data = await gunzip(data.slice());
  else if (encoding !== 'raw')
    throw new FileProblem(`expected the NRRD encoding raw or gzip, which this page reads, found ${encoding}`);
  const count = shape.reduce((product, n) => product * n, 1);
  const skip = Number(field('byte skip', 'byteskip') ?? 0);
  data = skip < 0 ? data.subarray(data.length - count * Number(kind[1])) : data.subarray(skip);
  const voxels = numbers(data, kind, field('endian')?.toLowerCase() !== 'big', count);
  return { voxels, shape, channels: 1, ...place(field, placeholder) };
}

type Field = (...names: string[]) => string | undefined;

function place(field: Field, placeholder: number[] | null): { affine: Matrix; notes: string[] } {
  const stated = directions(field);
  const length = (row: number[]) => Math.hypot(...row);
  if (placeholder) {
    const ones = !stated || allClose([stated.map(length)], [[1, 1, 1]], 1e-8);
    const edges = ones ? placeholder : stated.map(length);
    const text = `the header states no spacing: taken to have ${placeholder.join(' x ')} mm along the stored axes`;
    return { affine: diagonal([...edges, 1]), notes: ones ? [text] : [] };
  }
  if (!stated) throw new FileProblem('the NRRD header states no spacing');
  const notes: string[] = [];
  if (!field('space directions') || !field('space'))
    notes.push('the NRRD header states no space, taken as ITK does: left-posterior-superior');
  const origin = vectors(field('space origin') ?? '')[0] ?? [0, 0, 0];
  const signs = signsOf(field('space') ?? 'left-posterior-superior');
  const units = new Set([...(field('space units') ?? '"mm"').matchAll(/"([^"]*)"/g)].map((m) => m[1].toLowerCase()));
  const unit = [...units][0];
  if (units.size > 1 || !(unit in UNITS))
    notes.push(`space units are ${[...units].join(', ')}, taken as mm; known are ${Object.keys(UNITS).join(', ')}`);
  const scale = units.size === 1 ? (UNITS[unit] ?? 1) : 1;
  const rows = signs.map((sign, row) =>
    [...stated.map((direction) => direction[row]), origin[row]].map((value) => scale * sign * value),
  );
  return { affine: [...rows, [0, 0, 0, 1]], notes };
}

/** Steps of the stored axes, a row each; null where the header does not state them. */
function directions(field: Field): number[][] | null {
  const spacings = field('spacings')?.trim().split(/\s+/).map(Number);
  const stated = field('space directions') ? vectors(field('space directions')!) : spacings && diagonal(spacings);
  const whole = stated?.length === 3 && stated.flat().every(Number.isFinite) && stated.flat().length === 9;
  return whole && stated.every((row) => Math.hypot(...row) > 0) ? stated : null;
}

const vectors = (text: string): number[][] =>
  [...text.matchAll(/\(([^)]*)\)/g)].map((found) => found[1].split(',').map(Number));

function signsOf(space: string): number[] {
  const parts = space.trim().toLowerCase().split('-');
  const words = parts.length === 1 ? [...parts[0]] : parts;
  const signs = AXES.map(([plus, minus], axis) =>
    [plus, plus[0]].includes(words[axis]) ? 1 : [minus, minus[0]].includes(words[axis]) ? -1 : 0,
  );
  if (words.length !== 3 || signs.includes(0))
    throw new FileProblem(
      'expected a space of right or left, anterior or posterior, superior or inferior, such as ' +
        `left-posterior-superior or LPS, found ${space}`,
    );
  return signs;
}

function header(bytes: Uint8Array): { fields: Map<string, string>; end: number } {
  const fields = new Map<string, string>();
  let start = 0;
  for (let number = 0; ; number++) {
    const stop = bytes.indexOf(10, start);
    if (stop < 0 && start >= bytes.length) return { fields, end: bytes.length }; // a detached header may end so
    const line = new TextDecoder().decode(bytes.subarray(start, stop < 0 ? undefined : stop)).replace(/\r$/, '');
    if (!number && !line.startsWith('NRRD')) throw new FileProblem('cannot be read: it is no NRRD file');
    start = stop < 0 ? bytes.length : stop + 1;
    if (!line) return { fields, end: start };
    const colon = line.match(/^([^#:]+):=?\s*(.*)$/);
    if (number && colon) fields.set(colon[1].trim().toLowerCase(), colon[2].trim());
  }
}
