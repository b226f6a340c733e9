"""The mesh protocol on the wire: datagrams, control messages, times (docs/protocol.md)."""
