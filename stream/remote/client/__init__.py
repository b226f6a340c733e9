"""Clients: those who watch and those who publish, and what they share."""
