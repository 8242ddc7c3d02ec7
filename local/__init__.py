"""The embedded stack: PostgreSQL, Temporal, sandbox gateway and mail sink, for one machine."""
