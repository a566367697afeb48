// When a closed client connects again: by the close code and its reason, and by the failures before.

const BASE_MS = 500;
const CAP_MS = 30_000;
const OVER_CAPACITY_MS = 1_000;
const RETRY_AFTER_CAP_MS = 60_000;

/** Codes after which the same client would only be closed again, or is not to come back. */
const FINAL = [1000, 1002, 1003, 1007, 1008, 1009, 1010];
const FIRST_OF_APPLICATIONS = 3000;
const TOKEN_EXPIRED = 4401;
const UNAUTHORIZED = 4009;

/**
 * The wait before attempt `attempt` (from 1) in milliseconds: uniform between 0 and a bound of one
 * second, which doubles up to 30 seconds, so that the clients of a lost gateway do not return at once.
 */
export function backoff(attempt) {
  return Math.round(Math.random() * Math.min(CAP_MS, BASE_MS * 2 ** attempt));
}

/** A wait of a client that has time: uniform between 0 and 30 seconds. */
export const unhurried = () => backoff(Infinity);

/** The wait that a reason such as `retry-after=2.4` (seconds) requests, in milliseconds; or null. */
export function retryAfter(reason) {
  const seconds = /(?:^|[\s;])retry-after=(\d+(?:\.\d+)?)(?:$|[\s;])/.exec(reason ?? '')?.[1];
  return seconds === undefined ? null : Math.min(RETRY_AFTER_CAP_MS, Math.round(seconds * 1_000));
}

/**
 * The reaction to a close:
 *
 * - `{ stop: true }`: the client does not come back by itself
 * - `{ renew: true }`: its token has expired; it comes back at once with a new one
 * - `{ at }`: it comes back after that many milliseconds, which the server has chosen
 * - `{ now: true }`: at once
 * - `{ least }`: with back-off, after that many milliseconds at least
 */
export function reaction(code, reason) {
  const at = retryAfter(reason);
  if (at !== null) return { at };
  const expired = code === UNAUTHORIZED && /token expired/.test(reason ?? '');
  if (code === TOKEN_EXPIRED || expired) return { renew: true };
  if (code >= 4100 && code < 4200) return { least: OVER_CAPACITY_MS };
  if (code >= 4200 && code < 4300) return { now: true };
  if (FINAL.includes(code) || code >= FIRST_OF_APPLICATIONS) return { stop: true };
  return { least: 0 };
}
