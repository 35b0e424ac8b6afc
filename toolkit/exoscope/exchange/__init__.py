"""Exchange: sessions, inventory readers, single objects, Exchange's own tests."""
