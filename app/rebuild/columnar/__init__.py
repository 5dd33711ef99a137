"""Many raw messages folded column by column."""
