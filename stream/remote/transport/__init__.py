"""One WebRTC connection of the server: negotiation, ICE, video in and out."""
