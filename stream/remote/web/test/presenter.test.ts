import assert from "node:assert/strict";
import { test } from "node:test";

import { mediaTime } from "../src/protocol/clock";
import type { Surface } from "../src/protocol/types";
import { HOLD_MS, Presenter, type Shot } from "../src/view/presenter";

const START = 1_795_000_000_000_000;

/** The surface of the picture `frame`, at 25 frames a second. */
const surface = (frame: number) => ({ index: frame, captured: START + frame * 40_000 }) as Surface;

const shot = (frame: number, arrived: number): Shot => ({ time: mediaTime(START + frame * 40_000), arrived });

const shown = (presenter: Presenter, pictures: Shot[], now: number, patient = true) =>
  presenter.due(pictures, patient, now).map(({ surface, exact }) => [surface.index, exact]);

test("a surface waits for its own picture", () => {
  const presenter = new Presenter();
  presenter.offer(0, 1, surface(1), 1000);
  assert.deepEqual(shown(presenter, [shot(0, 1000)], 1020), []);
  assert.deepEqual(shown(presenter, [shot(0, 1000), shot(1, 1030)], 1040), [[1, true]]);
  assert.deepEqual(shown(presenter, [shot(1, 1030)], 1060), []);
});

test("the newest surface whose picture has come is shown, older ones are skipped", () => {
  const presenter = new Presenter();
  for (const frame of [1, 2, 3, 4]) presenter.offer(0, frame, surface(frame), 1000 + frame);
  assert.deepEqual(shown(presenter, [shot(1, 1005), shot(3, 1006)], 1010), [[3, true]]);
  assert.equal(presenter.skipped, 2);
  assert.deepEqual(shown(presenter, [shot(4, 1020)], 1030), [[4, true]]);
});

test("what has waited long enough is shown with the nearest picture, at the full rate", () => {
  const presenter = new Presenter();
  const indices: unknown[] = [];
  for (let frame = 0; frame < 20; frame++) {
    const now = 1000 + frame * 40;
    presenter.offer(0, frame + 1, surface(frame), now);
    indices.push(...shown(presenter, [shot(frame + 1000, now)], now));
  }
  const delay = HOLD_MS / 40;
  assert.deepEqual(indices, Array.from({ length: 20 - delay }, (_, i) => [i, false]));
  assert.equal(presenter.skipped, 0);
});

test("nothing waits where no pictures come, or none are wanted", () => {
  const presenter = new Presenter();
  presenter.offer(0, 1, surface(1), 1000);
  assert.deepEqual(shown(presenter, [], 1000), [[1, false]]);
  presenter.offer(0, 2, surface(2), 2000);
  assert.deepEqual(shown(presenter, [shot(1, 1000)], 2000), [[2, false]]);
  presenter.offer(0, 3, surface(3), 2000);
  assert.deepEqual(shown(presenter, [shot(1, 2000)], 2000, false), [[3, false]]);
});

test("pictures without times: the newest is taken", () => {
  const presenter = new Presenter();
  presenter.offer(0, 1, surface(1), 1000);
  const [ready] = presenter.due([{ time: null, arrived: 990 }, { time: null, arrived: 995 }], true, 1001);
  assert.equal(ready.picture?.arrived, 995);
});

test("faces wait for themselves, and queues are bounded", () => {
  const presenter = new Presenter();
  presenter.offer(0, 1, surface(1), 1000);
  presenter.offer(3, 2, surface(2), 1000);
  const [ready] = presenter.due([shot(2, 1000)], true, 1001);
  assert.deepEqual([ready.lane, ready.sequence], [3, 2]);
  for (let frame = 2; frame < 100; frame++) presenter.offer(0, frame + 1, surface(frame), 1000);
  assert.equal(presenter.skipped, 99 - 16);
});
