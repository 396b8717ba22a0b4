// Small things that this browser, or this tab of it, keeps.
import { checkSettings } from "../lib/settings.js";

/** @import {Settings} from "../lib/settings.js" */

const SETTINGS = "tech-assistant/settings";

/** Those that were chosen last. @returns {Settings} */
export const settings = () => {
  try {
    return checkSettings(JSON.parse(localStorage.getItem(SETTINGS) ?? "{}"));
  } catch {
    return {};
  }
};
/** @param {Settings} value */
export const keepSettings = (value) => {
  try {
    localStorage.setItem(SETTINGS, JSON.stringify(value));
  } catch {
    // they hold for this page
  }
};

// What belongs to this tab alone, and outlives a reload
/** @param {string} key @param {string} [value] */
export const ofTab = (key, value) => {
  try {
    if (value !== undefined) sessionStorage.setItem(key, value);
    return sessionStorage.getItem(key);
  } catch {
    return null; // blocked
  }
};
