"""Read videos, restore them frame by frame, and write them."""
