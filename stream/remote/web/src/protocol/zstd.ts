/** Zstandard data from the network, within bounds that are checked before anything is allocated. */

import { decompress } from "fzstd";

import { ProtocolError } from "./errors";

const MAGIC = 0xfd2fb528;
const COMPRESSED = 2;
const RLE = 1;

/**
 * One Zstandard frame that must become exactly `size` bytes.
 *
 * @throws ProtocolError it does not.
 */
export function unpack(data: Uint8Array, size: number): Uint8Array {
  checkFrame(data, size);
  try {
    return decompress(data, new Uint8Array(size));
  } catch (error) {
    throw new ProtocolError(`A mesh message's depths cannot be decompressed (${(error as Error).message}).`);
  }
}

/** The frame's header and blocks: one frame, nothing behind it, of the declared size, without a dictionary. */
function checkFrame(data: Uint8Array, size: number): void {
  const damaged = (what: string): never => {
    throw new ProtocolError(`A mesh message's depths are no Zstandard frame that can be taken: ${what}.`);
  };
  if (data.length < 9) damaged("it is too short");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (view.getUint32(0, true) !== MAGIC) damaged("its first bytes are others");
  const flags = view.getUint8(4);
  const single = (flags & 32) !== 0;
  if (flags & 0b1011) damaged("it has a dictionary or reserved bits");
  const sizeBytes = flags >> 6 ? 1 << (flags >> 6) : single ? 1 : 0;
  let at = single ? 5 : 6;
  if (sizeBytes === 0 || at + sizeBytes + 3 > data.length) damaged("it declares no size");
  let declared = 0;
  for (let byte = sizeBytes - 1; byte >= 0; byte--) declared = declared * 256 + data[at + byte];
  if (sizeBytes === 2) declared += 256;
  if (declared !== size) damaged("it declares another size");
  at += sizeBytes;
  for (let last = false; !last; ) {
    if (at + 3 > data.length) damaged("it ends early");
    const block = data[at] | (data[at + 1] << 8) | (data[at + 2] << 16);
    const kind = (block >> 1) & 3;
    if (kind > COMPRESSED) damaged("it has an unknown block");
    last = (block & 1) === 1;
    at += 3 + (kind === RLE ? 1 : block >> 3);
  }
  if (at + (flags & 4 ? 4 : 0) !== data.length) damaged("its length does not fit");
}
