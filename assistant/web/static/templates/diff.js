// What changed between two texts, line by line.

const SIDE_MAX = 600; // lines of a part that are compared with each other; else all of it changed

/** @typedef {{sign: "+" | "-", text: string}} Change */

/**
 * The lines that left and came, in the order of the text.
 * @param {string} was @param {string} now @returns {Change[]}
 */
export const changes = (was, now) => {
  const [one, other] = [was.split("\n"), now.split("\n")];
  let head = 0;
  while (head < one.length && head < other.length && one[head] === other[head]) head++;
  let tail = 0;
  const most = Math.min(one.length, other.length) - head;
  while (tail < most && one[one.length - 1 - tail] === other[other.length - 1 - tail]) tail++;
  return between(one.slice(head, one.length - tail), other.slice(head, other.length - tail));
};

/** @param {string[]} one @param {string[]} other @returns {Change[]} */
const between = (one, other) => {
  /** @param {Change["sign"]} sign @param {string[]} lines @returns {Change[]} */
  const all = (sign, lines) => lines.map((text) => ({ sign, text }));
  if (one.length > SIDE_MAX || other.length > SIDE_MAX)
    return [...all("-", one), ...all("+", other)];
  // common[i][j]: how many lines `one` from i on and `other` from j on have in common, in order
  const common = Array.from({ length: one.length + 1 }, () => new Uint16Array(other.length + 1));
  for (let i = one.length - 1; i >= 0; i--)
    for (let j = other.length - 1; j >= 0; j--)
      common[i][j] =
        one[i] === other[j]
          ? common[i + 1][j + 1] + 1
          : Math.max(common[i + 1][j], common[i][j + 1]);
  /** @type {Change[]} */
  const found = [];
  let [i, j] = [0, 0];
  while (i < one.length && j < other.length) {
    if (one[i] === other[j]) [i, j] = [i + 1, j + 1];
    else if (common[i + 1][j] >= common[i][j + 1]) found.push({ sign: "-", text: one[i++] });
    else found.push({ sign: "+", text: other[j++] });
  }
  return [...found, ...all("-", one.slice(i)), ...all("+", other.slice(j))];
};
