"""Model and loss put together into training steps."""
