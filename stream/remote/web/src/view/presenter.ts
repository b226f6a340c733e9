/** Which surfaces are shown next, and with which picture. */

import { mediaDifference, mediaTime } from "../protocol/clock";
import type { Surface } from "../protocol/types";

/** A surface waits this long for its own picture; then the nearest one must do. */
export const HOLD_MS = 200;

/** Without a picture for this long nothing waits for one. */
const PICTURES_MS = 500;

/** Ticks of 90 kHz between two times that are the same: a millisecond. */
const SAME = 90;

const QUEUE = 16;

/** A picture that can be drawn. */
export interface Shot {
  /** Media time; null where it is not known. */
  time: number | null;
  /** Milliseconds on the page's clock. */
  arrived: number;
}

export interface Ready<Picture extends Shot> {
  lane: number;
  sequence: number;
  surface: Surface;
  picture: Picture | null;
  /** The picture is the surface's own. */
  exact: boolean;
}

interface Waiting {
  sequence: number;
  surface: Surface;
  arrived: number;
  time: number;
}

export class Presenter {
  /** Surfaces that a newer one overtook before they were shown. */
  skipped = 0;

  private readonly lanes = new Map<number, Waiting[]>();

  offer(lane: number, sequence: number, surface: Surface, now: number): void {
    let queue = this.lanes.get(lane);
    if (!queue) this.lanes.set(lane, (queue = []));
    queue.push({ sequence, surface, arrived: now, time: mediaTime(surface.captured) });
    if (queue.length > QUEUE) {
      queue.shift();
      this.skipped += 1;
    }
  }

  /**
   * Of each lane the surface to show now, if one is due: the newest whose picture has come, else the newest that
   * waited long enough.
   *
   * @param patient surfaces wait for their pictures at all.
   */
  due<Picture extends Shot>(pictures: readonly Picture[], patient: boolean, now: number): Ready<Picture>[] {
    const waits = patient && pictures.some(({ arrived }) => now - arrived < PICTURES_MS);
    const ready: Ready<Picture>[] = [];
    for (const [lane, queue] of this.lanes) {
      const own = queue.findLastIndex(({ time }) => distance(nearest(pictures, time), time) <= SAME);
      const overdue = queue.findLastIndex(({ arrived }) => now - arrived >= HOLD_MS);
      const place = !waits ? queue.length - 1 : own >= 0 ? own : overdue;
      if (place < 0) continue;
      this.skipped += place;
      const [{ sequence, surface, time }] = queue.splice(0, place + 1).slice(-1);
      const picture = nearest(pictures, time);
      const exact = picture !== null && picture.time !== null && distance(picture, time) <= SAME;
      ready.push({ lane, sequence, surface, picture, exact });
    }
    return ready;
  }

  clear(): void {
    this.lanes.clear();
  }
}

function distance(picture: Shot | null, time: number): number {
  // Where pictures have no times, the newest one is taken for the right one.
  if (!picture) return Infinity;
  return picture.time === null ? 0 : Math.abs(mediaDifference(picture.time, time));
}

function nearest<Picture extends Shot>(pictures: readonly Picture[], time: number): Picture | null {
  const timed = pictures.filter((picture) => picture.time !== null);
  const candidates = timed.length ? timed : pictures;
  return candidates.reduce<Picture | null>((best, picture) => {
    const better = timed.length ? distance(picture, time) < distance(best, time) : picture.arrived > (best?.arrived ?? -1);
    return better ? picture : best;
  }, null);
}
