"""Where the weights come from, and the forward pass over them."""
