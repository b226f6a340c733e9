"""The server: HTTP, sessions, and who watches them."""
