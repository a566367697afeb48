// Numbers, sizes and times for people.

/** A number with at most three digits and a suffix. */
export function count(value) {
  if (value === null || value === undefined) return '';
  const magnitude = Math.abs(value);
  if (magnitude >= 1e9) return `${short(value / 1e9)}G`;
  if (magnitude >= 1e6) return `${short(value / 1e6)}M`;
  if (magnitude >= 1e4) return `${short(value / 1e3)}k`;
  return Number.isInteger(value) ? String(value) : short(value);
}

/** A size in bytes. */
export function bytes(value) {
  if (value === null || value === undefined) return '';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let [size, unit] = [value, 0];
  while (Math.abs(size) >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${Math.round(size)} B` : `${short(size)} ${units[unit]}`;
}

/** A duration in milliseconds, with its two largest units. */
export function age(millis) {
  if (millis === null || millis === undefined) return '';
  const seconds = Math.floor(millis / 1000);
  if (seconds < 1) return `${Math.round(millis)} ms`;
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

/** The time of day of a moment in milliseconds since the Unix epoch. */
export function clock(at) {
  return new Date(at).toTimeString().slice(0, 8);
}

/** A uid or a group; one that is not text is shown in Base64. */
export function nameOf(name) {
  return typeof name === 'object' && name !== null ? name.base64 : (name ?? '');
}

function short(value) {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}
