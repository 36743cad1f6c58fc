/** Whether a volume is far from what the network was trained on: the rule of dckd_ext/export/known.py. */

import { asMm } from './grids';
import type { Known } from './network';
import type { Intensities } from './steps';

const FACTOR = 1.5; // how far beyond the lowest or the highest of the training a value may be

/**
 * Notes on what is far.
 *
 * @param extent mm, along the axes in the order of the network
 * @param intensities mean and deviation that the normalisation took away
 */
export function farNotes(known: Known, extent: number[], intensities?: Intensities): string[] {
  const notes: string[] = [];
  const far = (value: number, [low, high]: [number, number]) => value < low / FACTOR || value > high * FACTOR;
  if (extent.some((edge, axis) => far(edge, known.extent[axis])))
    notes.push(
      `it extends over ${asMm(extent)}, the network knows ` +
        `${known.extent.map(([low, high]) => `${low} to ${high}`).join(' x ')} mm: what is found may mean nothing`,
    );
  if (intensities)
    for (const [name, value, range] of [
      ['mean', intensities.mean, known.mean],
      ['deviation', intensities.deviation, known.deviation],
    ] as const)
      if (far(value, range))
        notes.push(
          `the ${name} of its scaled intensities is ${value.toPrecision(3)}, the network knows ` +
            `${range[0]} to ${range[1]}: what is found may mean nothing`,
        );
  return notes;
}
