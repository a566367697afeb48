// The dashboard: polls the command that serves it, and shows the cluster.

import { Api, Refused } from './api.js';
import { ClientPanel } from './client.js';
import { element, fillTable } from './element.js';
import { age, bytes, count, nameOf } from './format.js';
import { ceilingOfBytes, Plot } from './plot.js';
import { Series } from './series.js';
import { localise, other, speak, t } from './words.js';

const EVERY_MS = 2_000;
const PAGE = 50;

const find = (id) => document.getElementById(id);

const series = new Series();
let status = null;
let problem = null;
let api = null;
let panel = null;

// --- plots --------------------------------------------------------------------------------------

const rounded = (value) => count(value);
const PLOTS = [
  ['plot-clients', { format: rounded, stacked: true }, (span) => series.values(span, 'clients')],
  [
    'plot-messages',
    { format: rounded },
    (span) => series.rates(span, [[t('in'), 'messages_in'], [t('out'), 'messages_out'], [t('dropped'), 'messages_dropped']]),
  ],
  ['plot-bytes', { format: bytes, round: ceilingOfBytes }, (span) => series.rates(span, [[t('in'), 'bytes_in'], [t('out'), 'bytes_out']])],
  ['plot-queue', { format: bytes, round: ceilingOfBytes, stacked: true }, (span) => series.values(span, 'queue_bytes')],
  ['plot-slow', { format: rounded }, (span) => series.sums(span, [[t('slow'), 'slow_clients'], [t('paused'), 'paused_clients']])],
  ['plot-flight', { format: bytes, round: ceilingOfBytes, stacked: true }, (span) => series.values(span, 'in_flight_bytes')],
  ['plot-closed', { format: rounded, stacked: true }, (span) => series.closed(span)],
  ['plot-answer', { format: rounded }, (span) => series.whole(span, [[t('slowest'), 'answer_millis']])],
].map(([title, options, data]) => ({ title, data, plot: new Plot(options) }));
find('plots').append(...PLOTS.map(({ plot }) => plot.element));

function paintPlots() {
  const span = Number(find('span').value);
  for (const { title, data, plot } of PLOTS) plot.show(t(title), data(span));
}

// --- what is wrong, and totals --------------------------------------------------------------------

function paintFindings() {
  const findings = problem ? [{ severity: 'critical', problem, next: '' }] : (status?.findings ?? []);
  const worst = findings.some(({ severity }) => severity === 'critical') ? 'critical' : findings.length > 0 ? 'warning' : 'ok';
  document.documentElement.dataset.state = status || problem ? worst : '';
  find('findings').replaceChildren(
    ...findings.map(({ severity, problem: text, next }) =>
      element('div', { class: `finding ${severity}` }, element('p', {}, text), next ? element('p', { class: 'next' }, t('next'), next) : null),
    ),
  );
  const values = { gateways: status?.gateways.length ?? 0, workers: status?.workers.length ?? 0, clients: count(status?.clients ?? 0) };
  const fine = findings.length === 0 && status ? `${t('fine')} · ` : '';
  find('summary').textContent = status ? `${fine}${t('counts', values)}` : problem ? '' : t('loading');
}

function paintTiles() {
  const tiles = [
    ['tile-clients', count(series.now('clients'))],
    ['tile-in', count(series.rateNow('messages_in'))],
    ['tile-out', count(series.rateNow('messages_out'))],
    ['tile-queue', bytes(series.now('queue_bytes'))],
    ['tile-slow', count(series.now('slow_clients')), series.now('slow_clients') > 0],
    ['tile-flight', bytes(series.now('in_flight_bytes'))],
    ['tile-memory', bytes(series.now('resident_bytes'))],
  ];
  find('tiles').replaceChildren(
    ...tiles.map(([name, value, isWarning]) =>
      element('div', { class: isWarning ? 'tile warn' : 'tile' }, element('div', { class: 'dim' }, t(name)), element('div', { class: 'value' }, value || '–')),
    ),
  );
}

// --- tables ---------------------------------------------------------------------------------------

function stateOf(gateway) {
  if (gateway.problem) return { text: t('no-answer'), paint: 'bad' };
  if (gateway.draining) return { text: t('drains'), paint: 'warn' };
  if (gateway.not_ready.length > 0) return { text: `${t('not-ready')}: ${gateway.not_ready.join(', ')}`, paint: 'warn' };
  return { text: t('ready'), paint: 'good' };
}

function paintGateways() {
  fillTable(
    find('gateways'),
    [
      { name: t('address'), cell: ({ address }) => address },
      { name: t('state'), cell: stateOf },
      { name: t('uptime'), number: true, cell: ({ uptime }) => age(uptime) },
      { name: t('plot-clients'), number: true, cell: ({ clients }) => count(clients) },
      { name: t('slow'), number: true, cell: ({ slow_clients: slow }) => (slow > 0 ? { text: count(slow), paint: 'warn' } : count(slow)) },
      { name: t('in-s'), number: true, cell: ({ messages_in_per_second: rate }) => count(rate) },
      { name: t('out-s'), number: true, cell: ({ messages_out_per_second: rate }) => count(rate) },
      { name: t('queued'), number: true, cell: ({ queue_bytes: size }) => bytes(size) },
      { name: t('memory'), number: true, cell: ({ resident_bytes: size }) => bytes(size) },
      { name: t('files'), number: true, cell: ({ descriptors }) => count(descriptors) },
      { name: t('version'), cell: ({ version }) => version },
    ],
    status?.gateways ?? [],
    { empty: t('none') },
  );
}

