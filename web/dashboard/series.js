// Samples of totals, and the series that plots show: values, and rates between two samples.

/** Most samples that are kept: an hour of them. */
const KEPT = 1800;

export class Series {
  #samples = [];
  next = 0;

  /** Adds what the command has sampled since. */
  add({ next, samples }) {
    // The command has been started anew: its numbers begin at 0 again.
    if (next < this.next) this.#samples = [];
    this.#samples = [...this.#samples, ...samples].slice(-KEPT);
    this.next = next;
  }

  get last() {
    return this.#samples.at(-1);
  }

  get #before() {
    return this.#samples.at(-2);
  }

  /** The samples of the last seconds, and the addresses of all gateways in them. */
  #within(seconds) {
    const from = (this.last?.at ?? Date.now()) - seconds * 1000;
    const samples = this.#samples.filter(({ at }) => at >= from);
    const gateways = [...new Set(samples.flatMap(({ gateways: all }) => Object.keys(all)))].sort();
    return { samples, gateways, from, to: from + seconds * 1000, times: samples.map(({ at }) => at) };
  }

  /** A value of each gateway. */
  values(seconds, field) {
    const { samples, gateways, ...frame } = this.#within(seconds);
    const series = gateways.map((name) => ({ name, values: samples.map((sample) => sample.gateways[name]?.[field] ?? null) }));
    return { ...frame, series };
  }

  /** The sum over all gateways of some values. */
  sums(seconds, fields) {
    const { samples, ...frame } = this.#within(seconds);
    const series = fields.map(([name, field]) => ({ name, values: samples.map((sample) => sum(sample, field)) }));
    return { ...frame, series };
  }

  /** Values of the cluster as a whole. */
  whole(seconds, fields) {
    const { samples, ...frame } = this.#within(seconds);
    const series = fields.map(([name, field]) => ({ name, values: samples.map((sample) => sample[field]) }));
    return { ...frame, series };
  }

  /** The rates a second of some totals, summed over all gateways. */
  rates(seconds, fields) {
    const { samples, ...frame } = this.#within(seconds);
    const series = fields.map(([name, field]) => ({ name, values: samples.map((sample, i) => rate(samples[i - 1], sample, field)) }));
    return { ...frame, series };
  }

  /** The rates a second at which clients are closed, for each reason. */
  closed(seconds) {
    const { samples, ...frame } = this.#within(seconds);
    const of = (sample) => Object.values(sample.gateways).flatMap(({ closed }) => Object.keys(closed ?? {}));
    const reasons = [...new Set(samples.flatMap(of))].sort();
    const series = reasons.map((name) => ({
      name,
      values: samples.map((sample, i) => rate(samples[i - 1], sample, (gateway) => gateway.closed?.[name] ?? 0)),
    }));
    return { ...frame, series: series.filter(({ values }) => values.some((value) => value > 0)) };
  }

  /** The last value, summed over all gateways. */
  now(field) {
    return this.last ? sum(this.last, field) : null;
  }

  /** The last rate, summed over all gateways. */
  rateNow(field) {
    return this.last ? rate(this.#before, this.last, field) : null;
  }
}

function read(gateway, field) {
  return typeof field === 'function' ? field(gateway) : gateway[field];
}

function sum(sample, field) {
  const values = Object.values(sample.gateways).map((gateway) => read(gateway, field)).filter((value) => value !== null && value !== undefined);
  return values.length > 0 ? values.reduce((all, value) => all + value, 0) : null;
}

/** The rate between two samples, of the gateways that are in both and have not started anew. */
export function rate(before, sample, field) {
  if (!before) return null;
  const seconds = (sample.at - before.at) / 1000;
  let total = 0;
  for (const [name, gateway] of Object.entries(sample.gateways)) {
    const then = before.gateways[name];
    if (!then || then.instance !== gateway.instance) continue;
    total += Math.max(0, read(gateway, field) - read(then, field));
  }
  return seconds > 0 ? total / seconds : null;
}
