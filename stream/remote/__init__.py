"""Remote sessions: cameras in by WebRTC, meshes out to browsers and to Python (docs/protocol.md)."""
