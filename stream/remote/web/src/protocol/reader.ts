/** Little-endian fields of a message's header, one after the other. */
export class FieldReader {
  private at = 0;
  private readonly view: DataView;

  constructor(body: Uint8Array) {
    this.view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  }

  u8(): number {
    return this.view.getUint8(this.skip(1));
  }

  u16(): number {
    return this.view.getUint16(this.skip(2), true);
  }

  u32(): number {
    return this.view.getUint32(this.skip(4), true);
  }

  /** A u64 as a number: exact below 2^53, which microseconds reach in the year 2255. */
  u64(): number {
    return Number(this.view.getBigUint64(this.skip(8), true));
  }

  f32(): number {
    return this.view.getFloat32(this.skip(4), true);
  }

  f32s(count: number): number[] {
    return Array.from({ length: count }, () => this.f32());
  }

  private skip(bytes: number): number {
    this.at += bytes;
    return this.at - bytes;
  }
}
