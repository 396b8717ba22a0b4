"""Text as it is typed, continued or filled in; what a prompt looks like to the model."""
