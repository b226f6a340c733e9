"""The sessions of a server: capture, encoding once for all, viewers and what each can take."""
