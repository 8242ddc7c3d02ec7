"""Programs that use Dunlin from outside, through HTTP alone."""
