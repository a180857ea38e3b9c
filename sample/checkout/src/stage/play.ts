import { type Items, Scene } from './scene.js';
import type { Stage } from './stage.js';
import type { Trouble } from './trouble.js';

/** Plays a trouble to its end, and mends what it has broken. */
export async function play(stage: Stage, trouble: Trouble, items: Items, protection: boolean): Promise<void> {
  const scene = new Scene(stage, items, { trouble: trouble.id, title: trouble.title, protection });
  const { view } = scene;
  stage.run = view;
  let phase: typeof view.phase = 'done';
  try {
    view.verdict = await trouble.play(scene);
  } catch (error) {
    view.verdict = `This could not be played to its end: ${error instanceof Error ? error.message : String(error)}.`;
    phase = 'failed';
  }
  await mend(stage);
  view.charges = (await scene.charges()).length;
  view.phase = phase;
  await stage.refresh();
}

async function mend({ provider, redis, shops }: Stage): Promise<void> {
  await provider.shall('ok');
  for (const shop of shops) if (shop.state === 'paused') shop.resume();
  await Promise.all(shops.filter(({ state }) => state !== 'running').map((shop) => shop.start()));
  await redis?.start();
}
