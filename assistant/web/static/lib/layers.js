// Parts of a text that lie over each other, and the stretches that they cut it into.

/**
 * For each letter the parts that lie over it: sets of parts, the shortest first, and each letter's
 * set as its index; the first set is empty.
 * @template {{start: number, end: number}} P
 * @param {number} count how many letters there are
 * @param {{part: P, over: Iterable<number>}[]} covers which letters each part lies over
 */
export const layered = (count, covers) => {
  /** @type {P[][]} */
  const sets = [[]];
  const setOf = new Int32Array(count);
  for (const { part, over } of covers) {
    const joined = new Map(); // a set -> the same with this part
    for (const letter of over) {
      const was = setOf[letter];
      if (!joined.has(was)) {
        const set = [...sets[was], part];
        set.sort((one, other) => one.end - one.start - (other.end - other.start));
        joined.set(was, sets.push(set) - 1);
      }
      setOf[letter] = joined.get(was);
    }
  }
  return { sets, setOf };
};

/**
 * Letters in a row that have one set, which is not the empty one: [first, last]
 * @param {Int32Array} setOf
 * @param {(one: number, other: number) => boolean} alike whether two letters in a row may be in one
 */
export const stretches = (setOf, alike) => {
  /** @type {[number, number][]} */
  const found = [];
  setOf.forEach((set, letter) => {
    if (!set) return;
    const last = found.at(-1);
    const goesOn = last?.[1] === letter - 1 && setOf[letter - 1] === set;
    if (last && goesOn && alike(letter - 1, letter)) last[1] = letter;
    else found.push([letter, letter]);
  });
  return found;
};
