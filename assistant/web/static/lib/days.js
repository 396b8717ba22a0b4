// When something was, as a list says it.

/** @param {Date} now @param {number} days */
const startOf = (now, days) =>
  new Date(now.getFullYear(), now.getMonth(), now.getDate() - days).getTime();

/** The heading that a time stands under. @param {number} time in milliseconds @param {Date} now */
export const day = (time, now = new Date()) => {
  if (time >= startOf(now, 0)) return "Today";
  if (time >= startOf(now, 1)) return "Yesterday";
  return time >= startOf(now, 7) ? "Previous 7 days" : "Earlier";
};

/**
 * The same under each heading, in the order in which they come: the newest first.
 * @template {{updated: number}} T
 * @param {T[]} all @param {Date} [now]
 */
export const byDay = (all, now = new Date()) =>
  Map.groupBy(all, ({ updated }) => day(updated, now));
