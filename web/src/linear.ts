/** Small matrices of rows, in float64. */

export type Matrix = number[][];

export const identity = (n: number): Matrix => diagonal(Array<number>(n).fill(1));

export const diagonal = (values: number[]): Matrix =>
  values.map((value, row) => values.map((_, column) => (row === column ? value : 0)));

export const transpose = (a: Matrix): Matrix => a[0].map((_, column) => a.map((row) => row[column]));

export const multiply = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => b[0].map((_, column) => row.reduce((sum, value, k) => sum + value * b[k][column], 0)));

/** The upper left 3 x 3 of an affine. */
export const linearPart = (affine: Matrix): Matrix => affine.slice(0, 3).map((row) => row.slice(0, 3));

/** a^-1 b, by elimination with the greatest pivot of each column, as LAPACK's gesv does it. */
export function solve(a: Matrix, b: Matrix): Matrix {
  const left = a.map((row) => [...row]);
  const right = b.map((row) => [...row]);
  const n = left.length;
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let row = k + 1; row < n; row++) if (Math.abs(left[row][k]) > Math.abs(left[pivot][k])) pivot = row;
    [left[k], left[pivot]] = [left[pivot], left[k]];
    [right[k], right[pivot]] = [right[pivot], right[k]];
    for (let row = k + 1; row < n; row++) {
      const factor = left[row][k] / left[k][k];
      for (let column = k; column < n; column++) left[row][column] -= factor * left[k][column];
      right[row].forEach((_, column) => (right[row][column] -= factor * right[k][column]));
    }
  }
  for (let k = n - 1; k >= 0; k--)
    right[k].forEach((_, column) => {
      for (let row = k + 1; row < n; row++) right[k][column] -= left[k][row] * right[row][column];
      right[k][column] /= left[k][k];
    });
  return right;
}

export const inverse = (a: Matrix): Matrix => solve(a, identity(a.length));

export const determinant3 = ([a, b, c]: Matrix): number =>
  a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);

/** The lower triangle L of a = L L^T. */
export function cholesky(a: Matrix): Matrix {
  const lower = a.map((row) => row.map(() => 0));
  for (let row = 0; row < a.length; row++)
    for (let column = 0; column <= row; column++) {
      let rest = a[row][column];
      for (let k = 0; k < column; k++) rest -= lower[row][k] * lower[column][k];
      lower[row][column] = row === column ? Math.sqrt(rest) : rest / lower[column][column];
    }
  return lower;
}

/** The rotation (or reflection) nearest to a, by Newton's iteration for the polar decomposition. */
export function nearestRotation(a: Matrix): Matrix {
  let found = a;
  for (let step = 0; step < 100; step++) {
    const other = transpose(inverse(found));
    const next = found.map((row, i) => row.map((value, j) => (value + other[i][j]) / 2));
    const change = Math.max(...next.flatMap((row, i) => row.map((value, j) => Math.abs(value - found[i][j]))));
    found = next;
    if (change < 1e-15) break;
  }
  return found;
}

/** Round as numpy's rint does: a half goes to the even number. */
export function roundHalfEven(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}