const WORKER_PAINTS = { 'ready': 'good', 'stands still': 'bad' };

function paintWorkers() {
  fillTable(
    find('workers'),
    [
      { name: t('worker'), cell: ({ key }) => key },
      { name: t('state'), cell: ({ state }) => ({ text: state, paint: WORKER_PAINTS[state] ?? 'warn' }) },
      { name: t('linked'), number: true, cell: ({ linked_millis: millis }) => age(millis) },
      { name: t('plot-clients'), number: true, cell: ({ clients }) => count(clients) },
      { name: t('in-flight'), number: true, cell: ({ in_flight: events, in_flight_bytes: size }) => `${count(events)} (${bytes(size)})` },
      { name: t('stalled'), number: true, cell: ({ stalled_millis: millis }) => age(millis) },
      { name: t('links'), number: true, cell: ({ gateways, missing }) => `${gateways.length}/${gateways.length + missing.length}` },
    ],
    status?.workers ?? [],
    { empty: t('none') },
  );
}

// --- clients ----------------------------------------------------------------------------------------

let shown = [];
let from = null;
let unanswered = [];
let filter = null;

function wantedFilter() {
  const [field, value] = [find('field').value, find('wanted').value.trim()];
  if (field === 'all') return {};
  if (field === 'queued') return { queued: value || '1' };
  return { [field]: value };
}

async function search(isMore) {
  filter = isMore ? filter : wantedFilter();
  try {
    const page = await api.clients({ ...filter, limit: PAGE, ...(isMore && { from }) });
    shown = isMore ? [...shown, ...page.clients] : page.clients;
    from = page.next ?? null;
    unanswered = page.unanswered ?? [];
    paintClients();
  } catch (error) {
    find('found').textContent = error.message;
  }
}

function paintClients() {
  fillTable(
    find('clients'),
    [
      { name: t('client-id'), cell: ({ client }) => element('button', { type: 'button' }, client) },
      { name: t('uid'), cell: ({ uid }) => nameOf(uid) },
      { name: t('groups'), cell: ({ groups }) => groups.map(nameOf).join(', ').slice(0, 60) },
      { name: t('remote'), cell: ({ remote }) => remote },
      { name: t('age'), number: true, cell: ({ age_millis: millis }) => age(millis) },
      { name: t('queued'), number: true, cell: ({ queue_bytes: size }) => (size > 0 ? { text: bytes(size), paint: 'warn' } : bytes(size)) },
      { name: t('worker'), cell: ({ worker }) => worker },
    ],
    shown,
    { onRow: ({ client }) => panel.open(client), empty: t('none') },
  );
  find('more').hidden = from === null;
  const gaps = unanswered.length > 0 ? ` · ${t('unanswered', { gateways: unanswered.map(({ gateway }) => gateway).join(', ') })}` : '';
  find('found').textContent = `${t('found', { n: shown.length })}${gaps}`;
}

find('find').addEventListener('submit', (event) => {
  event.preventDefault();
  search(false);
});
find('more').addEventListener('click', () => search(true));
find('field').addEventListener('change', () => {
  find('wanted').hidden = find('field').value === 'all';
});

// --- the page ---------------------------------------------------------------------------------------

function paint() {
  paintFindings();
  paintTiles();
  paintPlots();
  paintGateways();
  paintWorkers();
}

function paintLanguage() {
  localise(document);
  find('language').textContent = other().label;
  paint();
  if (filter) paintClients();
}

find('language').addEventListener('click', () => {
  speak(other().name);
  paintLanguage();
});
find('span').addEventListener('change', paintPlots);

async function poll() {
  try {
    series.add(await api.samples(series.next));
    status = await api.status();
    problem = null;
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return askToken();
    problem = t('unreachable', { why: error.message });
  }
  paint();
  setTimeout(poll, EVERY_MS);
}

function begin(token) {
  sessionStorage.setItem('token', token);
  api = new Api(token);
  panel = new ClientPanel(find('client'), api);
  poll();
}

function askToken() {
  sessionStorage.removeItem('token');
  find('token').showModal();
}

find('token').addEventListener('close', () => begin(find('token-value').value.trim()));

speak(navigator.language?.toLowerCase().startsWith('zh') ? 'zh' : 'en');
paintLanguage();
// The token leaves the address bar, so that it is in no screenshot and in no history.
const given = new URLSearchParams(location.hash.slice(1)).get('token');
if (given) history.replaceState(null, '', location.pathname);
const token = given ?? sessionStorage.getItem('token');
if (token) begin(token);
else askToken();
