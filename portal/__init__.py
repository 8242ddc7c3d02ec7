"""Pages for customers, who come by a link and without signing in."""
