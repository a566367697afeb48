// Proofs that the application's back end issues: for channels and for users.

import { backoff } from './codes.js';

const WITHIN_MS = 10_000;
const TOO_MANY_REQUESTS = 429;

/** No proof was issued. `status` is that of the response, 0 without one. */
export class AuthError extends Error {
  type = 'AuthError';

  constructor(message, status = 0, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get passes() {
    return this.status === 0 || this.status === TOO_MANY_REQUESTS || this.status >= 500;
  }
}

/**
 * A function that requests a proof. Options as those of pusher-js: `endpoint`, `headers`,
 * `headersProvider`, `params`, `paramsProvider`, `customHandler`; and `credentials`, as of `fetch`.
 */
export function authorizer(options) {
  const { customHandler } = options;
  return customHandler ? (request) => ask(customHandler, request) : (request) => post(options, request);
}

/** Asks a function of the application, which answers by its callback or by a promise. */
function ask(handler, request) {
  return new Promise((resolve, reject) => {
    const done = (error, proof) => (error ? reject(error) : resolve(proof));
    const promise = handler(request, done);
    promise?.then?.((proof) => proof !== undefined && resolve(proof), reject);
  });
}

// An error of the application is final, unless it has the status of a passing failure.
function asAuthError(error) {
  if (error instanceof AuthError) return error;
  return new AuthError(String(error?.message ?? error), error?.status ?? 403, error?.retryAfter);
}

async function post({ endpoint, headers, headersProvider, params, paramsProvider, credentials }, request) {
  const { socketId, channelName } = request;
  const body = new URLSearchParams({ socket_id: socketId, ...(channelName && { channel_name: channelName }) });
  for (const [name, value] of Object.entries({ ...params, ...paramsProvider?.() })) body.append(name, value);
  const init = {
    method: 'POST',
    headers: { Accept: 'application/json', ...headers, ...headersProvider?.() },
    body,
    credentials,
    signal: AbortSignal.timeout(WITHIN_MS),
  };
  const response = await fetch(endpoint, init).catch((error) => {
    throw new AuthError(`${endpoint}: ${error.message}`);
  });
  if (!response.ok) {
    const seconds = Number.parseFloat(response.headers.get('Retry-After'));
    throw new AuthError(`${endpoint}: status ${response.status}`, response.status, seconds * 1_000 || null);
  }
  return response.json().catch(() => {
    throw new AuthError(`${endpoint}: the answer is no JSON`, response.status);
  });
}

/**
 * Requests a proof until there is one; null if it was refused, or is no longer needed. A failure that
 * passes is followed by further attempts with back-off; `onError` gets each.
 */
export async function proof(request, isNeeded, onError) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const value = await request();
      return isNeeded() ? value : null;
    } catch (cause) {
      const error = asAuthError(cause);
      if (!isNeeded()) return null;
      onError(error);
      if (!error.passes) return null;
      await new Promise((resolve) => setTimeout(resolve, error.retryAfter ?? backoff(attempt)));
      if (!isNeeded()) return null;
    }
  }
}
