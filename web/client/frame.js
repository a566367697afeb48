// The frames of the protocol as values.

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A position in a stream, `{ epoch, offset }`, or null for anything else. */
export function readPosition(value) {
  if (!isObject(value)) return null;
  const { epoch, offset } = value;
  const valid = typeof epoch === 'string' && epoch !== '' && Number.isSafeInteger(offset) && offset >= 0;
  return valid ? { epoch, offset } : null;
}

/** The value of a JSON text, or the text itself if it is none. */
function decode(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * Reads a frame; null if it is none. Returns `{ event, channel, data, metadata, position, recovered,
 * reason }`: `data` is decoded, and `metadata` is what handlers receive beside it.
 */
export function read(text) {
  const message = typeof text === 'string' ? decode(text) : null;
  if (!isObject(message) || typeof message.event !== 'string') return null;
  const { event, channel, data, user_id, recovered, reason } = message;
  const position = readPosition(message.position);
  const metadata = {};
  if (user_id !== undefined) metadata.user_id = user_id;
  if (position) metadata.position = position;
  return {
    event,
    channel: typeof channel === 'string' ? channel : undefined,
    data: typeof data === 'string' ? decode(data) : data,
    metadata: Object.keys(metadata).length > 0 ? metadata : undefined,
    position,
    recovered,
    reason: typeof reason === 'string' ? reason : undefined,
  };
}

export const write = (event, data, channel) => JSON.stringify({ event, channel, data });
