"""Makes the model: `pipeline` is yours to edit, the rest works from what it declares."""
