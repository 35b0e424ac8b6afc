"""The embedded tenant: a snapshot brought to life behind real protocols, on loopback only."""
