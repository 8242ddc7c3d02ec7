"""The JSON API: asks and never decides."""
