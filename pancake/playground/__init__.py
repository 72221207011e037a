"""A page in the browser on which pancake trains a net: `python -m pancake.playground`."""
