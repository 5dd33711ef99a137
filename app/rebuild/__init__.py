"""Rebuilds: profiles built again from raw messages beside the live ones, compared with them, and put in their place."""
