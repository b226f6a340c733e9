"""What goes over the wire: formats and codecs (docs/protocol.md)."""
