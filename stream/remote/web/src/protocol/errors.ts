/** Something from the network does not keep to the mesh protocol (docs/protocol.md). */
export class ProtocolError extends Error {
  override name = "ProtocolError";
}
