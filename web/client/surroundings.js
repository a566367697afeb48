// The network and the page around the connection, as far as there are any: Node has neither.

export const isOffline = () => globalThis.navigator?.onLine === false;

export const isHidden = () => globalThis.document?.visibilityState === 'hidden';

/** Calls `offline` when the network goes, and `back` when it returns or the page is shown. Returns the end of that. */
export function watch({ offline, back }) {
  const shown = () => isHidden() || back();
  const bound = [
    [globalThis, 'offline', offline],
    [globalThis, 'online', back],
    [globalThis.document, 'visibilitychange', shown],
  ].filter(([target]) => typeof target?.addEventListener === 'function');
  for (const [target, event, handle] of bound) target.addEventListener(event, handle);
  return () => {
    for (const [target, event, handle] of bound) target.removeEventListener(event, handle);
  };
}
