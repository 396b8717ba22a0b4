// Texts as a person counts them, and as the server does.

const whole = new Intl.Segmenter();

/** How many code points, as the server counts. @param {string} text */
export const size = (text) => {
  let count = text.length;
  for (let at = 0; at < text.length - 1; at++) {
    const low = text.charCodeAt(at + 1);
    if (text.charCodeAt(at) >> 10 === 0x36 && low >> 10 === 0x37) {
      count--;
      at++;
    }
  }
  return count;
};

/**
 * Where the text ends that begins at `at` and has `count` code points.
 * @param {string} text @param {number} at @param {number} count
 */
export const endOf = (text, at, count) => {
  let end = at;
  for (let n = 0; n < count && end < text.length; n++)
    end += Number(text.codePointAt(end)) > 0xffff ? 2 : 1;
  return end;
};

/**
 * At most `max` code points of a text, never a part of what a person sees as one character.
 * @param {string} text @param {number} max
 */
export const cut = (text, max) => {
  const at = endOf(text, 0, max);
  return at < text.length ? text.slice(0, whole.segment(text).containing(at)?.index) : text;
};

/** @param {number} count @param {string} one @param {string} [many] */
export const counted = (count, one, many = `${one}s`) =>
  `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
