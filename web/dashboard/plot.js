// Plots over time, as SVG: lines or stacked areas, with a reading at the pointer.

import { drawn, element } from './element.js';
import { clock } from './format.js';

const HEIGHT = 150;
const LEFT = 52;
const BOTTOM = 18;
const COLORS = 8;

/** Distinct colors, the same for a name as long as the names before it stay. */
export function color(index) {
  return `var(--s${index % COLORS})`;
}

/** The next round number above a value: 1, 2 or 5 times a power of ten. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((round) => round >= value);
}

/** The same in binary units: so many KiB, MiB and so on. */
export function ceilingOfBytes(value) {
  const unit = value >= 1024 ? 1024 ** Math.floor(Math.log(value) / Math.log(1024)) : 1;
  return ceiling(value / unit) * unit;
}

export class Plot {
  #root;
  #title;
  #svg;
  #reading;
  #format;
  #round;
  #stacked;
  #data = null;
  #at = null;
  #width = 600;

  /** `format(value)` is the text of a value, `round(value)` the end of an axis that has it. */
  constructor({ format, stacked = false, round = ceiling }) {
    this.#round = round;
    this.#format = format;
    this.#stacked = stacked;
    this.#title = element('h3');
    this.#svg = drawn('svg', { role: 'img' });
    this.#reading = element('div', { class: 'reading' });
    this.#root = element('figure', { class: 'plot' }, this.#title, this.#svg, this.#reading);
    this.#svg.addEventListener('pointermove', (event) => this.#point(event));
    this.#svg.addEventListener('pointerleave', () => this.#point(null));
    new ResizeObserver(() => this.#data && this.#draw()).observe(this.#root);
  }

  get element() {
    return this.#root;
  }

  /**
   * Shows series `[{ name, values }]` at the times `times`, in milliseconds, ascending; a value is
   * null where there is none. The plot is from `from` to `to`.
   */
  show(title, { times, series, from, to }) {
    this.#data = { times, series, from, to };
    const keys = series.map(({ name }, index) => element('span', { class: 'key', color: color(index) }, name));
    this.#title.replaceChildren(element('span', {}, title), ...keys);
    this.#svg.setAttribute('aria-label', title);
    this.#draw();
  }

  #x(time) {
    const { from, to } = this.#data;
    return LEFT + ((time - from) / Math.max(1, to - from)) * (this.#width - LEFT);
  }

  #draw() {
    this.#width = this.#svg.clientWidth || this.#width;
    this.#svg.setAttribute('viewBox', `0 0 ${this.#width} ${HEIGHT}`);
    const { times, series, from, to } = this.#data;
    const layers = this.#stacked ? stack(series) : series.map(({ values }) => ({ low: values.map(() => 0), high: values }));
    const top = this.#round(Math.max(0, ...layers.flatMap(({ high }) => high.filter((value) => value !== null))));
    const y = (value) => (HEIGHT - BOTTOM) * (1 - value / top) + 4;
    const parts = [0, 0.5, 1].flatMap((part) => [
      drawn('line', { class: 'grid', x1: LEFT, x2: this.#width, y1: y(part * top), y2: y(part * top) }),
      label(LEFT - 6, y(part * top) + 4, this.#format(part * top), 'end'),
    ]);
    for (const part of [0, 0.5, 1]) {
      const anchor = ['start', 'middle', 'end'][part * 2];
      parts.push(label(LEFT + part * (this.#width - LEFT), HEIGHT - 1, clock(from + part * (to - from)), anchor));
    }
    layers.forEach(({ low, high }, index) => {
      const runs = pieces(times, high);
      for (const run of runs) {
        const over = run.map((i) => `${this.#x(times[i]).toFixed(1)},${y(high[i]).toFixed(1)}`);
        if (this.#stacked) {
          const under = run.toReversed().map((i) => `${this.#x(times[i]).toFixed(1)},${y(low[i]).toFixed(1)}`);
          parts.push(drawn('polygon', { class: 'area', color: color(index), points: [...over, ...under].join(' ') }));
        } else {
          parts.push(drawn('polyline', { class: 'line', color: color(index), points: over.join(' ') }));
        }
      }
    });
    if (this.#at !== null && times.length > 0) {
      const x = this.#x(times[this.#at]);
      parts.push(drawn('line', { class: 'cursor', x1: x, x2: x, y1: 4, y2: HEIGHT - BOTTOM + 4 }));
    }
    this.#svg.replaceChildren(...parts);
    this.#read();
  }

  #point(event) {
    if (!this.#data) return;
    const { times, from, to } = this.#data;
    this.#at = null;
    if (event && times.length > 0) {
      const { left, width } = this.#svg.getBoundingClientRect();
      const share = (event.clientX - left - LEFT) / (width - LEFT);
      const wanted = from + share * (to - from);
      this.#at = times.reduce((best, time, i) => (Math.abs(time - wanted) < Math.abs(times[best] - wanted) ? i : best), 0);
    }
    this.#draw();
  }

  #read() {
    const { times, series } = this.#data;
    const at = this.#at ?? times.length - 1;
    const values = at < 0 ? [] : series.filter(({ values: all }) => all[at] !== null).map(({ name, values: all }) => `${name} ${this.#format(all[at])}`);
    this.#reading.textContent = at < 0 ? '' : [clock(times[at]), ...values].join('   ');
  }
}

function label(x, y, text, anchor) {
  return drawn('text', { x, y, 'text-anchor': anchor }, text);
}

/** The indexes of values without gaps between them. */
function pieces(times, values) {
  const runs = [];
  times.forEach((_, i) => {
    if (values[i] === null) return;
    if (i > 0 && values[i - 1] !== null && runs.length > 0) runs.at(-1).push(i);
    else runs.push([i]);
  });
  return runs;
}

/** Series upon each other. */
export function stack(series) {
  let below = (series[0]?.values ?? []).map(() => 0);
  return series.map(({ values }) => {
    const low = below;
    const high = values.map((value, i) => low[i] + (value ?? 0));
    below = high;
    return { low, high };
  });
}
