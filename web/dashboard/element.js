// Elements of the page: text is always text, never markup.

/** An element with attributes and children; a child is an element or a text. */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function drawn(tag, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'color') made.style.setProperty('--c', value);
    else if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/**
 * Fills a table. A column is `{ name, number, cell(row) }`, where a cell is a text, an element, or
 * `{ text, paint }`.
 */
export function fillTable(table, columns, rows, { onRow, empty } = {}) {
  const head = element('tr', {}, columns.map(({ name, number }) => element('th', { class: number ? 'number' : false, scope: 'col' }, name)));
  const body = rows.map((row) =>
    element(
      'tr',
      onRow ? { class: 'row', onclick: () => onRow(row) } : {},
      columns.map(({ number, cell }) => {
        const value = cell(row) ?? '';
        const isPainted = typeof value === 'object' && 'paint' in value;
        const classes = [number && 'number', isPainted && value.paint].filter(Boolean).join(' ');
        return element('td', { class: classes || false }, isPainted ? value.text : value);
      }),
    ),
  );
  const none = element('tr', {}, element('td', { class: 'dim', colspan: columns.length }, empty ?? ''));
  table.replaceChildren(element('thead', {}, head), element('tbody', {}, body.length > 0 ? body : none));
}
