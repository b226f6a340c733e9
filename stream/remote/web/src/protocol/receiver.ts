/** What comes out of one connection's datagrams. */

import { MeshDecoder } from "./codec";
import { ProtocolError } from "./errors";
import { readExpression, readPicture } from "./expression";
import { EXPRESSION, MESH, Reassembler, TEXTURE, type Message } from "./fragments";
import type { Expression, Picture, Surface } from "./types";

export interface Received {
  surface(lane: number, sequence: number, surface: Surface): void;
  expression(lane: number, sequence: number, expression: Expression): void;
  picture(picture: Picture): void;
}

/** Datagrams become surfaces, expressions and pictures, none older than the one before; what is damaged is counted. */
export class Receiver {
  /** Messages put together. */
  messages = 0;
  /** Damaged datagrams and messages, passed over. */
  damaged = 0;
  bytes = 0;

  private readonly reassembler: Reassembler;
  private readonly decoders = new Map<number, MeshDecoder>();
  private readonly newest = new Map<string, number>();

  constructor(
    whole: boolean,
    private readonly to: Received,
  ) {
    this.reassembler = new Reassembler(whole);
  }

  /** Messages that lacked fragments, or were damaged. */
  get lost(): number {
    return this.reassembler.givenUp + this.damaged;
  }

  /** Whether some lane's next delta frames cannot be decoded. */
  get needsKey(): boolean {
    return [...this.decoders.values()].some((decoder) => decoder.needsKey);
  }

  accept(datagram: Uint8Array): void {
    this.bytes += datagram.length;
    try {
      const message = this.reassembler.accept(datagram);
      if (!message) return;
      this.messages += 1;
      this.decode(message);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.damaged += 1;
    }
  }

  private decode({ kind, lane, sequence, body }: Message): void {
    if (kind === MESH) {
      let decoder = this.decoders.get(lane);
      if (!decoder) this.decoders.set(lane, (decoder = new MeshDecoder()));
      const surface = decoder.decode(sequence, body);
      if (surface) this.to.surface(lane, sequence, surface);
    } else if (this.isNewest(`${kind}/${lane}`, sequence)) {
      if (kind === EXPRESSION) this.to.expression(lane, sequence, readExpression(body));
      if (kind === TEXTURE) this.to.picture(readPicture(body));
    }
  }

  private isNewest(place: string, sequence: number): boolean {
    if (sequence <= (this.newest.get(place) ?? 0)) return false;
    this.newest.set(place, sequence);
    return true;
  }
}
