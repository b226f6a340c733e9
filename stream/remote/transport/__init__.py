"""Connections between clients and sessions: what both need of one (`link`), over WebRTC or a WebSocket."""
