"""A pure core that learns from events, and a shell that runs it live."""
