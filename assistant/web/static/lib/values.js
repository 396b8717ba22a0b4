// What a value is that came from outside: from the browser's store, a file or a link.
import { size } from "./text.js";

/** @param {unknown} value @returns {value is Record<string, unknown>} */
export const isObject = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {unknown} value @param {number} max code points @returns {value is string} */
export const isText = (value, max) =>
  typeof value === "string" && (value.length <= max || size(value) <= max);

/** A time in milliseconds. @param {unknown} value @returns {value is number} */
export const isTime = (value) =>
  typeof value === "number" && Number.isFinite(value) && value >= 0 && value < 1e14;

/** @param {unknown} value @returns {value is number} */
export const isCount = (value) =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
