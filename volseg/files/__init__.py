"""Files written whole or not at all, read through one safe door, and known by their writer."""
