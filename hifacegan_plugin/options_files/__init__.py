"""Options files as text: the paper's training, and what others change in it, with the comments kept."""
