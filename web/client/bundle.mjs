// Writes the client as one module, for pages without a bundler: `push-suite-client.js`.
//
//   node bundle.mjs [FILE]

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const IMPORT = /^import \{[^}]*\} from '\.\/(\w+\.js)';\n/gm;
const COMMENT = /^\s*(?:\/\/.*|\/\*\*.*\*\/|\/\*\*\n(?:\s*\*.*\n)*?\s*\*\/)\n/gm;
const DECLARED = /^(?:async )?(?:const|let|class|function) (?:\[.*?\]|(\w+))/gm;

/** The modules on which one depends, each before those that import it. */
function ordered(name, found = new Map()) {
  if (found.has(name)) return found;
  const text = readFileSync(new URL(name, import.meta.url), 'utf8');
  for (const [, imported] of text.matchAll(IMPORT)) ordered(imported, found);
  return found.set(name, text);
}

/** The text of the bundle. */
export function bundle() {
  const modules = [...ordered('client.js'), ...ordered('positions.js')];
  const texts = [...new Map(modules).values()].map((text) =>
    text.replace(IMPORT, '').replace(/^export /gm, '').replace(COMMENT, '').trim(),
  );
  const code = texts.join('\n');
  const names = [...code.matchAll(DECLARED)].map(([, name]) => name).filter(Boolean);
  const twice = names.filter((name, at) => names.indexOf(name) !== at);
  if (twice.length > 0) throw new Error(`declared in two modules: ${twice.join(', ')}`);
  return `// push-suite-client, MIT licence\n${code}\nexport { Client, Client as default, StoredPositions };\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(process.argv[2] ?? new URL('push-suite-client.js', import.meta.url), bundle());
}
