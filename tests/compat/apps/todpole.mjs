// The tadpoles' own page, in two browsers.
//
//   node todpole.mjs URL STACK

import { check, person, run, until } from './page.mjs';

/** Exposes the internal state of the page. */
const watched = (page) =>
  page.addInitScript(() => {
    let Original;
    Object.defineProperty(window, 'Model', {
      get() {
        return function Model() {
          Original.call(this);
          window.model = this;
        };
      },
      set(given) {
        Original = given;
      },
    });
  });
const known = (page) => page.evaluate(() => Object.keys(window.model.tadpoles).length);
const me = async (page) => {
  await until('has an id', page, () => window.model?.userTadpole.id > 0);
  return page.evaluate(() => window.model.userTadpole.id);
};
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function swim(page, x, y) {
  await page.mouse.move(x, y);
  await page.mouse.down();
  await pause(700);
  await page.mouse.up();
}

await run('todpole', async () => {
  const ann = await person('', undefined, watched);
  const annId = await me(ann);
  // Ids are seconds.
  await pause(1500);
  const ben = await person('', undefined, watched);
  const benId = await me(ben);
  check('each has an id', annId === benId, false);

  await swim(ann, 900, 100);
  await until('ben sees ann', ben, (id) => window.model.tadpoles[id] !== undefined, annId);
  const before = await ben.evaluate((id) => window.model.tadpoles[id].targetX + window.model.tadpoles[id].x, annId);
  await swim(ann, 900, 650);
  await until('ann moves on his screen', ben, ([id, was]) => Math.abs(window.model.tadpoles[id].targetX + window.model.tadpoles[id].x - was) > 5, [annId, before]);
  await swim(ben, 100, 100);
  await until('ann sees ben', ann, (id) => window.model.tadpoles[id] !== undefined, benId);

  await ann.keyboard.press('h');
  await ann.locator('#chat').fill('hello tadpoles 中');
  await ann.locator('#chat').press('Enter');
  for (const page of [ann, ben]) {
    await until('a message is heard', page, (id) => window.model.tadpoles[id].messages.some((one) => one.message === 'hello tadpoles 中'), annId);
  }
  await ben.locator('#chat').fill('name: Ben');
  await ben.locator('#chat').press('Enter');
  await swim(ben, 500, 650);
  await until('a name is told', ann, (id) => window.model.tadpoles[id].name.includes('Ben'), benId);
  await ben.context().close();
  await until('who leaves is gone', ann, (id) => window.model.tadpoles[id] === undefined, benId);
  check('and ann is alone', await known(ann), 1);
});
