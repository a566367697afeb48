// Writes the files of one section of a document into a folder, or prints its commands: the test
// runs the text that readers copy. A file is a fenced block behind a line that begins with its
// name and ends with a colon; "further lines" are appended to it.
//
//   node document.mjs DOCUMENT SECTION FOLDER      writes the files
//   node document.mjs DOCUMENT SECTION --commands  prints the lines of the blocks of shell commands

import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const [document, title, folder] = process.argv.slice(2);
const sections = readFileSync(document, 'utf8').split(/^## /m);
const section = sections.find((each) => each.startsWith(`${title}\n`));
if (!section) throw new Error(`${document} has no section "${title}"`);

const blocks = section.matchAll(/(?:^`([^`\n]+)`([^\n]*):\n\n)?^```(\w+)\n(.*?)^```$/gms);
for (const [, name, remark, language, content] of blocks) {
  if (folder === '--commands') {
    if (language === 'sh') process.stdout.write(content);
  } else if (name) {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    (remark.includes('further lines') ? appendFileSync : writeFileSync)(file, content);
    console.log(`${title}: ${name}`);
  } else if (language !== 'sh') {
    throw new Error(`a block of "${title}" is neither a file nor commands:\n${content}`);
  }
}
