/** Messages in datagrams: put together again, given up when too late (the twin of stream/protocol/fragments.py). */

import { ProtocolError } from "./errors";

export const VERSION = 1;
export const HEADER_BYTES = 12;
export const MAX_DATAGRAM = 1100;
export const MAX_FRAGMENTS = 512;
export const MAX_BODY = MAX_FRAGMENTS * (MAX_DATAGRAM - HEADER_BYTES);
export const MAX_LANES = 16;

/** The newest messages of one kind and lane of which fragments are taken; older ones are given up. */
export const WAITING = 8;

/** Bytes kept of all incomplete messages together, beyond which the oldest are given up. */
export const WAITING_BYTES = 4 * 2 ** 20;

export const MESH = 1;
export const EXPRESSION = 2;
export const TEXTURE = 3;

export interface Message {
  kind: number;
  lane: number;
  /** Grows through a session, all kinds and lanes together. */
  sequence: number;
  body: Uint8Array;
}

interface Partial {
  count: number;
  size: number;
  parts: Map<number, Uint8Array>;
}

/** What is known of one kind and lane. */
interface Lane {
  /** By sequence; null where it was completed. */
  waiting: Map<number, Partial | null>;
  /** This sequence and those below were given up. */
  horizon: number;
}

interface Header {
  kind: number;
  lane: number;
  sequence: number;
  number: number;
  count: number;
}

/** Puts datagrams together, in whatever order, repeated or not at all; nothing in them is trusted. */
export class Reassembler {
  /** Messages that lacked fragments when newer ones took their place. */
  givenUp = 0;

  private readonly lanes = new Map<number, Lane>();
  private bytes = 0;

  /** @param whole datagrams are whole messages, of up to `MAX_BODY` bytes (a WebSocket). */
  constructor(private readonly whole = false) {}

  /**
   * Take a datagram; the message that it completes, if it does.
   *
   * @throws ProtocolError the datagram is damaged; what waits is kept.
   */
  accept(datagram: Uint8Array): Message | null {
    const { kind, lane: face, sequence, number, count } = this.check(datagram);
    const lane = this.lane(kind * MAX_LANES + face);
    if (sequence <= lane.horizon) return null;
    if (!lane.waiting.has(sequence)) {
      lane.waiting.set(sequence, { count, size: 0, parts: new Map() });
      while (lane.waiting.size > WAITING) this.giveUp(lane);
    }
    const partial = lane.waiting.get(sequence);
    if (!partial) return null; // completed before, or too old to be kept
    if (partial.count !== count) {
      throw new ProtocolError("The fragments of a message do not agree on how many they are.");
    }
    this.keep(partial, number, datagram);
    if (partial.parts.size < count) {
      this.bound();
      return null;
    }
    lane.waiting.set(sequence, null);
    this.bytes -= partial.size;
    return { kind, lane: face, sequence, body: joined(partial) };
  }

  private lane(place: number): Lane {
    let lane = this.lanes.get(place);
    if (!lane) this.lanes.set(place, (lane = { waiting: new Map(), horizon: 0 }));
    return lane;
  }

  private keep(partial: Partial, number: number, datagram: Uint8Array): void {
    if (partial.parts.has(number)) return;
    const part = datagram.slice(HEADER_BYTES); // a copy: the datagram's buffer belongs to the caller
    partial.parts.set(number, part);
    partial.size += part.length;
    this.bytes += part.length;
  }

  private check(datagram: Uint8Array): Header {
    const most = this.whole ? HEADER_BYTES + MAX_BODY : MAX_DATAGRAM;
    if (datagram.length <= HEADER_BYTES || datagram.length > most) {
      throw new ProtocolError(`A datagram of ${datagram.length} bytes cannot be of this protocol.`);
    }
    const view = new DataView(datagram.buffer, datagram.byteOffset, HEADER_BYTES);
    const [version, kind, lane, reserved] = [0, 1, 2, 3].map((place) => view.getUint8(place));
    if (version !== VERSION) {
      throw new ProtocolError(`The server speaks version ${version} of the mesh protocol, not ${VERSION}.`);
    }
    const sequence = view.getUint32(4, true);
    const number = view.getUint16(8, true);
    const count = view.getUint16(10, true);
    const known = kind >= MESH && kind <= TEXTURE && lane < MAX_LANES && reserved === 0;
    const mostFragments = this.whole ? 1 : MAX_FRAGMENTS;
    if (!known || sequence === 0 || number >= count || count > mostFragments) {
      throw new ProtocolError("A datagram's header holds values that cannot be.");
    }
    if (number < count - 1 && datagram.length !== MAX_DATAGRAM) {
      throw new ProtocolError("A fragment that is not the last must be full.");
    }
    return { kind, lane, sequence, number, count };
  }

  /** Keep to `WAITING_BYTES`: the sequence, common to all lanes, says which message is the oldest. */
  private bound(): void {
    while (this.bytes > WAITING_BYTES) {
      const lanes = [...this.lanes.values()].filter(({ waiting }) => waiting.size);
      this.giveUp(lanes.reduce((one, other) => (oldestOf(other) < oldestOf(one) ? other : one)));
    }
  }

  private giveUp(lane: Lane): void {
    const oldest = oldestOf(lane);
    const partial = lane.waiting.get(oldest);
    if (partial) {
      this.givenUp += 1;
      this.bytes -= partial.size;
    }
    lane.waiting.delete(oldest);
    lane.horizon = oldest;
  }
}

function oldestOf(lane: Lane): number {
  return Math.min(...lane.waiting.keys());
}

function joined(partial: Partial): Uint8Array {
  const body = new Uint8Array(partial.size);
  for (let number = 0, at = 0; number < partial.count; number++) {
    const part = partial.parts.get(number)!;
    body.set(part, at);
    at += part.length;
  }
  return body;
}
