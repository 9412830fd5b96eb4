/** How lines are told apart without their colour: a dash pattern and a shape each. The same paths serve canvas and SVG. */

/** Custom properties --ops-line-1 … 8 have the colours. */
export const COLOURS = 8;

const DASHES: readonly (readonly number[])[] = [[], [8, 4], [2, 3], [10, 3, 2, 3], [14, 4]];

/** Around 0,0 and about 9 wide: circle, square, triangle, diamond, triangle down, hourglass, bar. */
const SHAPES: readonly string[] = [
  "M0-4A4 4 0 1 1-.01-4z", "M-4-4h8v8h-8z", "M0-5 5 4H-5z", "M0-5 5 0 0 5-5 0z", "M0 5 5-4H-5z", "M-4-5h8L-4 5h8z", "M-2-5h4V5h-4z",
];

/** Eight, five and seven have no divisor in common: no two of thirty-five lines look the same, with or without colour. */
export const colourOf = (line: number): number => line % COLOURS;
export const dashOf = (line: number): number[] => [...DASHES[line % DASHES.length]!];
export const shapeOf = (line: number): string => SHAPES[line % SHAPES.length]!;
