"""What makes a solution right: one function for each exercise, which raises `Wrong` with a sentence for the participant."""
