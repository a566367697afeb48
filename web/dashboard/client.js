// The panel of one client: what its gateway knows, its session, what has happened, and its end.

import { element } from './element.js';
import { age, bytes, clock, count, nameOf } from './format.js';
import { t } from './words.js';

export class ClientPanel {
  #dialog;
  #api;

  constructor(dialog, api) {
    this.#dialog = dialog;
    this.#api = api;
  }

  async open(id) {
    this.#show([this.#head(id), element('p', { class: 'dim' }, t('loading'))]);
    if (!this.#dialog.open) this.#dialog.showModal();
    try {
      this.#show(this.#content(id, await this.#api.client(id)));
    } catch (error) {
      this.#show([this.#head(id), element('p', {}, error.message)]);
    }
  }

  #show(parts) {
    this.#dialog.replaceChildren(...parts);
  }

  #head(id) {
    return element(
      'div',
      { class: 'head' },
      element('h2', { class: 'mono' }, id),
      element('span', { class: 'space' }),
      element('button', { type: 'button', onclick: () => this.#dialog.close() }, t('close')),
    );
  }

  #content(id, { client, session, events }) {
    const parts = [this.#head(id)];
    if (client) parts.push(details(client), element('h3', {}, t('session')), element('pre', {}, JSON.stringify(session, null, 2)));
    else parts.push(element('p', {}, t('gone')));
    if (events?.length > 0) parts.push(element('h3', {}, t('timeline')), timeline(events));
    if (client) parts.push(this.#kick(id));
    return parts;
  }

  #kick(id) {
    const code = element('input', { type: 'number', value: '4403', min: '1000', max: '4999', 'aria-label': t('code') });
    const reason = element('input', { value: 'kicked', maxlength: '123', 'aria-label': t('reason') });
    const said = element('span', { class: 'dim', role: 'status' });
    const kick = async () => {
      if (!confirm(t('kick-sure', { code: code.value }))) return;
      try {
        const { reached } = await this.#api.close(id, Number(code.value), reason.value);
        said.textContent = t(reached > 0 ? 'kicked' : 'not-kicked');
      } catch (error) {
        said.textContent = error.message;
      }
    };
    return element('div', { class: 'kick' }, code, reason, element('button', { type: 'button', class: 'danger', onclick: kick }, t('kick')), said);
  }
}

function details(client) {
  const rows = [
    ['uid', nameOf(client.uid)],
    ['groups', client.groups.map(nameOf).join(', ')],
    ['remote', client.proxy ? `${client.remote} (${client.proxy})` : client.remote],
    ['gateway', client.gateway],
    ['listener', client.listener],
    ['worker', client.worker],
    ['age', age(client.age_millis)],
    ['queued', bytes(client.queue_bytes)],
    ['silent', age(client.silent_millis)],
    ['events', count(client.events)],
    ['state', [client.state, ...(client.pauses ?? [])].join(', ')],
  ];
  const shown = rows.filter(([, value]) => value !== undefined && value !== null && value !== '');
  return element('dl', {}, shown.flatMap(([key, value]) => [element('dt', {}, t(key)), element('dd', { class: 'mono' }, String(value))]));
}

function timeline(events) {
  const entry = ({ at, event, details: facts }) =>
    element('li', { class: event }, element('span', { class: 'dim mono' }, `${clock(at)}  `), `${event} ${facts}`);
  return element('ul', { class: 'timeline' }, events.map(entry));
}
