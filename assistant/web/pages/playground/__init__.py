"""The playground's tabs."""
