/** Whether a volume is far from the training volumes: the rule of dckd_ext/export/known.py, in its words. */

import { asMm } from './grids';
import type { Known } from './network';
import type { Intensities } from './steps';

const FACTOR = 1.25;

const far = (value: number, [low, high]: [number, number]): boolean => !(low / FACTOR <= value && value <= high * FACTOR);

/**
 * Say what of a volume is far.
 *
 * @param extent of the volume as the network gets it, mm an axis
 * @param seen mean and deviation of its intensities before they are normalised
 */
export function farNotes(known: Known, extent: number[], seen: Partial<Intensities>): string[] {
  const notes: string[] = [];
  if (extent.some((edge, axis) => far(edge, known.extent[axis]))) {
    const pairs = known.extent.map(([low, high]) => `${low} to ${high}`).join(' x ');
    notes.push(`it extends over ${asMm(extent)}, the training volumes over ${pairs} mm`);
  }
  for (const name of ['mean', 'deviation'] as const) {
    const [value, pair] = [seen[name], known[name]];
    if (value !== undefined && pair && far(value, pair))
      notes.push(
        `the ${name} of its scaled intensities is ${Number(value.toPrecision(3))}, of the training volumes ` +
          `${pair[0]} to ${pair[1]}`,
      );
  }
  return notes.map((note) => `${note}: what is found in it may mean nothing`);
}
