"""One page about many runs that needs no network: tables, charts, and examples to look through."""
