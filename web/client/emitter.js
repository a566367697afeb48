// Handlers of events by name, with the methods of pusher-js.

/** Calls a function of the application. If it throws, its error is reported, and stops nothing else. */
export function call(handler, context, args) {
  try {
    handler?.apply(context, args);
  } catch (error) {
    if (typeof reportError === 'function') reportError(error);
    else setTimeout(() => { throw error; });
  }
}

export class Emitter {
  // Each is { event, handler, context }; the event of a global handler is null.
  #bound = [];

  bind(event, handler, context) {
    this.#bound = [...this.#bound, { event, handler, context }];
    return this;
  }

  /** `handler(event, data)` is called for every event. */
  bind_global(handler, context) {
    return this.bind(null, handler, context);
  }

  /** Removes the handlers to which everything applies that is given. */
  unbind(event, handler, context) {
    const goes = (each) =>
      each.event !== null && (!event || each.event === event) && (!handler || each.handler === handler) &&
      (!context || each.context === context);
    this.#bound = this.#bound.filter((each) => !goes(each));
    return this;
  }

  unbind_global(handler) {
    this.#bound = this.#bound.filter((each) => each.event !== null || (handler && each.handler !== handler));
    return this;
  }

  unbind_all() {
    this.#bound = [];
    return this;
  }

  emit(event, data, metadata) {
    const args = metadata ? [data, metadata] : data === undefined ? [] : [data];
    const bound = this.#bound;
    for (const each of bound) if (each.event === null) call(each.handler, each.context, [event, ...args]);
    for (const each of bound) if (each.event === event) call(each.handler, each.context, args);
    return this;
  }
}
