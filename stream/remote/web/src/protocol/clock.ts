/** Times on the wire, and how the server's clock differs from ours. */

const MEDIA_PERIOD = 2 ** 32;

/** Answers remembered. */
const PINGS = 15;

/** With fewer pings than this nothing is said: the first ones come while the page is busy with its start. */
const LEAST = 6;

/** A capture time, microseconds, in ticks of 90 kHz modulo 2^32; exact, which captured * 9 would not be. */
export function mediaTime(captured: number): number {
  const hundreds = Math.floor(captured / 100);
  return (hundreds * 9 + Math.floor(((captured - hundreds * 100) * 9) / 100)) % MEDIA_PERIOD;
}

/** a - b of two such times, -2^31 to 2^31 - 1 ticks. */
export function mediaDifference(a: number, b: number): number {
  return (a - b) | 0;
}

/**
 * The server's clock, by the pongs to our pings. The server stamps a pong after its ping was sent and before it came back, so
 * each bounds the difference of the clocks from both sides; what lies within the bounds of all is the estimate (Marzullo 1984).
 * A pong that was held up on one of its ways bounds loosely there, and distorts nothing.
 */
export class ServerClock {
  private readonly bounds: { least: number; most: number }[] = [];

  /** @param sent, received milliseconds on our clock; @param server microseconds on the server's. */
  pong(sent: number, received: number, server: number): void {
    if (received < sent) return;
    this.bounds.push({ least: server / 1000 - received, most: server / 1000 - sent });
    if (this.bounds.length > PINGS) this.bounds.shift();
  }

  /** Milliseconds from a capture time to a time on our clock; null before the first pongs. */
  since(captured: number, now: number): number | null {
    if (this.bounds.length < LEAST) return null;
    const least = Math.max(...this.bounds.map(({ least }) => least));
    const most = Math.min(...this.bounds.map(({ most }) => most));
    return now + (least + most) / 2 - captured / 1000;
  }
}

export function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
