// Compares the failed cases of a suite with those that a document lists, and counts them.
//
//   node report.mjs DOCUMENT TITLE RESULT...
//
// A RESULT is a file of jest. Behind `### TITLE`, each row of a table has a cause, and then the names
// of the cases that differ for it. Those of a cause with the word "race" may pass.

import { readFileSync } from 'node:fs';

const [document, title, ...results] = process.argv.slice(2);
const testResults = results.flatMap((result) => JSON.parse(readFileSync(result, 'utf8')).testResults);
const cases = testResults.flatMap(({ assertionResults }) => assertionResults);
const named = (status) => cases.filter((each) => each.status === status).map(({ fullName }) => fullName);
const section = readFileSync(document, 'utf8').split(/^##+ /m).find((each) => each.startsWith(`${title}\n`));
if (!section) throw new Error(`${document} has no section "${title}"`);
const rows = [...section.matchAll(/^\|([^|]*)\|([^|]*)\|$/gm)];
const causes = new Map(rows.flatMap(([, cause, names]) => [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => [name, cause])));

const [passed, failed, skipped] = ['passed', 'failed', 'pending'].map(named);
console.log(`${cases.length} cases: ${passed.length} pass, ${failed.length} differ, ${skipped.length} are skipped`);
const unlisted = failed.filter((name) => !causes.has(name));
const better = [...causes].filter(([name, cause]) => !failed.includes(name) && !/\brace\b/.test(cause)).map(([name]) => name);
unlisted.forEach((name) => console.error(`fails, and is not in the table: ${name}`));
better.forEach((name) => console.error(`is in the table, and does not fail: ${name}`));
process.exit(unlisted.length || better.length ? 1 : 0);
