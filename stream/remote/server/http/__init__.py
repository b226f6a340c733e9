"""The HTTP server: WHIP, WHEP, WebSocket, the page, access, limits, figures."""
