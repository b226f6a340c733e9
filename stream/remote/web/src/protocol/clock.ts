/** Times on the wire, and how the server's clock differs from ours. */

const MEDIA_PERIOD = 2 ** 32;

/** Pings remembered; of those the quickest ones are taken, for a slow one was held up on one of its two ways. */
const PINGS = 15;
const QUICKEST = 5;

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

/** The server's clock, by the pongs to our pings. */
export class ServerClock {
  private readonly pings: { took: number; difference: number }[] = [];

  /** @param sent, received milliseconds on our clock; @param server microseconds on the server's. */
  pong(sent: number, received: number, server: number): void {
    if (received < sent) return;
    this.pings.push({ took: received - sent, difference: server / 1000 - (sent + received) / 2 });
    if (this.pings.length > PINGS) this.pings.shift();
  }

  /** Milliseconds from a capture time to a time on our clock; null before the first pongs. */
  since(captured: number, now: number): number | null {
    if (this.pings.length < LEAST) return null;
    const quickest = [...this.pings].sort((a, b) => a.took - b.took).slice(0, QUICKEST);
    return now + median(quickest.map(({ difference }) => difference))! - captured / 1000;
  }
}

export function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
